use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    queue::{JobFilter, JobId, JobState, Leased, NewJob, Push, QueueAdmin, Settle},
    store_error::StoreErrorKind,
};

const HOLD: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn job(dedupe: &str, key: &str) -> NewJob {
    let (dedupe, key) = (dedupe.to_owned(), key.to_owned());
    let body = Bytes::from(format!("body of {dedupe}\0\u{ff}"));
    NewJob {
        dedupe,
        key,
        kind: "test".to_owned(),
        body,
    }
}

async fn push(queue: &dyn QueueAdmin, job: NewJob, second: i64) -> JobId {
    match queue.push(vec![job], at(second)).await.unwrap()[0] {
        Push::Queued(id) => id,
        Push::Duplicate(id) => panic!("{id} is no duplicate"),
    }
}

async fn lease(queue: &dyn QueueAdmin, second: i64) -> Vec<Leased> {
    queue.lease("w", 10, HOLD, at(second)).await.unwrap()
}

async fn only(queue: &dyn QueueAdmin, second: i64) -> Leased {
    let mut leased = lease(queue, second).await;
    assert_eq!(leased.len(), 1, "{leased:?}");
    leased.remove(0)
}

async fn settle(queue: &dyn QueueAdmin, leased: &Leased, settle: Settle, second: i64) {
    queue
        .settle(&leased.lease, settle, at(second))
        .await
        .unwrap();
}

fn done() -> Settle {
    Settle::Done {
        note: "done".into(),
    }
}

fn dead() -> Settle {
    Settle::Dead {
        reason: "dead".into(),
    }
}

/// Holds a [`Queue`](crate::Queue) to its guarantees. `fresh` gives an empty one each time.
pub async fn queue_contract<Q: QueueAdmin>(fresh: impl Fn() -> Q) {
    what_is_known_is_not_stored_again(&fresh()).await;
    what_is_pushed_comes_back_whole(&fresh()).await;
    jobs_of_a_key_keep_their_order(&fresh()).await;
    a_lost_lease_is_taken_over_and_fenced(&fresh()).await;
    attempts_are_counted_when_leased(&fresh()).await;
    a_clock_set_back_loses_nothing(&fresh()).await;
    people_can_list_replay_release_and_purge(&fresh()).await;
}

async fn what_is_known_is_not_stored_again(queue: &dyn QueueAdmin) {
    assert_eq!(queue.push(vec![], at(0)).await.unwrap(), []);
    let both = queue
        .push(vec![job("a", "k"), job("a", "k")], at(0))
        .await
        .unwrap();
    let [Push::Queued(first), Push::Duplicate(second)] = both[..] else {
        panic!("{both:?}")
    };
    assert_eq!(first, second);
    let leased = only(queue, 0).await;
    settle(queue, &leased, done(), 1).await;
    let again = queue.push(vec![job("a", "other")], at(2)).await.unwrap();
    assert_eq!(again, [Push::Duplicate(first)], "also when it is finished");
    assert!(lease(queue, 3).await.is_empty());
}

async fn what_is_pushed_comes_back_whole(queue: &dyn QueueAdmin) {
    let new = job("a", "k");
    let id = push(queue, new.clone(), 5).await;
    assert!(queue.lease("w", 0, HOLD, at(5)).await.unwrap().is_empty());
    let leased = only(queue, 5).await;
    assert_eq!(
        (leased.lease.job, leased.pushed_at, leased.until),
        (id, at(5), at(65))
    );
    let back = NewJob {
        dedupe: leased.dedupe,
        key: leased.key,
        kind: leased.kind,
        body: leased.body,
    };
    assert_eq!(back, new);
    assert_eq!(queue.job(id).await.unwrap().unwrap().body, new.body);
    assert_eq!(queue.job(JobId(9999)).await.unwrap(), None);
}

async fn jobs_of_a_key_keep_their_order(queue: &dyn QueueAdmin) {
    for (dedupe, key) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a")] {
        push(queue, job(dedupe, key), 0).await;
    }
    let leased = lease(queue, 0).await;
    let names: Vec<_> = leased.iter().map(|job| job.dedupe.as_str()).collect();
    assert_eq!(names, ["a1", "b1"], "one of each key, the oldest");
    let retry = Settle::Retry {
        at: at(100),
        reason: "later".into(),
    };
    settle(queue, &leased[0], retry, 1).await;
    settle(queue, &leased[1], done(), 1).await;
    assert!(
        lease(queue, 50).await.is_empty(),
        "a2 waits for the retry of a1"
    );
    let first = only(queue, 100).await;
    assert_eq!(first.dedupe, "a1");
    settle(queue, &first, dead(), 101).await;
    assert_eq!(
        only(queue, 101).await.dedupe,
        "a2",
        "a dead job holds nothing back"
    );
}

async fn a_lost_lease_is_taken_over_and_fenced(queue: &dyn QueueAdmin) {
    push(queue, job("a", "k"), 0).await;
    let lost = only(queue, 0).await;
    assert!(lease(queue, 59).await.is_empty());
    queue.extend(&lost.lease, at(90), at(30)).await.unwrap();
    assert!(lease(queue, 89).await.is_empty(), "it was prolonged");
    let taken = only(queue, 90).await;
    assert_eq!((taken.lease.job, taken.attempt), (lost.lease.job, 2));
    for stale in [
        queue.extend(&lost.lease, at(500), at(91)).await,
        queue.settle(&lost.lease, done(), at(91)).await,
    ] {
        assert_eq!(stale.unwrap_err().kind(), StoreErrorKind::StaleLease);
    }
    settle(queue, &taken, done(), 92).await;
    let twice = queue.settle(&taken.lease, done(), at(93)).await;
    assert_eq!(twice.unwrap_err().kind(), StoreErrorKind::StaleLease);
    assert!(lease(queue, 1000).await.is_empty());
}

async fn attempts_are_counted_when_leased(queue: &dyn QueueAdmin) {
    let id = push(queue, job("a", "k"), 0).await;
    // A worker that dies of the job never settles it.
    for life in 0..3 {
        assert_eq!(only(queue, life * 60).await.attempt as i64, life + 1);
    }
    let leased = only(queue, 180).await;
    let defer = Settle::Defer {
        at: at(181),
        reason: "outage".into(),
    };
    settle(queue, &leased, defer, 181).await;
    assert_eq!(
        queue.job(id).await.unwrap().unwrap().attempts,
        3,
        "nothing was tried"
    );
    assert_eq!(only(queue, 181).await.attempt, 4);
}

async fn a_clock_set_back_loses_nothing(queue: &dyn QueueAdmin) {
    push(queue, job("a", "k"), 1000).await;
    push(queue, job("b", "k"), 10).await;
    assert!(
        lease(queue, 10).await.is_empty(),
        "a is older and not due by this clock"
    );
    let first = only(queue, 1000).await;
    assert_eq!(first.dedupe, "a", "order is that of arrival, not of clocks");
    queue.settle(&first.lease, done(), at(20)).await.unwrap();
    assert_eq!(only(queue, 20).await.dedupe, "b");
}

async fn people_can_list_replay_release_and_purge(queue: &dyn QueueAdmin) {
    let ids = [
        push(queue, job("done", "a"), 0).await,
        push(queue, job("dead", "b"), 1).await,
        push(queue, job("held", "c"), 2).await,
    ];
    let leased = lease(queue, 2).await;
    settle(queue, &leased[0], done(), 3).await;
    settle(queue, &leased[1], dead(), 3).await;
    push(queue, job("ready", "d"), 4).await;

    let counts = queue.counts().await.unwrap();
    assert_eq!(
        (counts.ready, counts.leased, counts.done, counts.dead),
        (1, 1, 1, 1)
    );
    assert_eq!(counts.oldest, Some(at(2)));
    let listed = queue.jobs(&JobFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 4);
    assert_eq!(listed[2].owner.as_deref(), Some("w"));
    assert!(listed.iter().all(|job| job.body.is_empty()));
    let filter = JobFilter {
        state: None,
        after: Some(ids[0]),
        limit: 2,
    };
    let page = queue.jobs(&filter).await.unwrap();
    assert_eq!(page.iter().map(|job| job.id).collect::<Vec<_>>(), ids[1..]);
    let filter = JobFilter {
        state: Some(JobState::Dead),
        ..JobFilter::default()
    };
    let listed = queue.jobs(&filter).await.unwrap();
    assert_eq!(listed[0].note.as_deref(), Some("dead"));

    assert_eq!(
        queue.replay(&ids, at(5)).await.unwrap(),
        1,
        "only what is dead"
    );
    let replayed = queue.job(ids[1]).await.unwrap().unwrap();
    assert_eq!((replayed.state, replayed.attempts), (JobState::Ready, 0));

    assert_eq!(
        queue.release(Some("somebody else"), at(6)).await.unwrap(),
        0
    );
    assert_eq!(queue.release(Some("w"), at(6)).await.unwrap(), 1);
    let stale = queue
        .settle(&leased[2].lease, done(), at(6))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), StoreErrorKind::StaleLease);

    assert_eq!(
        queue.purge(at(3), 10).await.unwrap(),
        0,
        "it ended at 3, not before"
    );
    assert_eq!(queue.purge(at(4), 10).await.unwrap(), 1);
    assert_eq!(queue.job(ids[0]).await.unwrap(), None);
    assert!(matches!(
        queue.push(vec![job("done", "a")], at(7)).await.unwrap()[0],
        Push::Queued(_)
    ));
}
