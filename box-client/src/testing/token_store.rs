//! What every [`TokenStore`] has to pass.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, for others to call"
)]

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use crate::{Grant, Swap, TokenStore};

/// How many try the same thing at once.
const CROWD: u64 = 16;

/// Short, because the suite waits for its end, and long enough for a slow store.
const HOLD: Duration = Duration::from_millis(600);

/// Long beside all that a check does.
const LONG: Duration = Duration::from_secs(600);

/// Holds a [`TokenStore`] to what a single-use refresh token needs. `fresh` gives an empty store
/// each time. Panics with what is wrong, as a test does.
///
/// Whether what is stored survives a crash is for the store's own tests.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use box_client::{MemoryTokenStore, testing};
///
/// testing::token_store_contract(async || MemoryTokenStore::default()).await;
/// testing::token_lease_contract(async || MemoryTokenStore::default()).await;
/// # }
/// ```
pub async fn token_store_contract<S: TokenStore>(fresh: impl AsyncFn() -> S) {
    an_empty_store_has_no_grant(&fresh().await).await;
    a_grant_comes_back_whole(&fresh().await).await;
    only_the_expected_version_is_replaced(&fresh().await).await;
    of_many_that_replace_one_version_one_wins(&fresh().await).await;
    a_login_replaces_what_is_there(&fresh().await).await;
    whoever_holds_a_lease_can_store(&fresh().await).await;
    no_secret_is_in_debug(&fresh().await).await;
}

/// Holds a [`TokenStore`] to what [`lease`](TokenStore::lease) promises. A store that leaves the
/// method out does not pass, and need not.
pub async fn token_lease_contract<S: TokenStore>(fresh: impl AsyncFn() -> S) {
    a_lease_is_for_one_holder(&fresh().await).await;
    of_many_that_ask_at_once_one_gets_the_lease(&fresh().await).await;
    a_lease_that_is_given_back_is_free(&fresh().await).await;
    nobody_gives_back_what_another_holds(&fresh().await).await;
    a_lease_that_is_not_renewed_ends(&fresh().await).await;
    a_lease_that_is_renewed_goes_on(&fresh().await).await;
    a_lease_does_not_touch_the_grant(&fresh().await).await;
}

fn grant(number: u64) -> Grant {
    let mut grant = Grant::new(format!("refresh-{number} \"ü\u{1f511}"));
    grant.access_token = Some(SecretString::from(format!("access-{number}")));
    grant.expires_at = Timestamp::from_second(1_900_000_000).ok();
    grant
}

async fn stored(store: &dyn TokenStore, expected: u64, number: u64) {
    let swap = store.compare_and_swap(expected, grant(number)).await;
    assert_eq!(swap.unwrap(), Swap::Stored, "{expected} was the version");
}

/// The version, and the number of the grant.
async fn loaded(store: &dyn TokenStore) -> (u64, String) {
    let stored = store.load().await.unwrap().expect("a grant was stored");
    let token = stored.grant.refresh_token.expose_secret().to_owned();
    (stored.version, token)
}

async fn holds(store: &dyn TokenStore, holder: &str, hold: Duration) -> bool {
    store.lease(holder, hold).await.unwrap()
}

async fn an_empty_store_has_no_grant(store: &dyn TokenStore) {
    assert!(store.load().await.unwrap().is_none(), "the store is new");
    let swap = store.compare_and_swap(1, grant(1)).await.unwrap();
    assert_eq!(swap, Swap::Conflict, "an empty store has version 0");
    assert!(store.load().await.unwrap().is_none(), "nothing was stored");
}

async fn a_grant_comes_back_whole(store: &dyn TokenStore) {
    stored(store, 0, 1).await;
    let back = store.load().await.unwrap().unwrap();
    let sent = grant(1);
    assert!(back.version > 0, "version 0 is an empty store");
    assert_eq!(
        back.grant.refresh_token.expose_secret(),
        sent.refresh_token.expose_secret()
    );
    assert_eq!(
        back.grant.access_token.unwrap().expose_secret(),
        sent.access_token.unwrap().expose_secret()
    );
    assert_eq!(back.grant.expires_at, sent.expires_at);
    let bare = Grant::new("bare");
    let swap = store.compare_and_swap(back.version, bare).await.unwrap();
    assert_eq!(swap, Swap::Stored);
    let back = store.load().await.unwrap().unwrap().grant;
    assert!(
        back.access_token.is_none() && back.expires_at.is_none(),
        "what is not in the grant is not in the store"
    );
}

async fn only_the_expected_version_is_replaced(store: &dyn TokenStore) {
    stored(store, 0, 1).await;
    let (first, token) = loaded(store).await;
    for wrong in [0, first + 1, u64::MAX] {
        let swap = store.compare_and_swap(wrong, grant(2)).await.unwrap();
        assert_eq!(swap, Swap::Conflict, "{wrong} is not the version");
    }
    assert_eq!(
        loaded(store).await,
        (first, token),
        "a conflict changes nothing"
    );
    stored(store, first, 3).await;
    let (second, _) = loaded(store).await;
    assert!(second > first, "a version grows with each change");
    let late = store.compare_and_swap(first, grant(4)).await.unwrap();
    assert_eq!(late, Swap::Conflict, "a version does not come back");
}

async fn of_many_that_replace_one_version_one_wins(store: &dyn TokenStore) {
    stored(store, 0, 0).await;
    let mut version = loaded(store).await.0;
    for _ in 0..5 {
        let tries = (1..=CROWD).map(|n| async move {
            let swap = store.compare_and_swap(version, grant(n)).await.unwrap();
            (n, swap)
        });
        let tries = join_all(tries).await;
        let winners: Vec<_> = tries.iter().filter(|(_, s)| *s == Swap::Stored).collect();
        assert_eq!(winners.len(), 1, "one of many: {tries:?}");
        let (now, token) = loaded(store).await;
        let won = grant(winners[0].0).refresh_token;
        assert_eq!(token, won.expose_secret(), "the winner's grant is stored");
        version = now;
    }
}

async fn a_login_replaces_what_is_there(store: &dyn TokenStore) {
    for number in 1..=3 {
        grant(number).store_in(store).await.unwrap();
        let token = grant(number).refresh_token;
        assert_eq!(loaded(store).await.1, token.expose_secret());
    }
}

async fn whoever_holds_a_lease_can_store(store: &dyn TokenStore) {
    assert!(holds(store, "a", LONG).await, "nobody else wants it");
    assert!(holds(store, "a", LONG).await, "it is the holder's already");
    stored(store, 0, 1).await;
    store.release("a").await.unwrap();
    assert!(holds(store, "b", LONG).await, "it was given back");
    store.release("nobody").await.unwrap();
}

async fn no_secret_is_in_debug(store: &dyn TokenStore) {
    stored(store, 0, 1).await;
    let shown = format!("{store:?} {store:#?} {:?}", store.load().await.unwrap());
    for secret in ["refresh-1", "access-1"] {
        assert!(!shown.contains(secret), "a secret is in Debug");
    }
}

async fn a_lease_is_for_one_holder(store: &dyn TokenStore) {
    assert!(holds(store, "a", LONG).await);
    assert!(!holds(store, "b", LONG).await, "another holds the lease");
    assert!(holds(store, "a", LONG).await, "a holder may ask again");
}

async fn of_many_that_ask_at_once_one_gets_the_lease(store: &dyn TokenStore) {
    let asking = (0..CROWD).map(|n| async move { holds(store, &n.to_string(), LONG).await });
    let given = join_all(asking).await;
    let count = given.iter().filter(|given| **given).count();
    assert_eq!(count, 1, "one lease, one holder");
}

async fn a_lease_that_is_given_back_is_free(store: &dyn TokenStore) {
    assert!(holds(store, "a", LONG).await);
    store.release("a").await.unwrap();
    assert!(holds(store, "b", LONG).await, "it was given back");
}

async fn nobody_gives_back_what_another_holds(store: &dyn TokenStore) {
    assert!(holds(store, "a", LONG).await);
    store.release("b").await.unwrap();
    assert!(!holds(store, "b", LONG).await, "it was not theirs to give");
}

async fn a_lease_that_is_not_renewed_ends(store: &dyn TokenStore) {
    let started = Instant::now();
    assert!(holds(store, "a", HOLD).await);
    // A slow machine may find it over at once; only too early is wrong, and never.
    while !holds(store, "b", LONG).await {
        assert!(started.elapsed() < HOLD * 20, "the lease does not end");
        sleep(HOLD / 10).await;
    }
    assert!(started.elapsed() >= HOLD, "the lease ended early");
    assert!(!holds(store, "a", HOLD).await, "the lease is another's now");
}

async fn a_lease_that_is_renewed_goes_on(store: &dyn TokenStore) {
    assert!(holds(store, "a", HOLD).await);
    assert!(holds(store, "a", LONG).await);
    sleep(HOLD + HOLD / 2).await;
    assert!(!holds(store, "b", HOLD).await, "it was renewed for longer");
}

async fn a_lease_does_not_touch_the_grant(store: &dyn TokenStore) {
    stored(store, 0, 1).await;
    let before = loaded(store).await;
    assert!(holds(store, "a", LONG).await);
    assert_eq!(loaded(store).await, before);
    // A holder that slept through the end of its lease is fenced by the version alone.
    stored(store, before.0, 2).await;
    store.release("a").await.unwrap();
    assert_ne!(loaded(store).await, before);
}
