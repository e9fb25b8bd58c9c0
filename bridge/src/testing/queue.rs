use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::leases;
use crate::{
    pauses::Pauses,
    queue::{AfterDead, JobFilter, JobId, JobState, Leased, NewJob, Push, QueueAdmin, Settle},
    side::Side,
    store_error::StoreErrorKind,
};

pub(super) const HOLD: Duration = Duration::from_secs(60);

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(super) fn job(dedupe: &str, key: &str) -> NewJob {
    let (dedupe, key) = (dedupe.to_owned(), key.to_owned());
    let body = Bytes::from(format!("body of {dedupe}\0\u{ff}"));
    NewJob {
        dedupe,
        key,
        kind: "test".to_owned(),
        body,
    }
}

pub(super) async fn push(queue: &dyn QueueAdmin, job: NewJob, second: i64) -> JobId {
    match queue.push(vec![job], at(second)).await.unwrap()[0] {
        Push::Queued(id) => id,
        Push::Duplicate(id) => panic!("{id} is no duplicate"),
    }
}

pub(super) async fn lease(queue: &dyn QueueAdmin, second: i64) -> Vec<Leased> {
    queue.lease("w", 10, HOLD, at(second)).await.unwrap()
}

pub(super) async fn only(queue: &dyn QueueAdmin, second: i64) -> Leased {
    let mut leased = lease(queue, second).await;
    assert_eq!(leased.len(), 1, "{leased:?}");
    leased.remove(0)
}

pub(super) async fn settle(queue: &dyn QueueAdmin, leased: &Leased, settle: Settle, second: i64) {
    queue
        .settle(&leased.lease, settle, at(second))
        .await
        .unwrap();
}

pub(super) fn retry(second: i64) -> Settle {
    Settle::Retry {
        at: at(second),
        reason: "again".into(),
    }
}

pub(super) fn done() -> Settle {
    Settle::Done {
        note: "done".into(),
    }
}

pub(super) fn dead() -> Settle {
    Settle::Dead {
        reason: "dead".into(),
    }
}

/// Holds a [`Queue`](crate::Queue) to its guarantees. `fresh` gives an empty one each time.
pub async fn queue_contract<Q: QueueAdmin>(fresh: impl AsyncFn() -> Q) {
    what_is_known_is_not_stored_again(&fresh().await).await;
    what_is_pushed_comes_back_whole(&fresh().await).await;
    what_no_store_can_keep_is_refused_and_keeps_nothing_else_out(&fresh().await).await;
    jobs_of_a_key_keep_their_order(&fresh().await).await;
    leases::hold(&fresh).await;
    a_clock_set_back_loses_nothing(&fresh().await).await;
    what_is_longest_due_comes_first(&fresh().await).await;
    one_key_is_never_in_two_hands(&fresh().await).await;
    a_replayed_job_begins_anew(&fresh().await).await;
    many_at_once_share_the_jobs_out(&fresh().await).await;
    what_may_be_due_is_hinted_at(&fresh().await).await;
    nobody_purges_what_still_counts(&fresh().await).await;
    a_dead_head_holds_its_key_where_that_is_the_policy(&fresh().await).await;
    a_change_of_policy_goes_for_what_is_dead_already(&fresh().await).await;
    what_waits_can_be_made_due(&fresh().await).await;
    what_is_paused_is_known_to_everybody(&fresh().await).await;
    people_can_list_replay_release_and_purge(&fresh().await).await;
    a_list_is_whole_while_others_write(&fresh().await).await;
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

async fn what_no_store_can_keep_is_refused_and_keeps_nothing_else_out(queue: &dyn QueueAdmin) {
    let longest = "x".repeat(NewJob::LONGEST_TEXT);
    let too_long = format!("{longest}x");
    let bad = [job(&too_long, "k"), job("a", &too_long), job("a\0", "k")];
    let good = (0..20).map(|n| job(&format!("{n}"), "k"));
    let pushes = bad.iter().cloned().chain(good).chain([job(&longest, "l")]);
    let pushed = join_all(pushes.map(|it| queue.push(vec![it], at(0)))).await;
    for refused in &pushed[..bad.len()] {
        let kind = refused.as_ref().map_err(|error| error.kind());
        assert_eq!(kind.unwrap_err(), StoreErrorKind::Invalid);
    }
    for stored in &pushed[bad.len()..] {
        let stored = stored.as_ref().unwrap();
        assert!(matches!(stored[..], [Push::Queued(_)]), "{stored:?}");
    }
    // All of one push or nothing of it.
    let mixed = vec![job("new", "k"), bad[0].clone()];
    queue.push(mixed, at(0)).await.unwrap_err();
    assert_eq!(queue.counts().await.unwrap().ready, 21);
}

async fn what_is_pushed_comes_back_whole(queue: &dyn QueueAdmin) {
    let new = job("a", "k");
    let id = push(queue, new.clone(), 5).await;
    assert!(queue.lease("w", 0, HOLD, at(5)).await.unwrap().is_empty());
    let leased = only(queue, 5).await;
    assert_eq!(
        (leased.lease.job, leased.pushed_at, leased.lost),
        (id, at(5), 0)
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

async fn what_is_longest_due_comes_first(queue: &dyn QueueAdmin) {
    for (dedupe, second) in [("late", 30), ("early", 10), ("middle", 20)] {
        push(queue, job(dedupe, dedupe), second).await;
    }
    let two = queue.lease("w", 2, HOLD, at(40)).await.unwrap();
    let names: Vec<_> = two.iter().map(|job| job.dedupe.as_str()).collect();
    assert_eq!(names, ["early", "middle"]);
}

async fn one_key_is_never_in_two_hands(queue: &dyn QueueAdmin) {
    let first = push(queue, job("a1", "a"), 0).await;
    push(queue, job("a2", "a"), 0).await;
    push(queue, job("a3", "a"), 0).await;
    let leased = only(queue, 0).await;
    settle(queue, &leased, dead(), 1).await;
    let second = only(queue, 1).await;
    assert_eq!(second.dedupe, "a2");

    assert_eq!(queue.replay(&[first], at(2)).await.unwrap(), 1);
    assert!(
        lease(queue, 2).await.is_empty(),
        "a2 is in a worker's hands"
    );
    settle(queue, &second, retry(3), 3).await;
    let again = only(queue, 3).await;
    assert_eq!(again.dedupe, "a1", "now the oldest goes first again");
    settle(queue, &again, dead(), 4).await;
    // This time a2 is not held, only next: what is replayed goes before it.
    assert_eq!(queue.replay(&[first], at(5)).await.unwrap(), 1);
    let again = only(queue, 5).await;
    assert_eq!(again.dedupe, "a1");
    // Its worker dies; while nobody knows, it is still the one whose turn it is.
    assert!(lease(queue, 64).await.is_empty());
    queue.extend(&again.lease, Duration::ZERO).await.unwrap();
    let again = only(queue, 65).await;
    assert_eq!(again.dedupe, "a1");
    settle(queue, &again, done(), 66).await;
    for rest in ["a2", "a3"] {
        let leased = only(queue, 66).await;
        assert_eq!(leased.dedupe, rest);
        settle(queue, &leased, done(), 66).await;
    }
}

async fn a_replayed_job_begins_anew(queue: &dyn QueueAdmin) {
    let id = push(queue, job("a", "k"), 0).await;
    let leased = only(queue, 0).await;
    settle(queue, &leased, dead(), 1).await;
    assert_eq!(queue.replay(&[id, id], at(5000)).await.unwrap(), 1);
    let again = only(queue, 5000).await;
    assert_eq!((again.attempt, again.pushed_at), (1, at(0)), "it came then");
    assert_eq!(again.tried_since, at(5000), "else its age would kill it");
    let late = queue.settle(&leased.lease, done(), at(5000)).await;
    assert_eq!(late.unwrap_err().kind(), StoreErrorKind::StaleLease);
}

async fn many_at_once_share_the_jobs_out(queue: &dyn QueueAdmin) {
    let producers = (0..8).map(|producer| async move {
        for n in 0..5 {
            let (dedupe, key) = (format!("{producer}/{n}"), format!("key {producer}"));
            push(queue, job(&dedupe, &key), 0).await;
            let listed = queue.jobs(&JobFilter::default()).await.unwrap();
            assert!(
                listed.iter().any(|job| job.dedupe == dedupe),
                "own writes are seen"
            );
            assert!(listed.is_sorted_by_key(|job| job.id));
        }
    });
    join_all(producers).await;
    let workers = (0..8).map(|_| async {
        let mut mine = Vec::new();
        loop {
            let leased = queue.lease("w", 3, HOLD, at(0)).await.unwrap();
            if leased.is_empty() {
                return mine;
            }
            assert!(leased.len() <= 3);
            for job in leased {
                settle(queue, &job, done(), 0).await;
                mine.push(job.dedupe);
            }
        }
    });
    let mut all: Vec<_> = join_all(workers).await.into_iter().flatten().collect();
    // A worker that found nothing may have missed what another was about to set free.
    while let Some(job) = lease(queue, 0).await.first() {
        settle(queue, job, done(), 0).await;
        all.push(job.dedupe.clone());
    }
    all.sort_unstable();
    let expected: Vec<_> = (0..8)
        .flat_map(|p| (0..5).map(move |n| format!("{p}/{n}")))
        .collect();
    assert_eq!(all, expected, "each exactly once");
}

async fn what_may_be_due_is_hinted_at(queue: &dyn QueueAdmin) {
    let hint = |after: &'static str| async move {
        let wait = tokio::time::timeout(Duration::from_secs(10), queue.wait());
        assert!(wait.await.is_ok(), "no hint after a {after}");
    };
    push(queue, job("a1", "a"), 0).await;
    hint("push").await;
    push(queue, job("a2", "a"), 0).await;
    hint("push").await;
    let leased = only(queue, 0).await;
    settle(queue, &leased, dead(), 1).await;
    hint("settle that gives the next its turn").await;
    queue.replay(&[leased.lease.job], at(2)).await.unwrap();
    hint("replay").await;
    only(queue, 2).await;
    queue.release(None, at(3)).await.unwrap();
    hint("release").await;
}

async fn nobody_purges_what_still_counts(queue: &dyn QueueAdmin) {
    for name in ["a", "b", "c", "d"] {
        push(queue, job(name, name), 0).await;
    }
    let leased = lease(queue, 0).await;
    settle(queue, &leased[0], done(), 2).await;
    settle(queue, &leased[1], done(), 1).await;
    settle(queue, &leased[2], dead(), 1).await;
    assert_eq!(queue.purge(at(100), 1).await.unwrap(), 1, "at most so many");
    let kept = queue.job(leased[0].lease.job).await.unwrap();
    assert!(kept.is_some(), "what ended first goes first");
    assert_eq!(queue.purge(at(100), 10).await.unwrap(), 1);
    assert_eq!(queue.purge(at(100), 10).await.unwrap(), 0);
    let left = queue.jobs(&JobFilter::default()).await.unwrap();
    let states: Vec<_> = left.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Dead, JobState::Leased]);
    let next = push(queue, job("e", "e"), 2).await;
    assert!(
        left.iter().all(|job| job.id < next),
        "numbers are not used twice"
    );
}

async fn a_dead_head_holds_its_key_where_that_is_the_policy(queue: &dyn QueueAdmin) {
    queue.set_after_dead(AfterDead::Hold).await.unwrap();
    let head = push(queue, job("a1", "a"), 0).await;
    push(queue, job("a2", "a"), 0).await;
    push(queue, job("b1", "b"), 0).await;
    let leased = lease(queue, 0).await;
    settle(queue, &leased[0], dead(), 1).await;
    settle(queue, &leased[1], done(), 1).await;
    assert!(lease(queue, 2).await.is_empty(), "a2 is held");
    push(queue, job("a3", "a"), 3).await;
    push(queue, job("b2", "b"), 3).await;
    assert_eq!(only(queue, 3).await.dedupe, "b2", "a3 is held too");
    let ready = queue.counts().await.unwrap().ready;
    assert_eq!(ready, 2, "what is held is not lost");

    // A replay lets the head go first, and what dies again holds again.
    assert_eq!(queue.replay(&[head], at(4)).await.unwrap(), 1);
    let again = only(queue, 4).await;
    assert_eq!(again.dedupe, "a1");
    settle(queue, &again, dead(), 5).await;
    // A lease that runs out and is given back gives nothing away either.
    queue.release(None, at(5)).await.unwrap();
    assert_eq!(only(queue, 5).await.dedupe, "b2");

    assert_eq!(queue.discard(&[head, head], at(6)).await.unwrap(), 1);
    let discarded = queue.job(head).await.unwrap().unwrap();
    assert_eq!((discarded.state, discarded.at), (JobState::Done, at(6)));
    assert_eq!(discarded.note.as_deref(), Some("discarded: dead"));
    assert_eq!(queue.replay(&[head], at(6)).await.unwrap(), 0);
    for rest in ["a2", "a3"] {
        let leased = only(queue, 6).await;
        assert_eq!(leased.dedupe, rest);
        settle(queue, &leased, done(), 6).await;
    }
    let known = queue.push(vec![job("a1", "a")], at(7)).await.unwrap();
    assert_eq!(known, [Push::Duplicate(head)], "it is not taken in again");
}

async fn a_change_of_policy_goes_for_what_is_dead_already(queue: &dyn QueueAdmin) {
    let head = push(queue, job("a1", "a"), 0).await;
    push(queue, job("a2", "a"), 0).await;
    push(queue, job("a3", "a"), 0).await;
    settle(queue, &only(queue, 0).await, dead(), 0).await;
    queue.set_after_dead(AfterDead::Hold).await.unwrap();
    assert!(lease(queue, 1).await.is_empty(), "a2 had its turn already");
    queue.set_after_dead(AfterDead::Hold).await.unwrap();
    queue.set_after_dead(AfterDead::Skip).await.unwrap();
    let second = only(queue, 2).await;
    assert_eq!(second.dedupe, "a2");
    // What is in a worker's hands stays there, and what comes after it is held.
    queue.set_after_dead(AfterDead::Hold).await.unwrap();
    settle(queue, &second, done(), 3).await;
    assert!(lease(queue, 3).await.is_empty());
    assert_eq!(queue.discard(&[head], at(4)).await.unwrap(), 1);
    assert_eq!(only(queue, 4).await.dedupe, "a3");
}

async fn what_waits_can_be_made_due(queue: &dyn QueueAdmin) {
    let first = push(queue, job("a1", "a"), 0).await;
    let second = push(queue, job("a2", "a"), 0).await;
    settle(queue, &only(queue, 0).await, retry(1000), 1).await;
    assert_eq!(queue.job(first).await.unwrap().unwrap().at, at(1000));
    assert!(lease(queue, 10).await.is_empty());
    let ids = [second, first, first, JobId(9999)];
    assert_eq!(queue.retry(&ids, at(10)).await.unwrap(), 2);
    assert_eq!(queue.job(first).await.unwrap().unwrap().at, at(10));
    let leased = only(queue, 10).await;
    assert_eq!((&*leased.dedupe, leased.attempt), ("a1", 2));
    assert_eq!(queue.retry(&[first], at(11)).await.unwrap(), 0, "leased");
    queue.extend(&leased.lease, HOLD).await.unwrap();
    let long = Settle::Defer {
        at: at(5000),
        reason: "outage".into(),
    };
    settle(queue, &leased, long, 11).await;
    assert_eq!(queue.retry(&[first], at(12)).await.unwrap(), 1);
    let leased = only(queue, 12).await;
    assert!(leased.tried_since <= at(12), "it did not wait as long");
    settle(queue, &leased, dead(), 12).await;
    assert_eq!(queue.retry(&[first], at(13)).await.unwrap(), 0, "dead");
    assert_eq!(only(queue, 13).await.dedupe, "a2");
}

async fn what_is_paused_is_known_to_everybody(queue: &dyn QueueAdmin) {
    assert_eq!(queue.pauses().await.unwrap(), Pauses::default());
    let mut due = Pauses::default();
    for side in [Some(Side::Crm), None, Some(Side::Content)] {
        queue.pause(side).await.unwrap();
        queue.pause(side).await.unwrap();
        due = due.with(side, true);
        assert_eq!(queue.pauses().await.unwrap(), due);
    }
    for side in [None, Some(Side::Content), Some(Side::Crm)] {
        queue.resume(side).await.unwrap();
        queue.resume(side).await.unwrap();
        due = due.with(side, false);
        assert_eq!(queue.pauses().await.unwrap(), due);
    }
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
    for (state, name) in [
        (JobState::Done, "done"),
        (JobState::Dead, "dead"),
        (JobState::Leased, "held"),
        (JobState::Ready, "ready"),
    ] {
        let filter = JobFilter {
            state: Some(state),
            ..JobFilter::default()
        };
        let listed = queue.jobs(&filter).await.unwrap();
        let names: Vec<_> = listed.iter().map(|job| job.dedupe.as_str()).collect();
        assert_eq!(names, [name]);
    }
    let dead = queue.job(ids[1]).await.unwrap().unwrap();
    assert_eq!((dead.note.as_deref(), dead.at), (Some("dead"), at(3)));
    let filter = JobFilter {
        limit: 0,
        ..JobFilter::default()
    };
    assert_eq!(queue.jobs(&filter).await.unwrap(), []);

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

async fn a_list_is_whole_while_others_write(queue: &dyn QueueAdmin) {
    const THERE: usize = 30;
    let mut there = Vec::new();
    for number in 0..THERE {
        let new = job(&format!("there {number}"), &format!("k{}", number % 3));
        there.push(push(queue, new, 0).await);
    }
    let write = async {
        for number in 0..THERE {
            push(queue, job(&format!("new {number}"), "k0"), 1).await;
            for leased in lease(queue, 1).await {
                settle(queue, &leased, done(), 1).await;
            }
        }
    };
    let list = async {
        let mut listed: Vec<JobId> = Vec::new();
        loop {
            let filter = JobFilter {
                state: None,
                after: listed.last().copied(),
                limit: 4,
            };
            let page = queue.jobs(&filter).await.unwrap();
            listed.extend(page.iter().map(|job| job.id));
            if page.is_empty() {
                return listed;
            }
            tokio::task::yield_now().await;
        }
    };
    let ((), listed) = futures_util::future::join(write, list).await;
    assert!(
        listed.is_sorted_by(|one, next| one < next),
        "each once: {listed:?}"
    );
    let there_of_them = listed.iter().filter(|id| there.contains(id));
    assert!(there_of_them.eq(&there), "{listed:?}");
}
