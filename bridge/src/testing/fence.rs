use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::queue::{HOLD, at, done, job, only, push, retry, settle};
use crate::{
    ledger::{Begin, EffectKey, EffectState, Ledger, Writer},
    queue::{Leased, QueueAdmin},
    store_error::StoreErrorKind,
};

/// Holds a store that is an inbox and a ledger to what it guarantees for being both: what is begun
/// in the ledger goes by the leases of the inbox. `fresh` gives an empty one each time.
pub async fn fence_contract<S: QueueAdmin + Ledger>(fresh: impl AsyncFn() -> S) {
    nothing_is_begun_under_a_lease_that_is_over(&fresh().await).await;
    nobody_doubts_what_is_begun_under_a_lease_that_holds(&fresh().await).await;
    a_writer_that_comes_back_takes_nothing_from_its_successor(&fresh().await).await;
    leases_of_other_inboxes_are_nobodys(&fresh().await).await;
}

fn key() -> EffectKey {
    EffectKey::new(["version", "7", "1"])
}

async fn begin<S: Ledger>(store: &S, writer: &Writer) -> Begin {
    store.begin(&key(), writer, at(0)).await.unwrap()
}

async fn leased<S: QueueAdmin>(store: &S) -> Leased {
    push(store, job("a", "k"), 0).await;
    only(store, 0).await
}

/// Has another take the job over.
async fn taken_over<S: QueueAdmin>(store: &S, lost: &Leased) -> Leased {
    store.extend(&lost.lease, Duration::ZERO).await.unwrap();
    only(store, 0).await
}

async fn nothing_is_begun_under_a_lease_that_is_over<S: QueueAdmin + Ledger>(store: &S) {
    let first = leased(store).await;
    let writer = Writer::under(first.lease);
    assert_eq!(begin(store, &writer).await, Begin::Begun);
    store.abandon(&key(), &writer).await.unwrap();
    store.extend(&first.lease, Duration::ZERO).await.unwrap();
    let refused = async |writer: &Writer| {
        let refused = store.begin(&key(), writer, Timestamp::now()).await;
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::StaleLease);
        assert_eq!(store.read(&key()).await.unwrap(), None);
    };
    refused(&writer).await;
    let second = only(store, 0).await;
    refused(&writer).await;
    let writer = Writer::under(second.lease);
    settle(store, &second, retry(1), 1).await;
    refused(&writer).await;
    let third = only(store, 1).await;
    let writer = Writer::under(third.lease);
    settle(store, &third, done(), 1).await;
    refused(&writer).await;
    // What has happened is told to whoever asks.
    store.finish(&key(), json!(1), at(0)).await.unwrap();
    assert_eq!(begin(store, &writer).await, Begin::Finished(json!(1)));
}

async fn nobody_doubts_what_is_begun_under_a_lease_that_holds<S: QueueAdmin + Ledger>(store: &S) {
    let first = leased(store).await;
    let writer = Writer::under(first.lease);
    push(store, job("b", "other"), 0).await;
    let other = Writer::under(only(store, 0).await.lease);
    let unknown = Writer::unknown();
    assert_eq!(begin(store, &writer).await, Begin::Begun);
    for another in [&other, &unknown] {
        let doubted = store.doubt(&key(), another, Duration::ZERO).await;
        assert!(!doubted.unwrap(), "its lease holds");
        assert_eq!(begin(store, another).await, Begin::Taken);
    }
    store.extend(&first.lease, HOLD).await.unwrap();
    let doubted = store.doubt(&key(), &other, Duration::ZERO).await;
    assert!(!doubted.unwrap(), "prolonged");

    let successor = Writer::under(taken_over(store, &first).await.lease);
    assert_eq!(begin(store, &successor).await, Begin::Taken, "not doubted");
    let doubted = store.doubt(&key(), &other, Duration::ZERO).await;
    assert!(doubted.unwrap(), "anybody may, now");
    // What comes after a doubt is the first one's who begins.
    assert_eq!(begin(store, &successor).await, Begin::Begun);
    assert_eq!(begin(store, &other).await, Begin::Taken);
}

async fn a_writer_that_comes_back_takes_nothing_from_its_successor<S: QueueAdmin + Ledger>(
    store: &S,
) {
    let first = leased(store).await;
    let zombie = Writer::under(first.lease);
    assert_eq!(begin(store, &zombie).await, Begin::Begun);
    let successor = Writer::under(taken_over(store, &first).await.lease);
    let doubted = store.doubt(&key(), &successor, Duration::ZERO).await;
    assert!(doubted.unwrap());
    assert_eq!(begin(store, &successor).await, Begin::Begun);

    store.abandon(&key(), &zombie).await.unwrap();
    let doubted = store.doubt(&key(), &zombie, Duration::ZERO).await;
    assert!(!doubted.unwrap());
    let completed = store.complete(&key(), &zombie, json!("zombie")).await;
    assert!(!completed.unwrap());
    let begun = store.begin(&key(), &zombie, at(0)).await;
    assert_eq!(begun.unwrap_err().kind(), StoreErrorKind::StaleLease);
    let state = store.read(&key()).await.unwrap();
    assert_eq!(state, Some(EffectState::Begun(at(0))));

    let completed = store.complete(&key(), &successor, json!("it")).await;
    assert!(completed.unwrap());
    let completed = store.complete(&key(), &zombie, json!("zombie")).await;
    assert!(!completed.unwrap());
    let state = store.read(&key()).await.unwrap();
    assert_eq!(state, Some(EffectState::Finished(json!("it"))));
}

async fn leases_of_other_inboxes_are_nobodys<S: QueueAdmin + Ledger>(store: &S) {
    let mut lease = leased(store).await.lease;
    // As another inbox numbers its own jobs.
    lease.inbox = crate::queue::InboxId::unique();
    lease.fence += 7;
    let stranger = Writer::under(lease);
    assert_eq!(begin(store, &stranger).await, Begin::Begun);
    let doubted = store
        .doubt(&key(), &Writer::unknown(), Duration::ZERO)
        .await;
    assert!(doubted.unwrap());
}
