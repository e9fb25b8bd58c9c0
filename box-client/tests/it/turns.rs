//! Holders of one grant take turns at refreshing it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use box_client::{
    BoxClient, ErrorKind, Grant, MemoryTokenStore, RefreshToken, Stored, Swap, TokenStore,
    TokenStoreError,
    testing::{FakeBox, Fault, FaultEffect},
};
use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::{fake, stores::living, vendor::quick};

const HOLD: Duration = Duration::from_millis(300);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// A store that notes the leases, and forgets to store when its process is to crash.
#[derive(Debug)]
struct Watched {
    inner: MemoryTokenStore,
    crash: AtomicBool,
    crashed: Notify,
    leases: AtomicUsize,
    broken: AtomicBool,
}

impl Watched {
    fn new(refresh_token: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryTokenStore::new(Grant::new(refresh_token.into())),
            crash: AtomicBool::new(false),
            crashed: Notify::new(),
            leases: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        })
    }

    fn leases(&self) -> usize {
        self.leases.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenStore for Watched {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        self.inner.load().await
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        if self.crash.swap(false, Ordering::SeqCst) {
            self.crashed.notify_one();
            // As in a process that is no more.
            std::future::pending::<()>().await;
        }
        self.inner.compare_and_swap(expected, grant).await
    }

    async fn lease(&self, holder: &str, hold: Duration) -> Result<bool, TokenStoreError> {
        self.leases.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err("the store is out of order".into());
        }
        self.inner.lease(holder, hold).await
    }

    async fn release(&self, holder: &str) -> Result<(), TokenStoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("the store is out of order".into());
        }
        self.inner.release(holder).await
    }
}

fn holder(fake: &FakeBox, store: &Arc<Watched>) -> BoxClient {
    let source = RefreshToken::new(
        FakeBox::CLIENT_ID,
        FakeBox::CLIENT_SECRET,
        Arc::clone(store),
    );
    fake::client(fake, source.lease(HOLD))
}

#[tokio::test]
async fn of_many_holders_one_refreshes_and_the_others_adopt() {
    let fake = fake::start(FakeBox::builder()).await;
    let store = Watched::new(fake.issue_refresh_token());
    let clients: Vec<_> = (0..10).map(|_| holder(&fake, &store)).collect();
    for call in join_all(clients.iter().map(fake::me)).await {
        call.unwrap();
    }
    assert_eq!(fake::forms(&fake).len(), 1, "one refresh for ten holders");
    // The lease is free again: nobody waits for its end.
    assert!(store.lease("somebody", LONG).await.unwrap());
    assert_eq!(fake.violations(), [""; 0]);
}

#[tokio::test]
async fn a_refresh_that_outlasts_the_lease_keeps_it() {
    let fake = fake::start(FakeBox::builder()).await;
    let millis = HOLD.as_millis() as u64 * 3;
    fake.inject(Fault::on(
        "/oauth2/token",
        FaultEffect::DelayBefore { millis },
    ));
    let store = Watched::new(fake.issue_refresh_token());
    let clients = [(); 2].map(|()| holder(&fake, &store));
    for call in join_all(clients.iter().map(fake::me)).await {
        call.unwrap();
    }
    assert_eq!(fake::forms(&fake).len(), 1, "nobody broke in");
}

/// Crashes between Box's answer and the store.
async fn crash(fake: &FakeBox, store: &Arc<Watched>) {
    store.crash.store(true, Ordering::SeqCst);
    let client = holder(fake, store);
    let doomed = tokio::spawn(async move { fake::me(&client).await });
    store.crashed.notified().await;
    doomed.abort();
}

#[tokio::test]
async fn a_crash_between_answer_and_store_is_mended_by_boxs_grace() {
    let fake = fake::start(FakeBox::builder().refresh_grace(true)).await;
    let store = Watched::new(fake.issue_refresh_token());
    crashed_in_a_runtime_of_its_own(&fake, &store).await;
    let other = holder(&fake, &store);
    fake::me(&other).await.unwrap();
    assert_eq!(fake::forms(&fake).len(), 2);
    fake.inject(Fault::on("/2.0/users/me", FaultEffect::ExpireSession));
    fake::me(&other).await.unwrap();
}

/// So that all tasks of the crashed client end with it, the one that keeps its lease too.
async fn crashed_in_a_runtime_of_its_own(fake: &FakeBox, store: &Arc<Watched>) {
    let (fake, store) = (fake.clone(), Arc::clone(store));
    let process = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(crash(&fake, &store));
    };
    tokio::task::spawn_blocking(process).await.unwrap();
}

#[tokio::test]
async fn a_crash_between_answer_and_store_without_grace_asks_for_a_login() {
    let fake = fake::start(FakeBox::builder()).await;
    let store = Watched::new(fake.issue_refresh_token());
    crashed_in_a_runtime_of_its_own(&fake, &store).await;
    let other = holder(&fake, &store);
    let failure = fake::me(&other).await.unwrap_err();
    assert_eq!(failure.api().unwrap().code(), Some("invalid_grant"));
    assert!(failure.to_string().contains("log in again"), "{failure}");
    // And the client goes on when somebody has, without a restart.
    let grant = Grant::new(fake.issue_refresh_token());
    grant.store_in(&store).await.unwrap();
    fake::me(&other).await.unwrap();
}

#[tokio::test]
async fn a_login_while_another_holds_the_lease_is_adopted() {
    let fake = fake::start(FakeBox::builder()).await;
    let store = Watched::new("spent");
    store.inner.lease("somebody", LONG).await.unwrap();
    let client = holder(&fake, &store);
    let call = tokio::spawn(async move { fake::me(&client).await });
    while store.leases() < 2 {
        tokio::task::yield_now().await;
    }
    let grant = living("r", &fake.issue_token());
    grant.store_in(&store).await.unwrap();
    call.await.unwrap().unwrap();
    assert!(fake::forms(&fake).is_empty());
}

#[tokio::test]
async fn the_wait_for_another_holder_has_an_end() {
    let fake = fake::start(FakeBox::builder()).await;
    let store = Watched::new(fake.issue_refresh_token());
    store.inner.lease("somebody", LONG).await.unwrap();
    let failure = fake::me(&holder(&fake, &store)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Timeout);
    assert!(failure.is_retryable() && !failure.may_have_happened());
    assert!(fake::forms(&fake).is_empty(), "the grant was left alone");
}

#[tokio::test]
async fn a_store_that_cannot_lease_is_an_error_of_the_store() {
    let fake = fake::start(FakeBox::builder()).await;
    let store = Watched::new(fake.issue_refresh_token());
    store.broken.store(true, Ordering::SeqCst);
    let client = holder(&fake, &store);
    let failure = fake::me(&client).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Store);
    assert!(fake::forms(&fake).is_empty());
    store.broken.store(false, Ordering::SeqCst);
    fake::me(&client).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_lease_to_the_refresh() {
    let fake = fake::start(FakeBox::builder()).await;
    let millis = HOLD.as_millis() as u64;
    fake.inject(Fault::on("/oauth2/token", FaultEffect::Delay { millis }));
    let store = Watched::new(fake.issue_refresh_token());
    let client = holder(&fake, &store);
    let caller = tokio::spawn({
        let client = client.clone();
        async move { fake::me(&client).await }
    });
    while fake::forms(&fake).is_empty() {
        tokio::task::yield_now().await;
    }
    caller.abort();
    // Another holder adopts what the refresh stores that nobody waits for.
    fake::me(&holder(&fake, &store)).await.unwrap();
    fake::me(&client).await.unwrap();
    assert_eq!(fake::forms(&fake).len(), 1);
}

#[tokio::test]
async fn a_grant_that_cannot_be_stored_keeps_the_others_from_the_spent_one() {
    let fake = fake::start(FakeBox::builder()).await;
    let store = crate::stores::TestStore::new(&fake.issue_refresh_token());
    store.fail(1);
    let source = RefreshToken::new(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET, store.clone());
    let builder = BoxClient::builder(source).base_url(&fake.url());
    let client = builder.retry(quick()).build().unwrap();
    assert_eq!(
        fake::me(&client).await.unwrap_err().kind(),
        ErrorKind::Store
    );
    assert_eq!(store.releases(), 0, "the stored token is spent");
    fake::me(&client).await.unwrap();
    assert_eq!(store.releases(), 1);
}
