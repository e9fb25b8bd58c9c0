//! Three processes share a grant, and one of them is killed at each moment of a refresh.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use box_client::{BoxClient, testing::FakeBox};
use bridge::secrets::{
    FileSecrets, GrantStore, SecretError, SecretName, SecretStore, Swap, Versioned,
};
use salesforce_client::{SalesforceClient, testing::FakeSalesforce};
use secrecy::SecretString;

use super::key;

const STORE: &str = "BRIDGE_TEST_SHARED_STORE";
const SIDE: &str = "BRIDGE_TEST_SHARED_SIDE";
const URL: &str = "BRIDGE_TEST_SHARED_URL";
const HALT: &str = "BRIDGE_TEST_SHARED_HALT";
/// How long a killed process keeps the others waiting.
const HOLD: Duration = Duration::from_secs(2);
const SECRET: &str = "secret";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    /// It has the right to refresh, and has sent nothing.
    Leased,
    /// The old refresh token is spent, the new one is stored nowhere.
    Exchanged,
    /// The new one is stored, and nobody knows.
    Stored,
    /// It has a new token, and others may not refresh yet.
    Releasing,
}

const MOMENTS: [Moment; 4] = [
    Moment::Leased,
    Moment::Exchanged,
    Moment::Stored,
    Moment::Releasing,
];

/// Stands still for ever at a moment, and says so.
#[derive(Debug)]
struct Halting {
    inner: Arc<dyn SecretStore>,
    at: Option<Moment>,
    is_leased: AtomicBool,
}

impl Halting {
    async fn reached(&self, moment: Moment) {
        if self.at == Some(moment) {
            say("at");
            std::future::pending().await
        }
    }
}

#[async_trait]
impl SecretStore for Halting {
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError> {
        if self.is_leased.load(Ordering::Relaxed) {
            self.reached(Moment::Leased).await;
        }
        self.inner.load(name).await
    }

    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError> {
        self.reached(Moment::Exchanged).await;
        let swap = self.inner.compare_and_swap(name, seen, secret).await;
        self.reached(Moment::Stored).await;
        swap
    }

    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError> {
        let leased = self.inner.lease(name, owner, hold).await?;
        self.is_leased.fetch_or(leased, Ordering::Relaxed);
        Ok(leased)
    }

    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError> {
        self.reached(Moment::Releasing).await;
        self.inner.release(name, owner).await
    }
}

async fn open(place: &str) -> Arc<dyn SecretStore> {
    #[cfg(feature = "postgres")]
    if place.starts_with("postgres:") {
        let store = bridge::store::postgres::PostgresStore::open(place).await;
        let secrets = bridge::secrets::PostgresSecrets::open(store.unwrap(), key(1)).await;
        return Arc::new(secrets.unwrap());
    }
    #[cfg(feature = "aws")]
    if place.starts_with("http:") {
        return Arc::new(super::aws::open(place, "shared").await);
    }
    Arc::new(FileSecrets::open(place, key(1)).await.unwrap())
}

/// One write each, so that the parent never reads half a line as a whole one.
fn say(line: &str) {
    let line = format!("| {line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// One of the processes: it makes a call for each line that it is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "only as the child of a test below"]
async fn sharer() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(place), Some(side), Some(url)) = (variable(STORE), variable(SIDE), variable(URL))
    else {
        return;
    };
    let at = variable(HALT).and_then(|at| {
        let mut moments = MOMENTS.into_iter();
        moments.find(|it| format!("{it:?}") == at)
    });
    let secrets = Arc::new(Halting {
        inner: open(&place).await,
        at,
        is_leased: AtomicBool::new(false),
    });
    let caller = Caller::new(&side, &url, secrets);
    say("ready");
    let mut lines = std::io::stdin().lines();
    while let Some(Ok(_)) = tokio::task::block_in_place(|| lines.next()) {
        match caller.call().await {
            Ok(()) => say("did"),
            Err(error) => say(&format!("failed {error}")),
        }
    }
}

enum Caller {
    Box(BoxClient),
    Salesforce(SalesforceClient),
}

impl Caller {
    fn new(side: &str, url: &str, secrets: Arc<dyn SecretStore>) -> Self {
        let name = SecretName::new(side).unwrap();
        let store = GrantStore::new(secrets, name);
        match side {
            "box" => {
                let (id, secret) = (FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET);
                let tokens = box_client::RefreshToken::new(id, secret, store).lease(HOLD);
                Self::Box(BoxClient::builder(tokens).base_url(url).build().unwrap())
            }
            _ => {
                let tokens =
                    salesforce_client::RefreshToken::new("app", Some(SECRET.into()), store);
                let client = SalesforceClient::builder(tokens.hold(HOLD)).login_url(url);
                Self::Salesforce(client.build().unwrap())
            }
        }
    }

    async fn call(&self) -> Result<(), String> {
        match self {
            Self::Box(client) => {
                let request = client.request(http::Method::GET, "/users/me");
                request.send().await.map(drop).map_err(|it| it.to_string())
            }
            Self::Salesforce(client) => {
                let limits = client.limits().await;
                limits.map(drop).map_err(|it| it.to_string())
            }
        }
    }
}

/// A process, and what it says.
struct Sharer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Sharer {
    fn start(place: &str, side: &str, url: &str, halt: Option<Moment>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "secrets::shared::sharer",
                "--ignored",
                "--nocapture",
            ])
            .env(STORE, place)
            .env(SIDE, side)
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(moment) = halt {
            command.env(HALT, format!("{moment:?}"));
        }
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            input,
            output,
        }
    }

    fn go(&mut self) {
        self.input.write_all(b"go\n").unwrap();
    }

    fn says(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            // The test runner talks in between.
            if let Some((_, said)) = line.split_once("| ") {
                return said.trim().to_owned();
            }
            line.clear();
        }
        panic!("the process died by itself");
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One of the vendors.
enum Far {
    Box(FakeBox),
    Salesforce { fake: FakeSalesforce, rotates: bool },
}

impl Far {
    async fn content() -> Self {
        // Without Box's grace a kill between its answer and the store would end the grant.
        let fake = FakeBox::builder().refresh_grace(true).start();
        Self::Box(fake.await.unwrap())
    }

    async fn crm(rotates: bool) -> Self {
        let fake = FakeSalesforce::builder()
            .client("app", SECRET)
            .rotate_refresh_tokens(rotates);
        let fake = fake.start().await.unwrap();
        Self::Salesforce { fake, rotates }
    }

    fn side(&self) -> &'static str {
        match self {
            Self::Box(_) => "box",
            Self::Salesforce { .. } => "salesforce",
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Box(fake) => fake.url(),
            Self::Salesforce { fake, .. } => fake.url().to_owned(),
        }
    }

    /// Whether the vendor helps where its answer is stored nowhere.
    fn forgives(&self) -> bool {
        match self {
            Self::Box(_) => true,
            Self::Salesforce { rotates, .. } => !rotates,
        }
    }

    /// As after a login.
    async fn log_in(&self, place: &str) {
        let secrets = open(place).await;
        let store = GrantStore::new(Arc::clone(&secrets), SecretName::new(self.side()).unwrap());
        match self {
            Self::Box(fake) => {
                let grant = box_client::Grant::new(fake.issue_refresh_token());
                grant.store_in(&store).await.unwrap();
            }
            Self::Salesforce { fake, .. } => {
                let store: &dyn salesforce_client::TokenStore = &store;
                let version = store.load().await.unwrap().map_or(0, |it| it.version);
                let grant = salesforce_client::Grant::new(fake.issue_refresh_token());
                let swap = store.compare_and_swap(version, grant).await.unwrap();
                assert_eq!(swap, salesforce_client::Swap::Stored);
            }
        }
    }

    /// The token that all have ends with its next use.
    fn end_token(&self) {
        match self {
            Self::Box(fake) => {
                use box_client::testing::{Fault, FaultEffect};
                fake.inject(Fault::on("/2.0/users/me", FaultEffect::ExpireSession));
            }
            Self::Salesforce { fake, .. } => fake.expire_sessions(),
        }
    }

    /// The refresh tokens that were sent since the last time, and what came of it.
    fn refreshes(&self) -> Vec<(String, Option<u16>)> {
        let refreshes: Vec<_> = match self {
            Self::Box(fake) => {
                let requests = fake.requests();
                fake.clear_requests();
                let requests = requests.iter().map(|it| (it.text(), it.status));
                requests.collect()
            }
            Self::Salesforce { fake, .. } => {
                let requests = fake.requests();
                fake.clear_requests();
                let requests = requests.into_iter().map(|it| (it.body, it.status));
                requests.collect()
            }
        };
        let token = |(body, status): (String, Option<u16>)| {
            let mut pairs = body.split('&');
            let token = pairs.find_map(|pair| pair.strip_prefix("refresh_token="))?;
            Some((token.to_owned(), status))
        };
        refreshes.into_iter().filter_map(token).collect()
    }
}

/// Kills a process at each moment of a refresh, while two others want the same.
async fn share(place: &str, far: &Far) {
    far.log_in(place).await;
    for moment in MOMENTS {
        kill_at(moment, place, far).await;
    }
}

async fn kill_at(moment: Moment, place: &str, far: &Far) {
    let (side, url) = (far.side(), far.url());
    let start = |halt| Sharer::start(place, side, &url, halt);
    let mut victim = start(Some(moment));
    let mut others = [start(None), start(None)];
    for sharer in std::iter::once(&mut victim).chain(&mut others) {
        assert_eq!(sharer.says(), "ready");
    }
    // So that there is a token to end.
    others[0].go();
    assert_eq!(others[0].says(), "did", "{side}, {moment:?}");
    far.refreshes();
    far.end_token();
    victim.go();
    assert_eq!(victim.says(), "at", "{moment:?}");
    for other in &mut others {
        other.go();
    }
    drop(victim);
    let is_lost = moment == Moment::Exchanged && !far.forgives();
    for other in &mut others {
        let said = other.says();
        match is_lost {
            true => assert!(said.contains("log in again"), "{said}"),
            false => assert_eq!(said, "did", "{side}, {moment:?}"),
        }
    }
    let refreshes = far.refreshes();
    let (tokens, refused) = counted(&refreshes);
    match (moment, is_lost) {
        (_, true) => {
            assert!(refused > 0);
            far.log_in(place).await;
        }
        // The successor was nowhere, so it was asked for once more.
        (Moment::Exchanged, false) => {
            assert_eq!((refreshes.len(), tokens, refused), (2, 1, 0), "{side}");
        }
        _ => assert_eq!(
            (refreshes.len(), tokens, refused),
            (1, 1, 0),
            "{side}, {moment:?}"
        ),
    }
    // Nobody has to start anew, and the grant lives.
    for _ in 0..2 {
        far.end_token();
        for other in &mut others {
            other.go();
        }
        for other in &mut others {
            assert_eq!(other.says(), "did", "{side}, {moment:?}");
        }
    }
    let refreshes = far.refreshes();
    let (tokens, refused) = counted(&refreshes);
    assert_eq!(refused, 0, "{side}, {moment:?}");
    if far.forgives() && side == "salesforce" {
        return;
    }
    assert_eq!(
        tokens,
        refreshes.len(),
        "{side}, {moment:?}: one is used twice"
    );
}

/// How many tokens these are, and how often one was refused.
fn counted(refreshes: &[(String, Option<u16>)]) -> (usize, usize) {
    let mut tokens: Vec<_> = refreshes.iter().map(|it| &it.0).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let refused = refreshes.iter().filter(|it| it.1 != Some(200)).count();
    (tokens.len(), refused)
}

async fn share_all(place: &str) {
    share(place, &Far::content().await).await;
    share(place, &Far::crm(true).await).await;
    share(place, &Far::crm(false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_killed_at_any_moment_of_a_refresh_costs_no_grant_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    share_all(path.to_str().unwrap()).await;
}

#[cfg(all(unix, feature = "postgres"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_killed_at_any_moment_of_a_refresh_costs_no_grant_in_postgres() {
    let cluster = crate::cluster::Cluster::start();
    share_all(&cluster.database()).await;
}

#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_killed_at_any_moment_of_a_refresh_costs_no_grant_in_aws() {
    let moto = tokio::task::spawn_blocking(super::moto::Moto::start)
        .await
        .unwrap();
    share_all(&moto.url).await;
}
