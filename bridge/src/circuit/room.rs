//! Whether the CRM side has room for a file. What it refuses says something of files of that size
//! and of larger ones, and nothing of smaller ones.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

use super::{CircuitState, LONGEST_ASKED, PROBE_WITHIN, Settings, turned_back};
use crate::{
    observe,
    port_error::{PortError, PortErrorKind, in_one_line},
    side::Side,
};

/// What is known of the room that is left. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    settings: Settings,
    /// `None` where there seems to be enough.
    lack: Option<Lack>,
    /// The smallest file that was stored since one was refused.
    stored: Option<u64>,
    /// Which probe is the last one.
    probe: u64,
}

#[derive(Debug)]
struct Lack {
    /// Files of at least this size do not go through.
    size: u64,
    /// The size that was refused last. Those that are as large wait for the end of the pause; what
    /// lies between may try before, one at a time: a large one must not keep them out.
    refused: u64,
    until: Instant,
    pauses: u32,
    /// The refusal in a line.
    reason: String,
    probing: Option<Probe>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    id: u64,
    since: Instant,
}

/// Leave to upload one file. Dropped without a word, it tells nothing about the room.
#[derive(Debug)]
pub(crate) struct Place {
    room: Room,
    side: Side,
    size: u64,
    probe: Option<u64>,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let poisoned = |poisoned: std::sync::PoisonError<_>| poisoned.into_inner();
        self.0.lock().unwrap_or_else(poisoned)
    }

    pub(super) fn set(&self, settings: Settings) {
        let mut inner = self.lock();
        inner.settings = settings;
        observe::uploads(inner.lack.is_some());
    }

    pub(super) fn state(&self) -> CircuitState {
        match &self.lock().lack {
            None => CircuitState::Closed,
            Some(lack) if lack.probing.is_some() => CircuitState::Probing,
            Some(lack) => CircuitState::Open(lack.until.saturating_duration_since(Instant::now())),
        }
    }

    /// Whether a file of this size would go through now, or the error to turn back with.
    pub(crate) fn may_go(&self, side: Side, size: u64) -> Result<(), PortError> {
        self.lock().is_probe(side, size, Instant::now()).map(drop)
    }

    /// Leave to upload a file of this size, or the error to turn back with.
    pub(crate) fn pass(&self, side: Side, size: u64) -> Result<Place, PortError> {
        let mut inner = self.lock();
        let since = Instant::now();
        let mut probe = None;
        if inner.is_probe(side, size, since)? {
            inner.probe += 1;
            let id = inner.probe;
            probe = Some(id);
            if let Some(lack) = &mut inner.lack {
                lack.probing = Some(Probe { id, since });
            }
        }
        let room = self.clone();
        Ok(Place {
            room,
            side,
            size,
            probe,
        })
    }
}

impl Inner {
    /// Whether a file of this size tries out if there is room again.
    fn is_probe(&self, side: Side, size: u64, now: Instant) -> Result<bool, PortError> {
        let Some(lack) = self.lack.as_ref().filter(|lack| size >= lack.size) else {
            return Ok(false);
        };
        if size >= lack.refused && now < lack.until {
            return Err(turned_back(side, lack.until - now, &lack.reason));
        }
        match lack.probing {
            // An upload takes its time, and each look costs calls.
            Some(probe) if now < probe.since + PROBE_WITHIN => {
                let rest = probe.since + PROBE_WITHIN - now;
                let wait = rest.min(self.settings.pause);
                let why = "an upload is trying out whether there is room again";
                Err(turned_back(side, wait, why))
            }
            _ => Ok(true),
        }
    }

    fn pause(&self, pauses: u32, error: &PortError) -> Duration {
        let own = self.settings.pause_after(pauses);
        error.retry_after().unwrap_or(own).min(LONGEST_ASKED)
    }
}

impl Place {
    /// Notes how the upload ended. Only an answer tells whether there is room.
    pub(crate) fn ended<T>(self, result: Result<T, PortError>) -> Result<T, PortError> {
        match result {
            Ok(stored) => {
                self.stored();
                Ok(stored)
            }
            Err(error) if error.kind() == PortErrorKind::Full => Err(self.refused(error)),
            Err(error) => Err(error),
        }
    }

    fn stored(&self) {
        let mut inner = self.room.lock();
        inner.stored = Some(inner.stored.map_or(self.size, |size| size.min(self.size)));
        // What was let through before the refusal tells nothing of what is left now.
        let is_over = self.probe.is_some()
            && (inner.lack.as_ref()).is_some_and(|lack| self.size >= lack.size);
        if is_over {
            inner.lack = None;
            observe::uploads(false);
            info!(side = %self.side, "it takes files again");
        }
    }

    /// A file that is refused while smaller ones are stored is the matter itself: it may never find
    /// room, and what it tries is counted.
    fn refused(&self, error: PortError) -> PortError {
        let mut inner = self.room.lock();
        let now = Instant::now();
        let is_too_large = inner.stored.take().is_some_and(|size| size < self.size);
        let first = inner.pause(0, &error);
        let next = inner.pause(inner.lack.as_ref().map_or(0, |lack| lack.pauses), &error);
        match &mut inner.lack {
            Some(lack) if self.size >= lack.size => {
                let is_last = |probe: Probe| self.probe == Some(probe.id);
                if lack.probing.is_some_and(is_last) {
                    lack.probing = None;
                    lack.refused = self.size;
                    lack.reason = in_one_line(&error);
                    if now >= lack.until {
                        lack.until = now + next;
                        lack.pauses = lack.pauses.saturating_add(1);
                    }
                }
            }
            lack => {
                *lack = Some(Lack {
                    size: self.size,
                    refused: self.size,
                    until: now + first,
                    pauses: 1,
                    reason: in_one_line(&error),
                    probing: None,
                });
            }
        }
        observe::uploads(true);
        let rest = inner.lack.as_ref().map(|lack| lack.until - now);
        let (side, size, reason) = (self.side, self.size, in_one_line(&error));
        warn!(%side, size, pause = ?rest, reason, "gets no files of this size for a while");
        match is_too_large {
            true => error.too_large().with_retry_after(rest),
            false => error,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.room.lock();
        if let Some(lack) = &mut inner.lack
            && lack.probing.is_some_and(|it| self.probe == Some(it.id))
        {
            // It was broken off: the next one tries.
            lack.probing = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(300);

    fn room() -> Room {
        let room = Room::default();
        room.set(Settings {
            opens_after: 5,
            pause: PAUSE,
            longest_pause: 4 * PAUSE,
        });
        room
    }

    fn full() -> Result<(), PortError> {
        Err(PortError::new(PortErrorKind::Full, "upload"))
    }

    /// What becomes of a file where so much is left; `None` where it is turned back.
    fn upload(room: &Room, size: u64, left: u64) -> Option<Result<(), PortErrorKind>> {
        let place = room.pass(Side::Crm, size).ok()?;
        let result = if size <= left { Ok(()) } else { full() };
        Some(place.ended(result).map_err(|error| error.kind()))
    }

    const STORED: Option<Result<(), PortErrorKind>> = Some(Ok(()));
    const FULL: Option<Result<(), PortErrorKind>> = Some(Err(PortErrorKind::Full));
    const TOO_LARGE: Option<Result<(), PortErrorKind>> = Some(Err(PortErrorKind::TooLarge));

    #[tokio::test(start_paused = true)]
    async fn what_is_too_large_keeps_no_smaller_one_out_and_is_counted() {
        let room = room();
        assert_eq!(upload(&room, 1000, 300), FULL);
        for times in [1, 2, 4, 4] {
            for _ in 0..3 {
                assert_eq!(upload(&room, 10, 300), STORED);
                assert_eq!(upload(&room, 1000, 300), None);
                assert!(room.may_go(Side::Crm, 10).is_ok());
                assert!(room.may_go(Side::Crm, 1000).is_err());
            }
            assert_eq!(room.state(), CircuitState::Open(times * PAUSE));
            advance(times * PAUSE).await;
            assert_eq!(upload(&room, 1000, 300), TOO_LARGE);
        }
        advance(4 * PAUSE).await;
        assert_eq!(upload(&room, 1000, 1000), STORED);
        assert_eq!(room.state(), CircuitState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_fits_few_are_sent_and_none_is_counted() {
        let room = room();
        assert_eq!(upload(&room, 1000, 0), FULL);
        assert_eq!(upload(&room, 10, 0), FULL, "nothing was known of it");
        for _ in 0..3 {
            for size in [10, 20, 1000] {
                assert_eq!(upload(&room, size, 0), None);
            }
            let rest = room
                .may_go(Side::Crm, 10)
                .unwrap_err()
                .retry_after()
                .unwrap();
            advance(rest).await;
            // The large one comes first, and says nothing of the others.
            assert_eq!(upload(&room, 1000, 0), FULL);
            assert_eq!(upload(&room, 20, 0), FULL);
            assert_eq!(upload(&room, 30, 0), None);
            assert_eq!(upload(&room, 10, 0), FULL);
        }
        advance(4 * PAUSE).await;
        assert_eq!(upload(&room, 1000, 300), FULL);
        assert_eq!(upload(&room, 20, 300), STORED, "there is room for it again");
        assert_eq!(upload(&room, 500, 300), TOO_LARGE);
        assert_eq!(upload(&room, 10, 300), STORED);
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_at_a_time_and_what_is_broken_off_lets_the_next_try() {
        let room = room();
        assert_eq!(upload(&room, 10, 0), FULL);
        advance(PAUSE).await;
        drop(room.pass(Side::Crm, 10).unwrap());
        let slow = room.pass(Side::Crm, 10).unwrap();
        let waits = room.may_go(Side::Crm, 10).unwrap_err();
        assert_eq!(waits.retry_after(), Some(PROBE_WITHIN));
        assert!(room.may_go(Side::Crm, 9).is_ok());
        // The content side broke off on the way, or the far side did not answer.
        let down = Err::<(), _>(PortError::new(PortErrorKind::Down, "upload"));
        assert!(slow.ended(down).is_err());
        let slow = room.pass(Side::Crm, 10).unwrap();
        advance(PROBE_WITHIN).await;
        assert_eq!(upload(&room, 11, 0), FULL, "another may try");
        assert!(slow.ended(Ok(())).is_ok());
        assert_eq!(
            room.state(),
            CircuitState::Closed,
            "it is heard all the same"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_on_its_way_before_the_refusal_tells_nothing_of_what_is_left() {
        let room = room();
        let early = [(); 2].map(|()| room.pass(Side::Crm, 100).unwrap());
        assert_eq!(upload(&room, 50, 0), FULL);
        let [one, other] = early;
        assert!(one.ended(Ok(())).is_ok());
        assert!(other.ended(full()).is_err());
        assert_eq!(room.state(), CircuitState::Open(PAUSE));
        assert_eq!(upload(&room, 50, 0), None);
    }
}
