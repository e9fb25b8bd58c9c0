use std::time::Duration;

use super::queue::{HOLD, at, dead, done, job, lease, only, push, retry, settle};
use crate::{
    queue::{JobState, Leased, QueueAdmin, Settle},
    store_error::StoreErrorKind,
};

/// Later than any lease ends, by a clock that is wrong.
const FAR_AHEAD: i64 = 30 * 24 * 3600;

fn defer(second: i64) -> Settle {
    Settle::Defer {
        at: at(second),
        reason: "outage".into(),
    }
}

/// Ends a lease as time would.
async fn run_out(queue: &dyn QueueAdmin, leased: &Leased) {
    queue.extend(&leased.lease, Duration::ZERO).await.unwrap();
}

pub(super) async fn hold<Q: QueueAdmin>(fresh: &impl AsyncFn() -> Q) {
    a_lost_lease_is_taken_over_and_fenced(&fresh().await).await;
    no_clock_of_whoever_asks_ends_a_lease(&fresh().await).await;
    a_lease_that_has_run_out_is_lost_before_another_takes_it(&fresh().await).await;
    a_settle_whose_answer_was_lost_can_be_repeated(&fresh().await).await;
    attempts_are_counted_when_leased(&fresh().await).await;
    only_what_is_tried_grows_old(&fresh().await).await;
    what_nobody_could_try_does_not_grow_old(&fresh().await).await;
    what_was_lost_more_than_once_is_given_out_alone(&fresh().await).await;
}

async fn a_lost_lease_is_taken_over_and_fenced(queue: &dyn QueueAdmin) {
    let id = push(queue, job("a", "k"), 0).await;
    let lost = only(queue, 0).await;
    let ends = async || queue.job(id).await.unwrap().unwrap().at;
    let before = ends().await;
    queue.extend(&lost.lease, 10 * HOLD).await.unwrap();
    assert!(ends().await.duration_since(before).as_secs() > 8 * 60);
    assert!(lease(queue, 0).await.is_empty(), "it was prolonged");
    run_out(queue, &lost).await;
    let taken = only(queue, 0).await;
    assert_eq!((taken.lease.job, taken.attempt, taken.lost), (id, 2, 1));
    for stale in [
        queue.extend(&lost.lease, HOLD).await,
        queue.settle(&lost.lease, done(), at(91)).await,
    ] {
        assert_eq!(stale.unwrap_err().kind(), StoreErrorKind::StaleLease);
    }
    settle(queue, &taken, done(), 92).await;
    assert!(lease(queue, 1000).await.is_empty());
}

async fn no_clock_of_whoever_asks_ends_a_lease(queue: &dyn QueueAdmin) {
    push(queue, job("a", "k"), 0).await;
    let leased = only(queue, 0).await;
    assert!(
        lease(queue, FAR_AHEAD).await.is_empty(),
        "a machine whose clock is ahead takes nothing from the others"
    );
    queue.extend(&leased.lease, HOLD).await.unwrap();
    let settled = queue.settle(&leased.lease, retry(1), at(FAR_AHEAD)).await;
    settled.unwrap();
    assert_eq!(only(queue, 1).await.lost, 0);
}

async fn a_lease_that_has_run_out_is_lost_before_another_takes_it(queue: &dyn QueueAdmin) {
    push(queue, job("a", "k"), 0).await;
    let leased = only(queue, 0).await;
    run_out(queue, &leased).await;
    for late in [
        queue.extend(&leased.lease, HOLD).await,
        queue.settle(&leased.lease, done(), at(0)).await,
    ] {
        assert_eq!(late.unwrap_err().kind(), StoreErrorKind::StaleLease);
    }
    assert_eq!(only(queue, 60).await.attempt, 2);
}

async fn a_settle_whose_answer_was_lost_can_be_repeated(queue: &dyn QueueAdmin) {
    let id = push(queue, job("a", "k"), 0).await;
    push(queue, job("b", "k"), 0).await;
    let leased = only(queue, 0).await;
    settle(queue, &leased, done(), 1).await;
    let next = only(queue, 1).await;
    settle(queue, &leased, dead(), 2).await;
    let settled = queue.job(id).await.unwrap().unwrap();
    assert_eq!((settled.state, settled.at), (JobState::Done, at(1)));
    assert!(lease(queue, 3).await.is_empty(), "b is held as before");

    settle(queue, &next, retry(4), 4).await;
    settle(queue, &next, done(), 4).await;
    let again = only(queue, 4).await;
    assert_eq!((&*again.dedupe, again.attempt), ("b", 2));
    let stale = queue.settle(&next.lease, done(), at(5)).await;
    assert_eq!(stale.unwrap_err().kind(), StoreErrorKind::StaleLease);
}

async fn attempts_are_counted_when_leased(queue: &dyn QueueAdmin) {
    let id = push(queue, job("a", "k"), 0).await;
    // A worker that dies of the job never settles it.
    for life in 0..3 {
        // That it was lost is found when somebody asks; from then on it waits.
        let found = lease(queue, life * 4000).await;
        let leased = match found.into_iter().next() {
            Some(leased) => leased,
            None => only(queue, life * 4000 + 10).await,
        };
        assert_eq!(
            (leased.attempt, leased.lost),
            (life as u32 + 1, life as u32)
        );
        run_out(queue, &leased).await;
    }
    assert!(lease(queue, 11_990).await.is_empty());
    let leased = only(queue, 12_000).await;
    settle(queue, &leased, defer(12_001), 12_001).await;
    let deferred = queue.job(id).await.unwrap().unwrap();
    assert_eq!(deferred.attempts, 3, "nothing was tried");
    let leased = only(queue, 12_001).await;
    assert_eq!((leased.attempt, leased.lost), (4, 0), "not in a row");
}

async fn only_what_is_tried_grows_old(queue: &dyn QueueAdmin) {
    push(queue, job("a", "k"), 0).await;
    let leased = only(queue, 10).await;
    assert_eq!(leased.tried_since, at(10));
    settle(queue, &leased, retry(20), 11).await;
    let leased = only(queue, 20).await;
    assert_eq!(leased.tried_since, at(10), "since its first attempt");
    settle(queue, &leased, defer(90_000), 21).await;
    let leased = only(queue, 90_000).await;
    let without = at(10 + 90_000 - 21);
    assert_eq!((leased.tried_since, leased.attempt), (without, 2));
    settle(queue, &leased, defer(90_010), 90_000).await;

    push(queue, job("b", "other"), 90_010).await;
    let both = lease(queue, 90_010).await;
    let second = both.iter().find(|job| job.dedupe == "b").unwrap();
    settle(queue, second, defer(90_020), 90_011).await;
    let leased = only(queue, 90_020).await;
    assert_eq!(
        leased.tried_since,
        at(90_020),
        "no attempt has counted so far"
    );
}

/// The machine is off from Friday to Monday.
async fn what_nobody_could_try_does_not_grow_old(queue: &dyn QueueAdmin) {
    const MONDAY: i64 = 60 * 3600;
    push(queue, job("a", "a"), 0).await;
    push(queue, job("b", "b"), 0).await;
    let leased = lease(queue, 0).await;
    settle(queue, &leased[0], retry(2), 1).await;
    run_out(queue, &leased[1]).await;
    let mut leased = lease(queue, MONDAY).await;
    leased.sort_by(|a, b| a.dedupe.cmp(&b.dedupe));
    let [first, second] = &leased[..] else {
        panic!("{leased:?}")
    };
    assert_eq!(first.tried_since, at(MONDAY - 2), "two seconds old");
    assert_eq!(second.attempt, 2);
    assert!(second.tried_since >= at(0), "{}", second.tried_since);
}

async fn what_was_lost_more_than_once_is_given_out_alone(queue: &dyn QueueAdmin) {
    for name in ["a", "b", "c"] {
        push(queue, job(name, name), 0).await;
    }
    // Twice the process dies with all that it has in hand.
    for life in 0..2 {
        assert_eq!(lease(queue, life).await.len(), 3, "nobody is guilty so far");
        assert_eq!(queue.release(Some("w"), at(life)).await.unwrap(), 3);
    }
    push(queue, job("d", "d"), 1).await;
    assert_eq!(
        only(queue, 2).await.dedupe,
        "d",
        "what was lost twice waits"
    );
    let alone = only(queue, 10).await;
    assert_eq!((&*alone.dedupe, alone.lost), ("a", 2));
    assert!(lease(queue, 10).await.is_empty(), "one at a time");
    let other = queue.lease("other", 10, HOLD, at(10)).await.unwrap();
    assert_eq!(other.len(), 1, "for each owner");
    assert_eq!(other[0].dedupe, "b");
    // It was a. It comes later each time, and b and c are none of it.
    queue.release(Some("w"), at(10)).await.unwrap();
    settle(queue, &other[0], done(), 11).await;
    let third = lease(queue, 11).await;
    let names: Vec<_> = third.iter().map(|job| &*job.dedupe).collect();
    assert_eq!(names, ["c", "d"]);
    for leased in &third {
        settle(queue, leased, done(), 11).await;
    }
    assert!(lease(queue, 13).await.is_empty());
    let guilty = only(queue, 14).await;
    assert_eq!((&*guilty.dedupe, guilty.attempt, guilty.lost), ("a", 4, 3));
}
