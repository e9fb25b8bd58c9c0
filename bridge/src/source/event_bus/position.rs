//! Where a topic stands, and what of it is still to be asked for.

use std::time::Duration;

use jiff::Timestamp;
use salesforce_client::pubsub::ReplayId;
use serde::{Deserialize, Serialize};

/// What is committed can take its time to reach the bus, and a long transaction's records have
/// stamps from its beginning.
const MARGIN: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Position {
    /// The place after which to go on; none where it is not known.
    replay: Option<Vec<u8>>,
    /// Up to when everything has been told.
    pub(super) at: Timestamp,
    /// At most one for each kind of record.
    pub(super) gaps: Vec<Gap>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Gap {
    pub(super) object: String,
    /// Up to when it is filled.
    pub(super) since: Timestamp,
    /// Where it begins.
    pub(super) from: Timestamp,
    /// Where it ends: not known before the bus is listened to again.
    until: Option<Timestamp>,
}

impl Gap {
    pub(super) fn is_filled(&self) -> bool {
        self.until.is_some_and(|until| self.since > until)
    }
}

impl Position {
    /// Until the bus has told a place, everything is asked for.
    pub(super) fn new(at: Timestamp, objects: &[String]) -> Self {
        let mut position = Self {
            replay: None,
            at,
            gaps: Vec::new(),
        };
        for object in objects {
            position.open(object, at, None);
        }
        position
    }

    pub(super) fn replay(&self) -> Option<ReplayId> {
        self.replay.as_deref().map(ReplayId::from)
    }

    pub(super) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// The bus no longer knows the place, and is listened to from another.
    pub(super) fn lost(&mut self, objects: &[String]) {
        let since = before(self.at);
        for object in objects {
            self.open(object, since, None);
        }
    }

    /// The bus does not tell what happened to this kind of record until then.
    pub(super) fn gap(&mut self, object: &str, until: Timestamp) {
        self.open(object, before(self.at.min(until)), Some(until));
    }

    /// The bus is at this place; all that was committed before `at` has been told.
    pub(super) fn moved(&mut self, place: &ReplayId, at: Option<Timestamp>, now: Timestamp) {
        self.replay = Some(place.as_bytes().to_vec());
        if let Some(at) = at {
            self.at = self.at.max(at);
        }
        // It is listened to since some time before now.
        for gap in &mut self.gaps {
            gap.until.get_or_insert(now);
        }
    }

    fn open(&mut self, object: &str, since: Timestamp, until: Option<Timestamp>) {
        match self.gaps.iter_mut().find(|gap| gap.object == object) {
            Some(gap) => {
                gap.since = gap.since.min(since);
                gap.from = gap.from.min(since);
                gap.until = gap.until.zip(until).map(|(a, b)| a.max(b));
            }
            None => self.gaps.push(Gap {
                object: object.to_owned(),
                since,
                from: since,
                until,
            }),
        }
    }
}

fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(MARGIN).unwrap_or(Timestamp::MIN)
}
