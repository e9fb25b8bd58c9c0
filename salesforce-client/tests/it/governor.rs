//! Calls within bounds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use salesforce_client::{
    ErrorKind, Governor, GovernorBuilder, Priority, Quota, QuotaShare, QuotaShareError,
    RetryPolicy, SalesforceClient,
    testing::{FakeSalesforce, Fault, FaultEffect},
};

use crate::org::{account, builder_of};

const LONG: Duration = Duration::from_secs(3600);

async fn governed(
    builder: GovernorBuilder,
    limit: u64,
) -> (FakeSalesforce, SalesforceClient, Governor) {
    let org = FakeSalesforce::builder()
        .daily_limit(limit)
        .start()
        .await
        .unwrap();
    let governor = builder.build();
    let client = builder_of(&org).governor(&governor).build().unwrap();
    (org, client, governor)
}

#[tokio::test]
async fn the_reserve_is_left_to_others_and_backfill_leaves_more() {
    let builder = Governor::builder()
        .reserve(0.1)
        .backfill_reserve(0.5)
        .pause(LONG);
    let (org, client, governor) = governed(builder, 100).await;
    let backfill = client.with_priority(Priority::Backfill);
    for (client, made) in [(&backfill, 50), (&client, 90)] {
        let error = loop {
            if let Err(error) = client.limits().await {
                break error;
            }
        };
        assert_eq!(org.calls(), made);
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::DailyLimit, 0));
        let wait = error.retry_after().unwrap();
        assert!(wait <= LONG && wait > LONG / 2, "{wait:?}");
        assert!(!error.may_have_happened());
    }
    assert_eq!(governor.state().quota.usage, client.api_usage());
}

#[tokio::test]
async fn when_all_calls_are_used_up_nobody_asks_again_before_the_pause_is_over() {
    let builder = Governor::builder().pause(LONG);
    let (org, client, governor) = governed(builder, 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::DailyLimit));
    let error = client.limits().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after()),
        (ErrorKind::DailyLimit, Some(LONG))
    );
    let asked = org.requests().len();
    for client in [client.clone(), client.with_priority(Priority::Backfill)] {
        assert_eq!(
            client.limits().await.unwrap_err().kind(),
            ErrorKind::DailyLimit
        );
    }
    assert_eq!(org.requests().len(), asked);
    assert!(governor.state().quota.closed_until.is_some());
}

#[tokio::test]
async fn after_the_pause_one_call_tries_and_its_answer_opens_the_way() {
    let builder = Governor::builder().pause(Duration::from_millis(200));
    let (org, client, _) = governed(builder, 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::DailyLimit));
    client.limits().await.unwrap_err();
    let asked = org.requests().len();
    let calls = loop {
        let calls = join_all((0..10).map(|_| client.limits())).await;
        if calls.iter().any(Result::is_ok) {
            break calls;
        }
        tokio::task::yield_now().await;
    };
    // The one that tried; others may have seen its answer.
    assert!(calls.iter().filter(|it| it.is_ok()).count() <= org.requests().len() - asked);
    for outcome in join_all((0..10).map(|_| client.limits())).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn those_who_come_while_a_call_tries_wait_for_what_it_brings() {
    let builder = Governor::builder().pause(Duration::from_millis(300));
    let (org, client, governor) = governed(builder, 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::DailyLimit));
    client.limits().await.unwrap_err();
    assert!(governor.state().refused_until.is_some());
    while governor.state().refused_until.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    org.inject(Fault::on("*/limits", FaultEffect::Delay { millis: 200 }));
    let asked = org.requests().len();
    for outcome in join_all((0..10).map(|_| client.limits())).await {
        outcome.unwrap();
    }
    assert_eq!(org.requests().len() - asked, 10);
    assert_eq!(governor.state().calls, 11);
}

#[tokio::test]
async fn calls_at_the_same_time_do_not_go_below_the_reserve_together() {
    let builder = Governor::builder()
        .reserve(0.1)
        .pause(LONG)
        .max_concurrent(10);
    let (org, client, _) = governed(builder, 1000).await;
    client.limits().await.unwrap();
    let calls = (0..2_000).map(|_| client.limits());
    let outcomes: Vec<_> = stream::iter(calls).buffer_unordered(10).collect().await;
    let made = outcomes.iter().filter(|it| it.is_ok()).count() + 1;
    assert_eq!(org.calls(), made as u64);
    assert!((880..=900).contains(&made), "{made}");
}

#[tokio::test]
async fn only_so_many_calls_run_at_once() {
    let (org, client, governor) = governed(Governor::builder().max_concurrent(3), 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::Delay { millis: 10 }).times(1000));
    let seen = Mutex::new((0, 0));
    let calls = stream::iter(0..30).map(|_| async {
        let outcome = client.limits().await;
        let state = governor.state();
        let mut seen = seen.lock().unwrap();
        *seen = (seen.0.max(state.running), seen.1.max(state.waiting));
        outcome.unwrap();
    });
    calls.buffer_unordered(12).collect::<Vec<_>>().await;
    let (running, waiting) = *seen.lock().unwrap();
    assert!(running <= 3 && running > 0, "{running}");
    assert!(waiting > 0);
    assert_eq!(governor.state().running, 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_place_along() {
    let (_org, client, governor) = governed(Governor::builder().max_concurrent(1), 1000).await;
    for _ in 0..20 {
        let call = Box::pin(client.limits());
        assert!(call.now_or_never().is_none());
    }
    assert_eq!((governor.state().running, governor.state().waiting), (0, 0));
}

#[tokio::test]
async fn who_reads_and_writes_at_once_does_not_wait_for_himself() {
    let (org, client, governor) = governed(Governor::builder().max_concurrent(1), 1000).await;
    let id = account(&org, "Acme");
    let content = org
        .add_file_as_other_user(id.as_str(), "a.txt", b"abc")
        .unwrap();
    let content = salesforce_client::RecordId::new(&content).unwrap();
    let download = client.files().download(&content).await.unwrap();
    assert_eq!(governor.state().running, 0);
    // A copy within the org, whose one side is read while the other is written.
    let copy = client.files().upload("b.txt").first_publish_location(&id);
    let copied = copy.send(download.into_stream(), 3).await.unwrap();
    let copied = org.bytes(copied.as_str()).unwrap();
    assert_eq!(&copied[..], b"abc");
}

#[tokio::test]
async fn a_call_whose_turn_does_not_come_in_time_was_not_sent() {
    let (org, client, governor) = governed(Governor::builder().max_concurrent(1), 1000).await;
    org.inject(Fault::on(
        "*/limits",
        FaultEffect::Delay { millis: 600_000 },
    ));
    let first = client.clone();
    let first = tokio::spawn(async move { first.limits().await });
    while org.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let hurried = RetryPolicy::default().deadline(Duration::from_millis(20));
    let hurried = builder_of(&org).governor(&governor).retry(hurried);
    let hurried = hurried.build().unwrap();
    let record = serde_json::json!({ "Name": "x" });
    let error = hurried
        .sobject("Account")
        .create(&record)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!error.may_have_happened());
    assert_eq!(org.requests().len(), 1);
    first.abort();
}

#[tokio::test]
async fn a_try_without_an_answer_is_none_and_one_that_is_answered_opens() {
    let pause = Duration::from_millis(300);
    let (org, client, governor) = governed(Governor::builder().pause(pause), 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::DailyLimit));
    let error = client.limits().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DailyLimit);
    let is_open = || governor.state().quota.closed_until.is_none();
    assert!(!is_open());
    tokio::time::sleep(pause).await;
    // The one that tries is dropped on its way.
    org.inject(Fault::on(
        "*/limits",
        FaultEffect::Delay { millis: 600_000 },
    ));
    let sent = org.requests().len();
    let tried = client.clone();
    let tried = tokio::spawn(async move { tried.limits().await });
    while org.requests().len() == sent {
        tokio::task::yield_now().await;
    }
    tried.abort();
    let _ = tried.await;
    // The list of versions tells nothing of the quota; that it is answered is enough.
    client.versions().await.unwrap();
    assert!(is_open());
}

#[tokio::test]
async fn too_many_long_calls_are_waited_out_and_not_taken_for_the_daily_limit() {
    let (org, client, governor) = governed(Governor::builder(), 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::ConcurrentLimit).times(2));
    client.limits().await.unwrap();
    assert_eq!(governor.state().quota.closed_until, None);
}

#[tokio::test]
async fn the_data_of_a_bulk_job_is_a_call_like_others() {
    let (org, client, governor) = governed(Governor::builder().pause(LONG), 1000).await;
    org.inject(Fault::on("*/batches", FaultEffect::DailyLimit));
    let rows = stream::iter([Ok::<_, std::io::Error>(("Acme",))]);
    let insert = client.bulk().insert("Account").columns(["Name"]);
    let jobs: Vec<_> = insert.rows(rows).collect().await;
    let error = jobs[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DailyLimit);
    assert_eq!(error.retry_after(), Some(LONG));
    assert!(governor.state().quota.closed_until.is_some());
}

/// What several processes would have in a row of a database.
#[derive(Clone, Debug, Default)]
struct Row(Arc<Mutex<Quota>>);

#[async_trait]
impl QuotaShare for Row {
    async fn load(&self) -> Result<Quota, QuotaShareError> {
        let text = serde_json::to_string(&*self.0.lock().unwrap())?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn publish(&self, quota: &Quota) -> Result<(), QuotaShareError> {
        *self.0.lock().unwrap() = quota.clone();
        Ok(())
    }
}

#[tokio::test]
async fn what_one_process_learns_the_others_heed() {
    let row = Row::default();
    let builder = || {
        let builder = Governor::builder().share(row.clone()).pause(LONG);
        builder.sync_every(Duration::ZERO)
    };
    let (org, client, _) = governed(builder(), 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::DailyLimit));
    client.limits().await.unwrap_err();
    let other = builder_of(&org)
        .governor(&builder().build())
        .build()
        .unwrap();
    let asked = org.requests().len();
    assert_eq!(
        other.limits().await.unwrap_err().kind(),
        ErrorKind::DailyLimit
    );
    assert_eq!(org.requests().len(), asked);
}

/// A database that is away.
#[derive(Debug)]
struct Away;

#[async_trait]
impl QuotaShare for Away {
    async fn load(&self) -> Result<Quota, QuotaShareError> {
        Err("away".into())
    }

    async fn publish(&self, _: &Quota) -> Result<(), QuotaShareError> {
        Err("away".into())
    }
}

#[tokio::test]
async fn calls_go_on_when_the_other_processes_cannot_be_heard() {
    let (_org, client, _) = governed(Governor::builder().share(Away), 1000).await;
    client.limits().await.unwrap();
}
