//! Whether a far side is worth asking just now.

mod room;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

pub(crate) use self::room::Room;
use crate::{
    observe,
    pauses::Pauses,
    port_error::{PortError, PortErrorKind, in_one_line},
    side::Side,
};

/// The state of the way to each far side, shared by everything that goes there. Clones share it.
///
/// A side that fails several times in a row, or says that nothing will succeed for a while, is left
/// alone: its circuit opens, and whoever wants to go there is turned back without a call and
/// without an attempt counted. When the pause is over exactly one call is let through to try: if
/// the side answers, everything goes on; if not, the next pause is twice as long. Each process
/// finds out for itself.
///
/// A CRM side that has no room for a file is left alone in the same way with files of that size and
/// larger ones, and with nothing else.
///
/// A side that an operator has [paused](crate::QueueAdmin::pause) is closed in the same way, for as
/// long as the operator wants: to actions, to the watch and to sources that ask. What a side sends
/// by itself, such as webhooks, outbound messages and the events of a bus, is taken in all the same.
#[derive(Clone, Debug, Default)]
pub struct Circuits {
    content: Circuit,
    crm: Circuit,
    room: Room,
}

/// The way to one far side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls go through.
    Closed,
    /// Nobody is let through for so long.
    Open(Duration),
    /// One call is under way to find out whether the side is back.
    Probing,
    /// An operator has paused the side.
    Paused,
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Open(rest) => write!(f, "open for {}s", rest.as_secs()),
            Self::Probing => f.write_str("probing"),
            Self::Paused => f.write_str("paused"),
        }
    }
}

impl Circuits {
    /// How the way to a side is.
    pub fn state(&self, side: Side) -> CircuitState {
        self.of(side).state()
    }

    /// How the way is for new files on the CRM side: open while it has no room for some of them.
    pub fn uploads(&self) -> CircuitState {
        self.room.state()
    }

    /// Leaves a side alone once so many calls in a row have failed, for `pause` at first and never
    /// for longer than `longest`. A [`Pipeline`](crate::Pipeline) sets what its options say.
    pub fn open_after(&self, failures: u32, pause: Duration, longest: Duration) {
        let settings = Settings {
            opens_after: failures,
            pause,
            longest_pause: longest,
        };
        for side in Side::ALL {
            let mut inner = self.of(side).lock();
            inner.settings = settings;
            inner.show(side);
        }
        self.room.set(settings);
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn of(&self, side: Side) -> &Circuit {
        match side {
            Side::Content => &self.content,
            Side::Crm => &self.crm,
        }
    }

    /// Pauses the sides that an operator has paused, and lifts all other pauses. A worker sees to it
    /// at every poll; whoever works without one does so itself. What takes jobs from the inbox is
    /// not stopped by this.
    pub fn obey(&self, pauses: Pauses) {
        for side in Side::ALL {
            let mut inner = self.of(side).lock();
            if inner.is_paused != pauses.holds(side) {
                inner.is_paused = pauses.holds(side);
                inner.show(side);
                info!(%side, paused = inner.is_paused, "by an operator's word");
            }
        }
    }
}

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug)]
struct Settings {
    opens_after: u32,
    pause: Duration,
    longest_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            opens_after: 5,
            pause: Duration::from_secs(300),
            longest_pause: Duration::from_secs(3600),
        }
    }
}

impl Settings {
    /// The pause that follows so many others.
    fn pause_after(&self, pauses: u32) -> Duration {
        let longer = 1_u32.checked_shl(pauses).unwrap_or(u32::MAX);
        let longest = self.longest_pause.max(self.pause);
        self.pause.saturating_mul(longer).min(longest)
    }
}

/// A side may ask for a longer pause than any of ours, but nobody waits for longer than this.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// A probe that takes longer is not waited for: another is let through.
const PROBE_WITHIN: Duration = Duration::from_secs(60);
/// How soon those are back that have met a probe under way.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// How soon those are back that have met an operator's pause.
const PAUSE_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(crate) struct Circuit(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    settings: Settings,
    is_paused: bool,
    phase: Phase,
    /// Failures since the last answer.
    failures: u32,
    /// Pauses since the last answer.
    pauses: u32,
    /// What it was opened for, in a line.
    reason: String,
    /// Which probe is the last one.
    probe: u64,
    /// The call that several share and that has failed last.
    last_call: Option<Arc<()>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    Probing {
        since: Instant,
    },
}

/// Leave for one call. Dropped without a word, it tells nothing about the side.
#[derive(Debug)]
pub(crate) struct Pass {
    circuit: Circuit,
    side: Side,
    probe: Option<u64>,
}

impl Circuit {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let poisoned = |poisoned: std::sync::PoisonError<_>| poisoned.into_inner();
        self.0.lock().unwrap_or_else(poisoned)
    }

    /// Leave to make a call to the side, or the error to turn back with.
    pub(crate) fn pass(&self, side: Side) -> Result<Pass, PortError> {
        let mut inner = self.lock();
        let now = Instant::now();
        if inner.is_paused {
            return Err(turned_back(side, PAUSE_WAIT, "an operator has paused it"));
        }
        let probe = match inner.phase {
            Phase::Closed => None,
            Phase::Open { until } if now < until => {
                return Err(turned_back(side, until - now, &inner.reason));
            }
            Phase::Probing { since } if now < since + PROBE_WITHIN => {
                let wait = PROBE_WAIT.min(inner.settings.pause);
                return Err(turned_back(side, wait, "somebody is trying it out"));
            }
            Phase::Open { .. } | Phase::Probing { .. } => {
                inner.phase = Phase::Probing { since: now };
                inner.probe += 1;
                Some(inner.probe)
            }
        };
        let circuit = self.clone();
        Ok(Pass {
            circuit,
            side,
            probe,
        })
    }

    /// How long nobody is let through, or `None` where calls go through.
    pub(crate) fn rest(&self) -> Option<Duration> {
        match self.state() {
            CircuitState::Closed => None,
            CircuitState::Open(rest) => Some(rest),
            CircuitState::Probing => Some(PROBE_WAIT),
            CircuitState::Paused => Some(PAUSE_WAIT),
        }
    }

    fn state(&self) -> CircuitState {
        let inner = self.lock();
        match inner.phase {
            _ if inner.is_paused => CircuitState::Paused,
            Phase::Closed => CircuitState::Closed,
            Phase::Open { until } => {
                CircuitState::Open(until.saturating_duration_since(Instant::now()))
            }
            Phase::Probing { .. } => CircuitState::Probing,
        }
    }

    /// Notes a failure that came after the call had been let through and had begun well, as in the
    /// middle of a download.
    pub(crate) fn failed(&self, side: Side, error: &PortError) {
        let mut inner = self.lock();
        if matches!(inner.phase, Phase::Closed) {
            inner.count(side, error);
        }
    }
}

impl Pass {
    /// Notes how the call ended.
    pub(crate) fn ended<T>(mut self, result: &Result<T, PortError>) {
        let side = self.side;
        let error = result.as_ref().err();
        if error.is_some_and(|error| error.side() != Some(side) || error.is_ours()) {
            // The other side's failure, met on the way, or our own. Whether this one lives is not
            // known.
            return;
        }
        if error.is_some_and(|error| error.kind() == PortErrorKind::Later) {
            // Nobody has asked it.
            return;
        }
        let circuit = self.circuit.clone();
        let mut inner = circuit.lock();
        let probe = self.probe.take();
        let is_heard = match inner.phase {
            Phase::Closed => true,
            // A slow probe may have been given up for dead, and another sent.
            Phase::Probing { .. } => {
                probe == Some(inner.probe) || (probe.is_some() && error.is_none())
            }
            // It was let through before the others failed.
            Phase::Open { .. } => false,
        };
        if !is_heard {
            return;
        }
        match error.filter(|error| is_failure(error.kind())) {
            Some(error) => inner.count(side, error),
            None => inner.answered(side),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inner = self.circuit.lock();
        if self.probe == Some(inner.probe) && matches!(inner.phase, Phase::Probing { .. }) {
            // It was broken off: the next one tries.
            let until = Instant::now();
            inner.phase = Phase::Open { until };
        }
    }
}

impl Inner {
    fn show(&self, side: Side) {
        let is_open = self.is_paused || !matches!(self.phase, Phase::Closed);
        observe::circuit(side, is_open);
    }

    fn answered(&mut self, side: Side) {
        if !matches!(self.phase, Phase::Closed) {
            info!(%side, "it answers again: everything goes on");
        }
        (self.phase, self.failures, self.pauses) = (Phase::Closed, 0, 0);
        self.show(side);
    }

    fn count(&mut self, side: Side, error: &PortError) {
        // Many can share one call: they fail together, and once.
        if self
            .last_call
            .as_ref()
            .is_some_and(|call| error.is_of_call(call))
        {
            return;
        }
        self.last_call = error.call().cloned();
        self.failures = self.failures.saturating_add(1);
        let was_probe = matches!(self.phase, Phase::Probing { .. });
        let is_over = error.kind() == PortErrorKind::Outage;
        if !(was_probe || is_over || self.failures >= self.settings.opens_after) {
            return;
        }
        // What it asks for itself it knows best, shorter or longer.
        let asked = error.retry_after().filter(|_| is_over);
        let own = self.settings.pause_after(self.pauses);
        let pause = asked.unwrap_or(own).min(LONGEST_ASKED);
        self.pauses = self.pauses.saturating_add(1);
        self.reason = in_one_line(error);
        self.phase = Phase::Open {
            until: Instant::now() + pause,
        };
        self.show(side);
        let reason = &self.reason;
        warn!(%side, pause = ?pause, reason, "left alone for a while");
    }
}

/// Whether the side itself seems to be the matter, and not what it was asked.
fn is_failure(kind: PortErrorKind) -> bool {
    use PortErrorKind::{Down, Outage, Unknown};
    matches!(kind, Down | Outage | Unknown)
}

fn turned_back(side: Side, wait: Duration, why: &str) -> PortError {
    PortError::new(PortErrorKind::Outage, "wait for the far side")
        .with_side(side)
        .with_retry_after(Some(wait))
        .with_cause(why.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn circuit() -> Circuit {
        let circuit = Circuit::default();
        circuit.lock().settings = Settings {
            opens_after: 3,
            pause: PAUSE,
            longest_pause: 4 * PAUSE,
        };
        circuit
    }

    fn error(kind: PortErrorKind) -> PortError {
        PortError::new(kind, "test").with_side(Side::Crm)
    }

    fn call(circuit: &Circuit, result: Result<(), PortErrorKind>) -> bool {
        match circuit.pass(Side::Crm) {
            Ok(pass) => {
                pass.ended(&result.map_err(error));
                true
            }
            Err(_) => false,
        }
    }

    fn rest(circuit: &Circuit) -> Duration {
        circuit.rest().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_not_before() {
        let circuit = circuit();
        let down = Err(PortErrorKind::Down);
        for answer in [down, down, Ok(()), down, Err(PortErrorKind::Unknown)] {
            assert!(call(&circuit, answer));
        }
        assert!(call(&circuit, Err(PortErrorKind::Refused)), "it lives");
        assert!(call(&circuit, down) && call(&circuit, down));
        assert_eq!(circuit.rest(), None);
        assert!(call(&circuit, down));
        assert_eq!(rest(&circuit), PAUSE);
        assert!(!call(&circuit, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn exactly_one_tries_after_the_pause_and_an_answer_closes_it() {
        let circuit = circuit();
        call(&circuit, Err(PortErrorKind::Outage));
        advance(PAUSE).await;
        let probe = circuit.pass(Side::Crm).unwrap();
        let turned_back = circuit.pass(Side::Crm).unwrap_err();
        assert_eq!(turned_back.kind(), PortErrorKind::Outage);
        assert!(turned_back.retry_after().unwrap() > Duration::ZERO);
        probe.ended(&Ok(()));
        assert!(call(&circuit, Ok(())) && call(&circuit, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn each_probe_that_fails_makes_the_pause_longer_up_to_a_limit() {
        let circuit = circuit();
        call(&circuit, Err(PortErrorKind::Outage));
        for times in [2, 4, 4, 4] {
            advance(rest(&circuit)).await;
            assert!(call(&circuit, Err(PortErrorKind::Down)));
            assert_eq!(rest(&circuit), times * PAUSE);
        }
        advance(rest(&circuit)).await;
        call(&circuit, Ok(()));
        call(&circuit, Err(PortErrorKind::Outage));
        assert_eq!(rest(&circuit), PAUSE, "an answer makes it begin anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_broken_off_or_takes_too_long_keeps_nobody_out() {
        let circuit = circuit();
        call(&circuit, Err(PortErrorKind::Outage));
        advance(PAUSE).await;
        drop(circuit.pass(Side::Crm).unwrap());
        let slow = circuit.pass(Side::Crm).unwrap();
        assert!(!call(&circuit, Ok(())));
        advance(PROBE_WITHIN).await;
        assert!(call(&circuit, Ok(())), "another may try");
        slow.ended(&Err::<(), _>(error(PortErrorKind::Down)));
        assert_eq!(circuit.rest(), None, "the first is not heard any more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_other_side_did_tells_nothing_of_this_one() {
        let circuit = circuit();
        let others = || Err::<(), _>(error(PortErrorKind::Down).with_side(Side::Content));
        for _ in 0..5 {
            circuit.pass(Side::Crm).unwrap().ended(&others());
        }
        assert_eq!(circuit.rest(), None);
        call(&circuit, Err(PortErrorKind::Outage));
        advance(PAUSE).await;
        circuit.pass(Side::Crm).unwrap().ended(&others());
        assert!(call(&circuit, Ok(())), "the next one tries");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_side_asks_for_is_kept_within_reason() {
        let circuit = circuit();
        let asks = |seconds| {
            let asked = Some(Duration::from_secs(seconds));
            Err::<(), _>(error(PortErrorKind::Outage).with_retry_after(asked))
        };
        circuit.pass(Side::Crm).unwrap().ended(&asks(3));
        assert_eq!(rest(&circuit), Duration::from_secs(3));
        advance(Duration::from_secs(3)).await;
        circuit.pass(Side::Crm).unwrap().ended(&asks(u64::MAX / 2));
        assert_eq!(rest(&circuit), LONGEST_ASKED);
    }
}
