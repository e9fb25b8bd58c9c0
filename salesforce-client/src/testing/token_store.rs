use std::time::Duration;

use secrecy::ExposeSecret;

use crate::{Grant, Stored, Swap, TokenStore, TokenStoreError};

const HOLD: Duration = Duration::from_secs(60);
const SHORT_HOLD: Duration = Duration::from_millis(50);

/// Checks what every [`TokenStore`] promises, and panics where a promise is broken.
///
/// `store` and `other` are two handles of one storage, as two processes have them. A store for one
/// process alone, which knows no leases, is given as `store` only.
///
/// ```
/// use std::sync::Arc;
/// use salesforce_client::{Grant, MemoryTokenStore, testing::token_store_contract};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = Arc::new(MemoryTokenStore::new(Grant::new("a refresh token")));
/// token_store_contract(&store, Some(&Arc::clone(&store))).await;
/// # }
/// ```
pub async fn token_store_contract<S: TokenStore>(store: &S, other: Option<&S>) {
    let handles = [Some(store), other];
    let handles: Vec<&S> = handles.into_iter().flatten().collect();
    let version = first_version(store).await;
    swaps_once(&handles, version).await;
    everything_comes_back(&handles).await;
    if let Some(other) = other {
        one_swap_wins(store, other).await;
        leases_exclude_and_end(store, other).await;
    }
}

async fn load(store: &impl TokenStore) -> Option<Stored> {
    expected(store.load().await)
}

fn expected<T>(result: Result<T, TokenStoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(cause) => unreachable!("the store failed: {cause}"),
    }
}

fn token(stored: &Option<Stored>) -> Option<&str> {
    let stored = stored.as_ref()?;
    Some(stored.grant.refresh_token.expose_secret())
}

/// An empty store has version 0 and takes a first grant.
async fn first_version(store: &impl TokenStore) -> u64 {
    let stored = load(store).await;
    if let Some(stored) = stored {
        return stored.version;
    }
    let swapped = store.compare_and_swap(0, Grant::new("first")).await;
    assert_eq!(
        expected(swapped),
        Swap::Stored,
        "an empty store has version 0"
    );
    let stored = load(store).await;
    assert_eq!(token(&stored), Some("first"), "what was stored is there");
    stored.map_or(0, |stored| stored.version)
}

async fn swaps_once<S: TokenStore>(handles: &[&S], version: u64) {
    let store = handles[0];
    let swapped = store.compare_and_swap(version, Grant::new("next")).await;
    assert_eq!(expected(swapped), Swap::Stored);
    for handle in handles {
        let swapped = handle.compare_and_swap(version, Grant::new("late")).await;
        assert_eq!(
            expected(swapped),
            Swap::Conflict,
            "a version is replaced once"
        );
        let stored = load(*handle).await;
        assert_eq!(token(&stored), Some("next"), "a conflict changes nothing");
        let grown = stored.is_some_and(|stored| stored.version > version);
        assert!(grown, "the version grows with each change");
    }
}

async fn everything_comes_back<S: TokenStore>(handles: &[&S]) {
    let version = load(handles[0]).await.map_or(0, |stored| stored.version);
    let grant = Grant {
        refresh_token: "5Aep861é\u{1F512}\"\\\n".into(),
        access_token: Some("00D!AQ.x".into()),
        issued_at: Some(jiff::Timestamp::UNIX_EPOCH),
        instance_url: Some("https://acme.my.salesforce.com".to_owned()),
    };
    let swapped = handles[0].compare_and_swap(version, grant.clone()).await;
    assert_eq!(expected(swapped), Swap::Stored);
    for handle in handles {
        let stored = load(*handle).await.map(|stored| stored.grant);
        let exposed = |grant: &Grant| {
            let access = grant.access_token.as_ref();
            (
                grant.refresh_token.expose_secret().to_owned(),
                access.map(|token| token.expose_secret().to_owned()),
                grant.issued_at,
                grant.instance_url.clone(),
            )
        };
        let same = stored.as_ref().map(exposed) == Some(exposed(&grant));
        assert!(same, "all of a grant comes back as it was");
    }
}

async fn one_swap_wins<S: TokenStore>(store: &S, other: &S) {
    let version = load(store).await.map_or(0, |stored| stored.version);
    let (one, two) = futures_util::future::join(
        store.compare_and_swap(version, Grant::new("one")),
        other.compare_and_swap(version, Grant::new("two")),
    )
    .await;
    let (one, two) = (expected(one), expected(two));
    let winner = match (one, two) {
        (Swap::Stored, Swap::Conflict) => "one",
        (Swap::Conflict, Swap::Stored) => "two",
        other => unreachable!("of two that swap at once one wins, not {other:?}"),
    };
    assert_eq!(token(&load(store).await), Some(winner));
}

async fn leases_exclude_and_end<S: TokenStore>(store: &S, other: &S) {
    let first = expected(store.lease(HOLD).await);
    assert!(first.is_some(), "a right that nobody has can be had");
    assert_eq!(
        expected(other.lease(HOLD).await),
        None,
        "one holder at a time"
    );
    if let Some(first) = first {
        expected(store.release(first.clone()).await);
        let second = expected(other.lease(SHORT_HOLD).await);
        assert!(second.is_some(), "a right that was given back can be had");
        // The former holder does not know that its time was over.
        expected(store.release(first).await);
        let mut third = expected(store.lease(HOLD).await);
        for _ in 0..200 {
            if third.is_some() {
                break;
            }
            tokio::time::sleep(SHORT_HOLD / 5).await;
            third = expected(store.lease(HOLD).await);
        }
        assert!(
            third.is_some(),
            "the right of one who is gone ends by itself"
        );
        if let Some(second) = second {
            expected(other.release(second).await);
        }
        let stolen = expected(other.lease(HOLD).await);
        assert_eq!(stolen, None, "who was too late gives nobody's right back");
        if let Some(third) = third {
            expected(store.release(third).await);
        }
    }
}
