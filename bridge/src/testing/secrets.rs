use std::time::Duration;

use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use crate::secrets::{MOST_BYTES, SecretErrorKind, SecretName, SecretStore, Swap, Versioned};

/// How many try the same thing at once.
const CROWD: u64 = 12;
/// Long beside all that a check does.
const LONG: Duration = Duration::from_secs(600);
/// For a lease to end, on a slow machine and in a store that counts in seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds a [`SecretStore`] to its guarantees. `fresh` gives an empty store each time.
///
/// Whether what is stored survives a crash is for the store's own tests.
pub async fn secret_store_contract<S: SecretStore>(fresh: impl AsyncFn() -> S) {
    an_empty_store_has_nothing(&fresh().await).await;
    a_secret_comes_back_whole(&fresh().await).await;
    only_the_version_that_was_seen_is_replaced(&fresh().await).await;
    asking_again_for_what_has_happened_is_answered_the_same(&fresh().await).await;
    of_many_that_swap_one_version_one_wins(&fresh().await).await;
    names_do_not_touch_each_other(&fresh().await).await;
    what_no_store_has_room_for_is_refused(&fresh().await).await;
    a_lease_is_for_one_owner(&fresh().await).await;
    of_many_that_lease_one_gets_it(&fresh().await).await;
    a_lease_that_is_not_renewed_ends(&fresh().await).await;
    a_lease_does_not_touch_the_secret(&fresh().await).await;
    no_secret_is_in_debug(&fresh().await).await;
}

fn name(name: &str) -> SecretName {
    SecretName::new(name).unwrap()
}

async fn swap(store: &dyn SecretStore, seen: Option<u64>, secret: &str) -> Swap {
    let name = name("box");
    let swap = store.compare_and_swap(&name, seen, secret.into()).await;
    swap.unwrap()
}

async fn swapped(store: &dyn SecretStore, seen: Option<u64>, secret: &str) -> u64 {
    match swap(store, seen, secret).await {
        Swap::Swapped(version) => version,
        Swap::Conflict(current) => panic!("{seen:?} was the version, and {current:?} is"),
    }
}

async fn loaded(store: &dyn SecretStore) -> Option<(u64, String)> {
    store.load(&name("box")).await.unwrap().map(shown)
}

fn shown(found: Versioned) -> (u64, String) {
    (found.version, found.secret.expose_secret().to_owned())
}

async fn an_empty_store_has_nothing(store: &dyn SecretStore) {
    assert_eq!(loaded(store).await, None);
    let conflict = swap(store, Some(1), "a").await;
    assert!(matches!(conflict, Swap::Conflict(None)), "{conflict:?}");
    assert_eq!(loaded(store).await, None);
    store.release(&name("box"), "nobody").await.unwrap();
}

async fn a_secret_comes_back_whole(store: &dyn SecretStore) {
    let mut seen = None;
    let long = "x\u{1f511}\"\\\n".repeat(MOST_BYTES / 8);
    for secret in ["a", "", " ä\u{1f511}\"\\/\n\t\u{1} ", &long, "b"] {
        let version = swapped(store, seen, secret).await;
        assert!(Some(version) > seen, "{version} comes after {seen:?}");
        assert_eq!(loaded(store).await, Some((version, secret.to_owned())));
        seen = Some(version);
    }
}

async fn only_the_version_that_was_seen_is_replaced(store: &dyn SecretStore) {
    let first = swapped(store, None, "a").await;
    let second = swapped(store, Some(first), "b").await;
    for seen in [
        None,
        Some(first),
        Some(second + 1),
        Some(u64::from(u32::MAX)),
    ] {
        match swap(store, seen, "c").await {
            Swap::Conflict(Some(current)) => assert_eq!(shown(current), (second, "b".to_owned())),
            other => panic!("{seen:?} was taken for the version: {other:?}"),
        }
    }
    assert_eq!(loaded(store).await, Some((second, "b".to_owned())));
}

async fn asking_again_for_what_has_happened_is_answered_the_same(store: &dyn SecretStore) {
    let first = swapped(store, None, "a").await;
    assert_eq!(swapped(store, None, "a").await, first);
    let second = swapped(store, Some(first), "b").await;
    assert_eq!(swapped(store, Some(first), "b").await, second);
    assert_eq!(loaded(store).await, Some((second, "b".to_owned())));
    let late = swap(store, None, "a").await;
    assert!(matches!(late, Swap::Conflict(Some(_))), "{late:?}");
}

async fn of_many_that_swap_one_version_one_wins(store: &dyn SecretStore) {
    let mut seen = None;
    for round in 0..4 {
        let secrets: Vec<_> = (0..CROWD).map(|it| format!("{round}/{it}")).collect();
        let swaps = secrets.iter().map(|secret| swap(store, seen, secret));
        let swaps = join_all(swaps).await;
        let won: Vec<_> = (swaps.iter().zip(&secrets))
            .filter_map(|(swap, secret)| match swap {
                Swap::Swapped(version) => Some((*version, secret.clone())),
                Swap::Conflict(_) => None,
            })
            .collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(loaded(store).await.as_ref(), won.first());
        seen = Some(won[0].0);
    }
}

async fn names_do_not_touch_each_other(store: &dyn SecretStore) {
    let names = ["box", "Box", "box-1", "box_1", "salesforce"].map(name);
    for it in &names {
        let secret = SecretString::from(it.as_str());
        let swap = store.compare_and_swap(it, None, secret).await.unwrap();
        assert!(matches!(swap, Swap::Swapped(_)), "{swap:?}");
        assert!(store.lease(it, it.as_str(), LONG).await.unwrap());
    }
    for it in &names {
        let found = store.load(it).await.unwrap().unwrap();
        assert_eq!(found.secret.expose_secret(), it.as_str());
    }
}

async fn what_no_store_has_room_for_is_refused(store: &dyn SecretStore) {
    let most = "x".repeat(MOST_BYTES);
    let version = swapped(store, None, &most).await;
    let long = SecretString::from(format!("{most}x"));
    let refused = store
        .compare_and_swap(&name("box"), Some(version), long)
        .await;
    assert_eq!(refused.unwrap_err().kind(), SecretErrorKind::Refused);
    assert_eq!(loaded(store).await, Some((version, most)));
    let longest = "n".repeat(65);
    for nameless in ["", " ", "a/b", "..", "ä", "a\0", &longest] {
        let refused = SecretName::new(nameless).unwrap_err();
        assert_eq!(refused.kind(), SecretErrorKind::Refused, "{nameless:?}");
    }
}

async fn a_lease_is_for_one_owner(store: &dyn SecretStore) {
    let grant = name("box");
    assert!(store.lease(&grant, "a", LONG).await.unwrap());
    assert!(!store.lease(&grant, "b", LONG).await.unwrap());
    assert!(store.lease(&grant, "a", LONG).await.unwrap(), "renewed");
    store.release(&grant, "b").await.unwrap();
    assert!(
        !store.lease(&grant, "b", LONG).await.unwrap(),
        "nobody gives back what another holds"
    );
    assert!(store.lease(&name("other"), "b", LONG).await.unwrap());
    store.release(&grant, "a").await.unwrap();
    store.release(&grant, "a").await.unwrap();
    assert!(store.lease(&grant, "b", LONG).await.unwrap());
    assert!(!store.lease(&grant, "a", LONG).await.unwrap());
}

async fn of_many_that_lease_one_gets_it(store: &dyn SecretStore) {
    let owners: Vec<_> = (0..CROWD).map(|it| format!("owner {it}")).collect();
    for _ in 0..3 {
        let grant = name("box");
        let leases = owners.iter().map(|it| store.lease(&grant, it, LONG));
        let leases = join_all(leases).await;
        let got: Vec<_> = (leases.into_iter().zip(&owners))
            .filter_map(|(lease, owner)| lease.unwrap().then_some(owner))
            .collect();
        assert_eq!(got.len(), 1, "{got:?}");
        store.release(&grant, got[0]).await.unwrap();
    }
}

async fn a_lease_that_is_not_renewed_ends(store: &dyn SecretStore) {
    let (grant, hold) = (name("box"), Duration::from_millis(300));
    assert!(store.lease(&grant, "a", hold).await.unwrap());
    let since = Instant::now();
    while !store.lease(&grant, "b", LONG).await.unwrap() {
        assert!(since.elapsed() < PATIENCE, "the lease does not end");
        sleep(Duration::from_millis(25)).await;
    }
    assert!(!store.lease(&grant, "a", hold).await.unwrap());
    store.release(&grant, "a").await.unwrap();
    assert!(!store.lease(&grant, "a", hold).await.unwrap());
}

async fn a_lease_does_not_touch_the_secret(store: &dyn SecretStore) {
    let first = swapped(store, None, "a").await;
    assert!(store.lease(&name("box"), "a", LONG).await.unwrap());
    assert_eq!(loaded(store).await, Some((first, "a".to_owned())));
    let second = swapped(store, Some(first), "b").await;
    assert!(!store.lease(&name("box"), "b", LONG).await.unwrap());
    store.release(&name("box"), "a").await.unwrap();
    assert_eq!(loaded(store).await, Some((second, "b".to_owned())));
}

async fn no_secret_is_in_debug(store: &dyn SecretStore) {
    const SECRET: &str = "plainly-visible";
    let version = swapped(store, None, SECRET).await;
    let conflict = swap(store, None, "other-visible").await;
    let found = store.load(&name("box")).await.unwrap();
    let long = SecretString::from(SECRET.repeat(MOST_BYTES));
    let refused = store
        .compare_and_swap(&name("box"), Some(version), long)
        .await;
    let text = format!("{store:?}{conflict:?}{found:?}{refused:?}");
    assert!(!text.contains("visible"), "{text}");
}
