//! One thing that happened, told of twice: by a webhook, and by whatever looked for what webhooks
//! missed. Their ids differ, so the ledger remembers what was told of under which id.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ledger::{EffectKey, EffectState, Ledger},
    receive::BOX_WEBHOOK,
    situation::{Situation, Subject},
    store_error::{StoreError, StoreErrorKind},
};

/// The kind of job for an event that the content side's event stream told of; its body has a
/// webhook's shape.
pub const BOX_MISSED: &str = "box.missed";
/// The kind of job for a file that was found lying there; its body has a webhook's shape.
pub const BOX_FOUND: &str = "box.found";

pub(crate) const UPLOADED: &str = "FILE.UPLOADED";
/// A webhook and the event stream give the time of one event, and need not agree to the second.
const SAME_TIME: Duration = Duration::from_secs(60);

/// So many seconds' events of one kind on one item lie together in the ledger.
const TOGETHER: i64 = 600;

/// Who told of it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Teller {
    Webhook,
    /// The event stream.
    Stream,
    /// Nobody: a file is there, and its upload is concluded from that.
    Look,
}

impl Teller {
    pub(crate) fn of(kind: &str) -> Option<Self> {
        match kind {
            BOX_WEBHOOK => Some(Self::Webhook),
            BOX_MISSED => Some(Self::Stream),
            BOX_FOUND => Some(Self::Look),
            _ => None,
        }
    }
}

/// What the ledger keeps of one event.
#[derive(Debug, Deserialize, Serialize)]
struct Told {
    by: Teller,
    at: Timestamp,
    record: Option<String>,
    who: Option<String>,
    /// The other event that told of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<String>,
}

/// Takes the occurrence for this event, or tells by which other event it was taken.
///
/// Two deliveries of webhooks are never taken for one: Box told of two events. The events of one
/// item are worked on one after the other, so nobody else takes it meanwhile. To come again, after a
/// crash or a failure, gives the same answer.
pub(crate) async fn claim(
    ledger: &dyn Ledger,
    teller: Teller,
    situation: &Situation,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let version = match &situation.subject {
        Subject::File(file) if situation.trigger == UPLOADED => Some(file.version.id.as_str()),
        _ => None,
    };
    let places = places(situation, version);
    let record = situation
        .opportunity
        .as_ref()
        .or(situation.account.as_ref());
    let own = Told {
        by: teller,
        at: situation.at,
        record: record.map(|record| record.id.clone()),
        who: situation.person.as_ref().and_then(|who| who.email.clone()),
        twin: None,
    };
    let mut candidates = Vec::new();
    let mut told_before = Vec::new();
    for place in &places {
        told_before.extend(ledger.under(place).await?);
    }
    for effect in told_before {
        let EffectState::Finished(value) = effect.state else {
            continue;
        };
        let event = effect.key.parts().last().unwrap_or_default();
        let told = read(value)?;
        if event == situation.event {
            return Ok(None);
        }
        if told.twin.as_deref() == Some(&situation.event) {
            return Ok(Some(event));
        }
        if own.may_be(&told, version.is_some()) {
            candidates.push((apart(own.at, told.at), effect.key, event, told));
        }
    }
    candidates.sort_by_key(|(apart, ..)| *apart);
    let Some((_, key, event, mut told)) = candidates.into_iter().next() else {
        let place = places.first().map(EffectKey::as_str).unwrap_or_default();
        let event = EffectKey::new([&situation.event]);
        let key = EffectKey::from_text(format!("{place}{}", event.as_str()));
        ledger.finish(&key, written(&own)?, now).await?;
        return Ok(None);
    };
    if told.twin.is_none() {
        told.twin = Some(situation.event.clone());
        ledger.finish(&key, written(&told)?, now).await?;
    }
    Ok(Some(event))
}

/// Whether an upload of this version was taken up, whoever told of it.
pub(crate) async fn is_known(
    ledger: &dyn Ledger,
    file: &str,
    version: &str,
) -> Result<bool, StoreError> {
    Ok(!ledger
        .under(&prefix(UPLOADED, file, version))
        .await?
        .is_empty())
}

impl Told {
    /// Whether this, which is new, can be what `told` was about.
    fn may_be(&self, told: &Self, names_a_version: bool) -> bool {
        let same_record = self.record == told.record;
        let same_person = self.who.is_none() || told.who.is_none() || self.who == told.who;
        let same_time = names_a_version || apart(self.at, told.at) <= SAME_TIME;
        match (self.by, told.by) {
            (Teller::Webhook, Teller::Webhook) => false,
            (Teller::Look, _) => same_record,
            // Each delivery stands for one event, so it takes the place of one at most.
            (Teller::Webhook, Teller::Look) => told.twin.is_none() && same_record,
            (Teller::Webhook, Teller::Stream) => told.twin.is_none() && same_time && same_person,
            // A version is uploaded once, and the stream may show a later one in its place.
            (Teller::Stream, _) if names_a_version => true,
            (Teller::Stream, Teller::Webhook) => told.twin.is_none() && same_time && same_person,
            (Teller::Stream, Teller::Look) => told.twin.is_none() && same_record,
            (Teller::Stream, Teller::Stream) => false,
        }
    }
}

/// Where the ledger keeps who told of this, its own place first. Events that name no version lie
/// together by their time, so that looking for one costs as little after the ten thousandth preview
/// as after the first.
fn places(situation: &Situation, version: Option<&str>) -> Vec<EffectKey> {
    let (trigger, item) = (&situation.trigger, situation.subject.id());
    if let Some(version) = version {
        return vec![prefix(trigger, item, version)];
    }
    let near = i64::try_from(SAME_TIME.as_secs()).unwrap_or(i64::MAX);
    let at = situation.at.as_second();
    let time = |second: i64| second.div_euclid(TOGETHER);
    let mut times = vec![time(at)];
    times.extend(
        [time(at - near), time(at + near)]
            .iter()
            .filter(|it| **it != time(at)),
    );
    times
        .iter()
        .map(|time| prefix(trigger, item, &time.to_string()))
        .collect()
}

fn prefix(trigger: &str, item: &str, version: &str) -> EffectKey {
    EffectKey::new(["seen", trigger, item, version])
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.duration_since(b).unsigned_abs()
}

fn read(value: Value) -> Result<Told, StoreError> {
    serde_json::from_value(value)
        .map_err(|cause| StoreError::new(StoreErrorKind::Corrupt, "read").with_cause(cause))
}

fn written(told: &Told) -> Result<Value, StoreError> {
    serde_json::to_value(told)
        .map_err(|cause| StoreError::new(StoreErrorKind::Corrupt, "finish").with_cause(cause))
}
