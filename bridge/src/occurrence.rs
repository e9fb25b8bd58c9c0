//! One thing that happened, told of twice: by a webhook, and by whatever looked for what webhooks
//! missed. Their ids differ, so the ledger remembers what was told of under which id.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ledger::{EffectKey, EffectState, Ledger},
    receive::BOX_WEBHOOK,
    situation::{Person, Situation, Subject},
    store_error::{StoreError, StoreErrorKind},
};

/// The kind of job for an event that the content side's event stream told of; its body has a
/// webhook's shape.
pub const BOX_MISSED: &str = "box.missed";
/// The kind of job for a file that was found lying there; its body has a webhook's shape.
pub const BOX_FOUND: &str = "box.found";

/// Among the details of what a webhook told of: its id.
pub(crate) const WEBHOOK: &str = "bridge.webhook";
pub(crate) const UPLOADED: &str = "FILE.UPLOADED";
/// A webhook and the event stream give the time of one event, and need not agree to the second.
const SAME_TIME: Duration = Duration::from_secs(60);
/// Two webhooks give it to the second.
const ONE_TIME: Duration = Duration::from_secs(1);

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
    /// The webhook, where one told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    webhook: Option<String>,
    at: Timestamp,
    record: Option<String>,
    who: Option<String>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// The other events that told of the same, each by another teller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    twins: Vec<Twin>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Twin {
    event: String,
    by: Teller,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    webhook: Option<String>,
}

/// Takes the occurrence for this event, or tells by which other event it was taken.
///
/// Two deliveries of one `webhook` are never taken for one: Box told of two events. Where several
/// webhooks watch an item, on folders one inside of the other, each of them tells of it once. The
/// events of one item are worked on one after the other, so nobody else takes it meanwhile. To come
/// again, after a crash or a failure, gives the same answer.
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
    let webhook = match teller {
        Teller::Webhook => situation.details.get(WEBHOOK).and_then(Value::as_str),
        Teller::Stream | Teller::Look => None,
    };
    let own = Told {
        by: teller,
        webhook: webhook.map(str::to_owned),
        at: situation.at,
        record: record.map(|record| record.id.clone()),
        who: email(situation.person.as_ref()),
        actor: email(situation.actor.as_ref()),
        twins: Vec::new(),
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
        if told.twins.iter().any(|twin| twin.event == situation.event) {
            return Ok(Some(event));
        }
        if own.may_be(&told, version.is_some())
            && (invited(situation).is_none() || own.record == told.record)
        {
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
    if !told.is_by(own.by, own.webhook.as_deref()) {
        told.twins.push(Twin {
            event: situation.event.clone(),
            by: own.by,
            webhook: own.webhook,
        });
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
        let is_same = |own: &Option<String>, its: &Option<String>| {
            own.is_none() || its.is_none() || own == its
        };
        let same_person = is_same(&self.who, &told.who) && is_same(&self.actor, &told.actor);
        let within = |time| names_a_version || apart(self.at, told.at) <= time;
        // Each delivery stands for one event, so it takes the place of one at most.
        let is_new = !told.is_by(self.by, self.webhook.as_deref());
        match (self.by, told.by) {
            (Teller::Look, _) => same_record,
            (Teller::Webhook, Teller::Webhook) => is_new && within(ONE_TIME) && same_person,
            (Teller::Webhook | Teller::Stream, Teller::Look) => is_new && same_record,
            // A version is uploaded once, and the stream may show a later one in its place.
            (Teller::Stream, _) if names_a_version => true,
            (Teller::Webhook, Teller::Stream) | (Teller::Stream, Teller::Webhook) => {
                is_new && within(SAME_TIME) && same_person
            }
            (Teller::Stream, Teller::Stream) => false,
        }
    }

    /// Whether this teller has told of it. A webhook that is not named may be any.
    fn is_by(&self, teller: Teller, webhook: Option<&str>) -> bool {
        let is_it = |by: Teller, of: Option<&str>| {
            by == teller && (of == webhook || of.is_none() || webhook.is_none())
        };
        let mut twins = self.twins.iter();
        is_it(self.by, self.webhook.as_deref())
            || twins.any(|twin| is_it(twin.by, twin.webhook.as_deref()))
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
    let whose = invited(situation);
    let item = whose.as_deref().unwrap_or(item);
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

/// While an invitation is open a webhook does not tell which folder it is for, and other tellers do:
/// so what happens to collaborations goes by whose they are.
fn invited(situation: &Situation) -> Option<String> {
    let is_of_people = situation.trigger.starts_with("COLLABORATION.");
    email(situation.person.as_ref()).filter(|_| is_of_people)
}

fn email(person: Option<&Person>) -> Option<String> {
    person.and_then(|person| Some(person.email.as_ref()?.to_lowercase()))
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
