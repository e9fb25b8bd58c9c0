//! What many callers ask for at the same time, in one call.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tracing::{Instrument, debug_span};

use crate::{
    port_error::{PortError, PortErrorKind},
    quota_class::QuotaClass,
    worker::Hold,
};

/// Carries rows to Salesforce.
#[async_trait]
pub(super) trait Carrier: Send + Sync + 'static {
    type Row: Send + 'static;
    type Answer: Send + 'static;

    /// What is being done, in a few words.
    const DOING: &'static str;

    /// How many rows are a full group, which waits for nobody.
    fn full(&self) -> usize;

    /// Whether these rows go by themselves for a long time, so that those who come later must not
    /// wait for them. Such a group needs no hold: what makes its rows unique is Salesforce.
    fn goes_alone(&self, _rows: usize) -> bool {
        false
    }

    /// Gives each row its answer, in the order of the rows.
    async fn carry(&self, rows: Vec<Self::Row>) -> Vec<Result<Self::Answer, PortError>>;
}

/// Gathers the rows of many callers into groups. A row goes
///
/// - at once when nobody else has asked just now and no group is under way,
/// - with its group when that is full, or
/// - with all who have come within the `linger` after the group before was back.
///
/// So one group at a time is under way, and the next grows meanwhile: the more is going on, the
/// larger the groups. Callers hold a job each, so no more rows wait than there are jobs in hand.
///
/// A group runs for itself: a caller that goes away takes nothing from the others. A row whose
/// hold is lost, or whose caller is gone, is not sent. A group under way goes on where some of its
/// rows lose their holds: who takes those jobs over gives what was sent its time before he looks for
/// it. It stops where all are lost, as in a process that was away, and where the first was lost so
/// long ago that somebody may look soon: whether its rows were written is unknown then, as it is when
/// an answer is lost.
pub(super) struct Together<C: Carrier>(Arc<Inner<C>>);

struct Inner<C: Carrier> {
    carrier: C,
    linger: Duration,
    /// That of all who ask here.
    class: QuotaClass,
    state: Mutex<State<C>>,
}

struct State<C: Carrier> {
    waiting: VecDeque<Waiting<C>>,
    /// Groups that those who wait let come back first.
    under_way: usize,
    /// Whether somebody is there to send off those who wait.
    is_called: bool,
    last_came: Option<Instant>,
}

struct Waiting<C: Carrier> {
    row: C::Row,
    hold: Option<Hold>,
    answer: oneshot::Sender<Result<C::Answer, PortError>>,
}

impl<C: Carrier> Clone for Together<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Carrier> fmt::Debug for Together<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together")
            .field("waiting", &self.0.state().waiting.len())
            .finish_non_exhaustive()
    }
}

impl<C: Carrier> Together<C> {
    pub(super) fn new(carrier: C, linger: Duration, class: QuotaClass) -> Self {
        Self(Arc::new(Inner {
            carrier,
            linger,
            class,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                under_way: 0,
                is_called: false,
                last_came: None,
            }),
        }))
    }

    /// Asks for the row's answer. `hold` is looked at again right before the row is sent.
    pub(super) async fn ask(
        &self,
        row: C::Row,
        hold: Option<&Hold>,
    ) -> Result<C::Answer, PortError> {
        let (answer, answered) = oneshot::channel();
        self.come(Waiting {
            row,
            hold: hold.cloned(),
            answer,
        });
        // The group has ended without a word for this row.
        answered
            .await
            .unwrap_or_else(|_| Err(PortError::new(PortErrorKind::Unknown, C::DOING).of_ours()))
    }

    fn come(&self, waiting: Waiting<C>) {
        let now = Instant::now();
        let mut state = self.0.state();
        let is_alone = state
            .last_came
            .replace(now)
            .is_none_or(|last| now.duration_since(last) >= self.0.linger);
        state.waiting.push_back(waiting);
        let is_first = state.waiting.len() == 1;
        let is_full = state.waiting.len() >= self.0.carrier.full().max(1);
        if is_full || (is_alone && is_first && state.under_way == 0) {
            self.send_off(&mut state);
        } else {
            self.call(&mut state);
        }
    }

    /// Sees to it that those who wait are sent off, unless the end of a group will.
    fn call(&self, state: &mut State<C>) {
        if state.is_called || state.under_way > 0 || state.waiting.is_empty() {
            return;
        }
        state.is_called = true;
        let this = self.clone();
        tokio::spawn(async move {
            sleep(this.0.linger).await;
            let mut state = this.0.state();
            state.is_called = false;
            this.send_off(&mut state);
        });
    }

    fn send_off(&self, state: &mut State<C>) {
        let group: Vec<_> = state.waiting.drain(..).collect();
        if group.is_empty() {
            return;
        }
        let is_waited_for = !self.0.carrier.goes_alone(group.len());
        state.under_way += usize::from(is_waited_for);
        // Given back also where the group's task is ended by a panic or with its runtime.
        let way = Way(is_waited_for.then(|| self.clone()));
        let span = debug_span!("together", doing = C::DOING, rows = group.len());
        let inner = Arc::clone(&self.0);
        let travel = async move {
            inner.travel(group, is_waited_for).await;
            drop(way);
        };
        tokio::spawn(self.0.class.scope(travel).instrument(span));
    }
}

impl<C: Carrier> Inner<C> {
    async fn travel(&self, group: Vec<Waiting<C>>, is_held: bool) {
        let (mut rows, mut holds, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for Waiting { row, hold, answer } in group {
            if answer.is_closed() {
                continue;
            }
            if hold.as_ref().is_some_and(|hold| !hold.is_good()) {
                // Whoever asked may be gone.
                let _ = answer.send(Err(lost_before(C::DOING)));
                continue;
            }
            rows.push(row);
            holds.extend(hold);
            answers.push(answer);
        }
        if rows.is_empty() {
            return;
        }
        if !is_held {
            holds.clear();
        }
        let Some(outcomes) = while_held(&holds, self.carrier.carry(rows)).await else {
            return;
        };
        let call = Arc::new(());
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _ = answer.send(outcome.map_err(|error| error.of_call(&call)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group's place among those under way.
struct Way<C: Carrier>(Option<Together<C>>);

impl<C: Carrier> Drop for Way<C> {
    fn drop(&mut self) {
        let Some(together) = self.0.take() else {
            return;
        };
        let mut state = together.0.state();
        state.under_way -= 1;
        // Without a runtime nobody is left to wait either.
        if tokio::runtime::Handle::try_current().is_ok() {
            together.call(&mut state);
        }
    }
}

fn lost_before(doing: &'static str) -> PortError {
    PortError::new(PortErrorKind::Busy, doing)
        .with_cause("the lease ran out before the write")
        .of_ours()
}

/// As for a single write: no step is taken by a process that wakes up after its leases.
async fn while_held<T>(holds: &[Hold], work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut lost_since = None;
    let slack = holds.iter().map(Hold::slack).min().unwrap_or_default();
    poll_fn(|context| {
        let good = holds.iter().filter(|hold| hold.is_good()).count();
        if good < holds.len() {
            let since = *lost_since.get_or_insert_with(Instant::now);
            if good == 0 || since.elapsed() >= slack {
                return Poll::Ready(None);
            }
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use futures_util::{FutureExt, future::join_all};
    use tokio::sync::{Semaphore, watch};

    use super::*;

    const LINGER: Duration = Duration::from_millis(50);

    /// Doubles numbers, refuses the odd ones, and notes the sizes of its groups.
    struct Doubler {
        groups: Arc<Mutex<Vec<usize>>>,
        gate: Arc<Semaphore>,
        nudged: watch::Receiver<()>,
    }

    #[async_trait]
    impl Carrier for Doubler {
        type Row = u32;
        type Answer = u32;
        const DOING: &'static str = "double";

        fn full(&self) -> usize {
            5
        }

        async fn carry(&self, rows: Vec<u32>) -> Vec<Result<u32, PortError>> {
            self.groups.lock().unwrap().push(rows.len());
            let mut nudged = self.nudged.clone();
            loop {
                tokio::select! {
                    place = self.gate.acquire() => break place.unwrap().forget(),
                    _ = nudged.changed() => {}
                }
            }
            let double = |row: u32| match row % 2 {
                0 => Ok(row * 2),
                _ => Err(PortError::new(PortErrorKind::Refused, Self::DOING)),
            };
            rows.into_iter().map(double).collect()
        }
    }

    struct Fixture {
        together: Together<Doubler>,
        groups: Arc<Mutex<Vec<usize>>>,
        gate: Arc<Semaphore>,
        nudge: watch::Sender<()>,
    }

    fn fixture(places: usize) -> Fixture {
        let (groups, gate) = (Arc::default(), Arc::new(Semaphore::new(places)));
        let (nudge, nudged) = watch::channel(());
        let doubler = Doubler {
            groups: Arc::clone(&groups),
            gate: Arc::clone(&gate),
            nudged,
        };
        Fixture {
            together: Together::new(doubler, LINGER, QuotaClass::Live),
            groups,
            gate,
            nudge,
        }
    }

    impl Fixture {
        fn groups(&self) -> Vec<usize> {
            self.groups.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_alone_does_not_wait() {
        let it = fixture(9);
        for row in [2, 4] {
            let began = Instant::now();
            assert_eq!(it.together.ask(row, None).await.unwrap(), row * 2);
            assert_eq!(began.elapsed(), Duration::ZERO);
            sleep(LINGER).await;
        }
        assert_eq!(it.groups(), [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_a_group_is_under_way_goes_with_the_next_and_gets_its_own_answer() {
        let it = fixture(0);
        let asked = [2, 4, 6, 7].map(|row| {
            let together = it.together.clone();
            tokio::spawn(async move { together.ask(row, None).await })
        });
        sleep(10 * LINGER).await;
        assert_eq!(
            it.groups(),
            [1],
            "the first is alone, the others wait for it"
        );
        it.gate.add_permits(9);
        let answers: Vec<_> = join_all(asked)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let [Ok(4), Ok(8), Ok(12), Err(error)] = &answers[..] else {
            panic!("{answers:?}");
        };
        assert_eq!(error.kind(), PortErrorKind::Refused);
        assert_eq!(it.groups(), [1, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_group_waits_for_nobody() {
        let it = fixture(0);
        let mut asked: Vec<_> = (0..6)
            .map(|row| Box::pin(it.together.ask(row, None)))
            .collect();
        for ask in &mut asked {
            assert!(ask.now_or_never().is_none());
        }
        tokio::task::yield_now().await;
        assert_eq!(it.groups(), [1, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_takes_nothing_from_the_others() {
        let it = fixture(0);
        let mut first = Box::pin(it.together.ask(2, None));
        let mut gone = Box::pin(it.together.ask(4, None));
        let mut stays = Box::pin(it.together.ask(6, None));
        for ask in [&mut first, &mut gone, &mut stays] {
            assert!(ask.now_or_never().is_none());
        }
        drop((first, gone));
        it.gate.add_permits(9);
        assert_eq!(stays.await.unwrap(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_whose_caller_is_gone_is_not_sent() {
        let it = fixture(0);
        let mut under_way = Box::pin(it.together.ask(2, None));
        let mut gone = Box::pin(it.together.ask(4, None));
        let mut waits = Box::pin(it.together.ask(6, None));
        for ask in [&mut under_way, &mut gone, &mut waits] {
            assert!(ask.now_or_never().is_none());
        }
        // Its attempt has ended, and somebody else may have the job.
        drop(gone);
        it.gate.add_permits(9);
        assert_eq!(under_way.await.unwrap(), 4);
        assert_eq!(waits.await.unwrap(), 12);
        assert_eq!(it.groups(), [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_whose_hold_is_lost_is_not_sent_and_one_under_way_is_in_doubt() {
        let it = fixture(0);
        let hold = Hold::until(Instant::now() + LINGER / 2);
        let mut under_way = Box::pin(it.together.ask(2, Some(&hold)));
        let mut waits = Box::pin(it.together.ask(4, Some(&hold)));
        for ask in [&mut under_way, &mut waits] {
            assert!(ask.now_or_never().is_none());
        }
        sleep(LINGER).await;
        it.gate.add_permits(9);
        assert_eq!(under_way.await.unwrap_err().kind(), PortErrorKind::Unknown);
        assert_eq!(waits.await.unwrap_err().kind(), PortErrorKind::Busy);
        assert_eq!(it.groups(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_lost_hold_breaks_off_nobodys_call_unless_somebody_may_look_by_then() {
        let slack = Hold::forever().slack();
        for (lost_for, goes_on) in [(slack / 2, true), (2 * slack, false)] {
            let it = fixture(0);
            let mut first = Box::pin(it.together.ask(2, None));
            assert!(first.as_mut().now_or_never().is_none());
            let lost = Hold::until(Instant::now() + 4 * LINGER);
            let held = Hold::forever();
            let mut asked = Vec::new();
            for (row, hold) in [(4, &lost), (6, &held), (8, &held)] {
                asked.push(Box::pin(it.together.ask(row, Some(hold))));
            }
            let mut asked = Box::pin(join_all(asked));
            assert!(asked.as_mut().now_or_never().is_none());
            it.gate.add_permits(1);
            first.await.unwrap();
            assert!(asked.as_mut().now_or_never().is_none());
            sleep(2 * LINGER).await;
            assert_eq!(it.groups(), [1, 3]);
            // It is lost now; the group is woken twice, as by a part of its answer.
            sleep(3 * LINGER).await;
            it.nudge.send_modify(|_| ());
            sleep(lost_for).await;
            it.nudge.send_modify(|_| ());
            it.gate.add_permits(1);
            let answers = asked.await;
            assert_eq!(answers.iter().all(Result::is_ok), goes_on, "{answers:?}");
        }
    }
}
