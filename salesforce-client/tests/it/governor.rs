//! Calls within bounds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use salesforce_client::{
    ErrorKind, Governor, GovernorBuilder, Priority, Quota, QuotaShare, QuotaShareError,
    SalesforceClient,
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
    let (org, client, governor) = governed(Governor::builder().max_concurrent(1), 1000).await;
    for _ in 0..20 {
        let call = Box::pin(client.limits());
        assert!(call.now_or_never().is_none());
    }
    assert_eq!((governor.state().running, governor.state().waiting), (0, 0));
    let id = account(&org, "Acme");
    let content = org
        .add_file_as_other_user(id.as_str(), "a.txt", b"abc")
        .unwrap();
    let content = salesforce_client::RecordId::new(&content).unwrap();
    let download = client.files().download(&content).await.unwrap();
    // Who reads, or does not, keeps nobody waiting.
    assert_eq!(governor.state().running, 0);
    client.limits().await.unwrap();
    assert_eq!(download.bytes(10).await.unwrap(), "abc");
}

#[tokio::test]
async fn copies_inside_the_org_do_not_wait_for_each_other_for_ever() {
    let (org, client, _) = governed(Governor::builder().max_concurrent(1), 1000).await;
    let record = account(&org, "Acme");
    let version = org.add_file_as_other_user(record.as_str(), "a.txt", b"abc");
    let version = salesforce_client::RecordId::new(&version.unwrap()).unwrap();
    let copies = (0..5).map(|number| {
        let (client, version) = (client.clone(), version.clone());
        async move {
            let download = client.files().download(&version).await?;
            let name = format!("copy {number}.txt");
            let upload = client.files().upload(name);
            upload.send(download.into_stream(), 3).await
        }
    });
    let copies = tokio::time::timeout(Duration::from_secs(60), join_all(copies));
    for copy in copies.await.unwrap() {
        copy.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_beyond_its_deadline_was_not_sent() {
    let org = FakeSalesforce::start().await.unwrap();
    let governor = Governor::builder().max_concurrent(1).build();
    let patient = builder_of(&org).governor(&governor).build().unwrap();
    let hasty = builder_of(&org).governor(&governor);
    let retry = salesforce_client::RetryPolicy::none().deadline(Duration::from_millis(200));
    let hasty = hasty.retry(retry).build().unwrap();
    // It keeps its place until it is given up.
    let delay = FaultEffect::DelayBefore { millis: 3_600_000 };
    org.inject(Fault::on("*/limits", delay));
    let long = tokio::spawn(async move { patient.limits().await });
    while governor.state().running == 0 {
        tokio::task::yield_now().await;
    }
    let account = serde_json::json!({ "Name": "Acme" });
    let error = hasty.sobject("Account").create(&account).await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts()),
        (ErrorKind::ConcurrentLimit, 0)
    );
    assert!(!error.may_have_happened(), "{error}");
    assert!(error.to_string().contains("not sent"), "{error}");
    let asked = org.requests();
    assert!(asked.iter().all(|it| it.path.ends_with("/limits")));
    assert_eq!(governor.state().waiting, 0);
    long.abort();
}

#[tokio::test]
async fn a_try_that_dies_is_followed_by_the_next_call() {
    let builder = Governor::builder().pause(Duration::from_millis(300));
    let (org, client, governor) = governed(builder, 1000).await;
    org.inject(Fault::on("*/limits", FaultEffect::DailyLimit));
    client.limits().await.unwrap_err();
    while governor.state().refused_until.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One is dropped, one breaks. While the way is closed all others are refused.
    let mut dropped = Box::pin(client.limits());
    while governor.state().running == 0 {
        assert!((&mut dropped).now_or_never().is_none());
    }
    drop(dropped);
    let gateway = FaultEffect::Status {
        status: 502,
        headers: Default::default(),
        body: String::new(),
    };
    org.inject(Fault::on("*/limits", gateway));
    client.limits().await.unwrap();
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

/// A database that stands still.
#[derive(Debug)]
struct Still;

#[async_trait]
impl QuotaShare for Still {
    async fn load(&self) -> Result<Quota, QuotaShareError> {
        std::future::pending().await
    }

    async fn publish(&self, _: &Quota) -> Result<(), QuotaShareError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn calls_go_on_when_the_other_processes_do_not_answer() {
    let (org, client, _) = governed(Governor::builder().share(Still), 1000).await;
    client.limits().await.unwrap();
    org.inject(Fault::on("*/limits", FaultEffect::DailyLimit));
    let refused = tokio::time::timeout(Duration::from_secs(300), client.limits());
    let refused = refused.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DailyLimit);
}

#[tokio::test]
async fn a_429_closes_nothing_and_is_waited_out() {
    let (org, client, governor) = governed(Governor::builder().pause(LONG), 1000).await;
    let effect = FaultEffect::RateLimit {
        retry_after: Some("1".to_owned()),
    };
    org.inject(Fault::on("*/limits", effect));
    let began = std::time::Instant::now();
    client.limits().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(governor.state().quota.closed_until, None);
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
