use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bridge::{Ledger, Queue, source::Poll};
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{
    SalesforceClient,
    testing::{FakeSalesforce, Fault, FaultEffect},
};
use serde_json::json;
use tokio::time::timeout;

use super::{org, records, said, shaky::Shaky};

fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

fn account(org: &FakeSalesforce, seconds_ago: i64) -> String {
    let at = ago(seconds_ago).to_string();
    let fields = json!({ "Name": "Acme", "CreatedDate": at, "SystemModstamp": at });
    org.create("Account", fields).unwrap()
}

fn poll(client: &SalesforceClient, store: &Arc<Shaky>) -> Poll {
    let (queue, ledger): (Arc<dyn Queue>, Arc<dyn Ledger>) = (store.clone(), store.clone());
    Poll::new(records(client), queue, ledger, ["Account"]).since(ago(3600))
}

#[tokio::test]
async fn what_was_made_and_what_was_changed_is_told_once() {
    let (org, client) = org().await;
    let store = Arc::new(Shaky::default());
    account(&org, 4000);
    let made = account(&org, 600);
    let old = account(&org, 5000);
    let changed = json!({ "Name": "Acme 2", "SystemModstamp": ago(500).to_string() });
    org.update(&old, changed).unwrap();
    let poll = poll(&client, &store);
    assert_eq!(poll.once().await.unwrap(), 2);
    let mut said = said(&store.store).await;
    said.sort();
    assert_eq!(said, [format!("CREATED {made}"), format!("UPDATED {old}")]);
    assert_eq!(poll.once().await.unwrap(), 0, "nothing is told twice");
}

/// A crash between the push and the position, and one before the push.
#[tokio::test]
async fn wherever_it_dies_nothing_is_lost_and_nothing_is_told_twice() {
    let (org, client) = org().await;
    let store = Arc::new(Shaky::default());
    let accounts = [account(&org, 900), account(&org, 600)];
    let expected = accounts.map(|id| format!("CREATED {id}"));
    let poll = poll(&client, &store);

    store.no_position.store(true, Ordering::SeqCst);
    poll.once().await.unwrap_err();
    assert_eq!(said(&store.store).await, [""; 0], "no beginning, no events");
    store.no_position.store(false, Ordering::SeqCst);

    store.no_push.store(true, Ordering::SeqCst);
    poll.once().await.unwrap_err();
    store.no_push.store(false, Ordering::SeqCst);
    store.no_position.store(true, Ordering::SeqCst);
    poll.once().await.unwrap_err();
    assert_eq!(said(&store.store).await, expected, "pushed before it died");
    store.no_position.store(false, Ordering::SeqCst);
    assert_eq!(poll.once().await.unwrap(), 0);
    assert_eq!(said(&store.store).await, expected);
}

#[tokio::test]
async fn two_processes_tell_everything_once() {
    let (org, client) = org().await;
    let store = Arc::new(Shaky::default());
    let ids: Vec<_> = (0..50).map(|n| account(&org, 600 + n)).collect();
    let (one, other) = (poll(&client, &store), poll(&client, &store));
    let (one, other) = tokio::join!(one.once(), other.once());
    assert_eq!(one.unwrap() + other.unwrap(), ids.len());
    assert_eq!(said(&store.store).await.len(), ids.len());
}

#[tokio::test]
async fn the_first_run_begins_now_unless_told_otherwise() {
    let (org, client) = org().await;
    let store = Arc::new(Shaky::default());
    account(&org, 600);
    let (queue, ledger): (Arc<dyn Queue>, Arc<dyn Ledger>) = (store.clone(), store.clone());
    let poll = Poll::new(records(&client), queue, ledger, ["Account"]);
    assert_eq!(poll.once().await.unwrap(), 0);
    // A position that is known counts for more than a beginning that is set later.
    assert_eq!(poll.since(ago(3600)).once().await.unwrap(), 0);
    assert_eq!(said(&store.store).await, [""; 0]);
}

/// As after a month in which nothing was running.
#[tokio::test]
async fn what_lies_before_salesforces_lists_is_told_too() {
    const DAY: i64 = 24 * 3600;
    let (org, client) = org().await;
    let store = Arc::new(Shaky::default());
    let long_ago = account(&org, 50 * DAY);
    let old = account(&org, 90 * DAY);
    let changed = json!({ "Name": "Acme 2", "SystemModstamp": ago(40 * DAY).to_string() });
    org.update(&old, changed).unwrap();
    let recent = account(&org, 600);
    let poll = poll(&client, &store).since(ago(60 * DAY));
    assert_eq!(poll.once().await.unwrap(), 3);
    let mut said = said(&store.store).await;
    said.sort();
    let mut expected = [
        format!("CREATED {long_ago}"),
        format!("CREATED {recent}"),
        format!("UPDATED {old}"),
    ];
    expected.sort();
    assert_eq!(said, expected);
    assert_eq!(poll.once().await.unwrap(), 0);
}

#[tokio::test]
async fn one_kind_that_is_not_answered_for_keeps_no_other_waiting() {
    let (org, client) = org().await;
    let store = Arc::new(Shaky::default());
    let made = account(&org, 600);
    let slow = FaultEffect::DelayBefore { millis: 3_600_000 };
    let slow = Fault::on("*/sobjects/Contact/*", slow).times(u32::MAX);
    org.inject(slow);
    let (queue, ledger): (Arc<dyn Queue>, Arc<dyn Ledger>) = (store.clone(), store.clone());
    let poll = Poll::new(records(&client), queue, ledger, ["Contact", "Account"]);
    let told = async {
        while said(&store.store).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let polling = poll.since(ago(3600));
    let polling = timeout(Duration::from_secs(600), polling.run(told));
    polling.await.unwrap();
    assert_eq!(said(&store.store).await, [format!("CREATED {made}")]);
}
