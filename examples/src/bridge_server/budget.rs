//! The calls that Salesforce allows in 24 hours: what is left of them, until when none are made,
//! and when all that waits will have been done.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bridge::{Counts, EffectKey, EffectState, Ledger, StoreError};
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{Governor, Quota, QuotaShare, QuotaShareError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::{info, warn};

use crate::{config, in_one_line, store::Store};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks to one at the inbox, which may be long.
const COUNT_EVERY: u64 = 10;
const DAY: f64 = 24.0 * 3600.0;
/// Beyond this an estimate is none.
const LONGEST: f64 = 365.0 * DAY;

/// The service's governor, and where it tells others what it knows.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) governor: Governor,
    share: LedgerQuota,
    terms: Terms,
}

/// What is left to others, and how long nobody asks when nothing is left.
#[derive(Clone, Copy, Debug)]
struct Terms {
    reserve: f64,
    pause: Duration,
}

impl Terms {
    fn of(config: &config::Budget) -> Self {
        Self {
            reserve: config.reserve,
            pause: config.pause.0,
        }
    }
}

/// How many calls events take, as far as it was seen.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Pace {
    calls: u64,
    events: u64,
}

impl Pace {
    /// Adds what came between two looks; tells whether any event was done. Old events are forgotten
    /// meanwhile, so that those that are done can also become fewer.
    fn add(&mut self, before: Self, now: Self) -> bool {
        let events = now.events.saturating_sub(before.events);
        self.calls += now.calls.saturating_sub(before.calls);
        self.events += events;
        events > 0
    }

    fn calls_for(self, events: u64) -> f64 {
        let each = match self.events {
            0 => 1.0,
            seen => self.calls as f64 / seen as f64,
        };
        events as f64 * each
    }
}

impl Budget {
    pub(crate) fn new(config: &config::Budget) -> Self {
        let share = LedgerQuota::default();
        let governor = Governor::builder()
            .reserve(config.reserve)
            .backfill_reserve(config.backfill_reserve)
            .max_concurrent(config.max_concurrent)
            .pause(config.pause.0)
            .sync_every(config.share_every.0)
            .share(share.clone())
            .build();
        Self {
            governor,
            share,
            terms: Terms::of(config),
        }
    }

    /// From now on it is shared with all who work on this store.
    pub(crate) fn share_in(&self, store: &Store) {
        // Told twice, the first store stays.
        let _ = self.share.0.set(Arc::clone(&store.ledger));
    }

    /// A line for people, where the calls of the day are not enough.
    pub(crate) async fn line(&self, store: &Store, counts: &Counts) -> Option<String> {
        let pace = read(&*store.ledger, &pace_key()).await.ok().flatten();
        let quota = self.governor.state().quota;
        line(
            &quota,
            self.terms,
            pace.unwrap_or_default(),
            counts,
            Timestamp::now(),
        )
    }

    /// Logs when calls run out and when there are some again, and keeps count of what events take.
    pub(crate) async fn watch(&self, store: &Store, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut pace = Pace::default();
        let mut before: Option<Pace> = None;
        let mut was_refused = false;
        for looks in 0_u64.. {
            let state = self.governor.state();
            let is_refused = state.refused_until.is_some();
            if is_refused != was_refused || looks.is_multiple_of(COUNT_EVERY) {
                match store.queue.counts().await {
                    Ok(counts) => {
                        let now = Pace {
                            calls: state.calls,
                            events: counts.done,
                        };
                        if let Some(before) = before.replace(now)
                            && pace.add(before, now)
                            && let Err(error) = write(&*store.ledger, &pace_key(), &pace).await
                        {
                            warn!(error = in_one_line(&error), "the pace could not be kept");
                        }
                        if is_refused && !was_refused {
                            let now = Timestamp::now();
                            let line = line(&state.quota, self.terms, pace, &counts, now);
                            warn!("{}", line.unwrap_or_default());
                        } else if was_refused && !is_refused {
                            info!("Salesforce: there are calls again");
                        }
                        // Nothing is sent now that would tell it by the way.
                        if is_refused != was_refused
                            && let Err(error) = self.share.publish(&state.quota).await
                        {
                            warn!(
                                error = in_one_line(&*error),
                                "the quota could not be shared"
                            );
                        }
                        was_refused = is_refused;
                    }
                    Err(error) => {
                        warn!(error = in_one_line(&error), "the inbox gives no counts");
                    }
                }
            }
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// The line for people of a service that works on this store, or has worked on it.
pub(crate) async fn told(
    store: &Store,
    config: &config::Budget,
) -> Result<Option<String>, StoreError> {
    let Some(quota) = read(&*store.ledger, &quota_key()).await? else {
        return Ok(None);
    };
    let pace: Option<Pace> = read(&*store.ledger, &pace_key()).await?;
    let counts = store.queue.counts().await?;
    Ok(line(
        &quota,
        Terms::of(config),
        pace.unwrap_or_default(),
        &counts,
        Timestamp::now(),
    ))
}

fn line(
    quota: &Quota,
    terms: Terms,
    pace: Pace,
    counts: &Counts,
    now: Timestamp,
) -> Option<String> {
    let usage = quota.usage?;
    let until = quota.refused_until(terms.reserve, terms.pause, now);
    let waiting = counts.ready + counts.leased;
    let ours = |calls: u64| calls as f64 - usage.allowed as f64 * terms.reserve;
    let left = match until {
        Some(_) => 0.0,
        None => ours(usage.left()).max(0.0),
    };
    let missing = pace.calls_for(waiting) - left;
    if until.is_none() && missing <= 0.0 {
        return None;
    }
    let seconds = missing.max(0.0) / ours(usage.allowed).max(1.0) * DAY;
    let caught_up = (seconds < LONGEST)
        .then(|| SignedDuration::try_from_secs_f64(seconds).ok())
        .flatten()
        .and_then(|wait| until.unwrap_or(now).checked_add(wait).ok());
    let until = match until {
        Some(until) => format!("; the rest is kept for others until {}", minutes(until)),
        None => String::new(),
    };
    let caught_up = match caught_up {
        Some(at) => format!("done by about {}", minutes(at)),
        None => "more than can be done in a year".to_owned(),
    };
    Some(format!(
        "Salesforce: {} of {} calls of 24 hours are used{until}; {waiting} events wait, {caught_up}",
        usage.used, usage.allowed
    ))
}

fn minutes(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%dT%H:%MZ")
}

/// The quota as an entry of the ledger, so that all who work on one store know the same. Until a
/// store is there, nobody is told.
#[derive(Clone, Debug, Default)]
struct LedgerQuota(Arc<OnceLock<Arc<dyn Ledger>>>);

#[async_trait]
impl QuotaShare for LedgerQuota {
    async fn load(&self) -> Result<Quota, QuotaShareError> {
        match self.0.get() {
            Some(ledger) => Ok(read(&**ledger, &quota_key()).await?.unwrap_or_default()),
            None => Ok(Quota::default()),
        }
    }

    async fn publish(&self, quota: &Quota) -> Result<(), QuotaShareError> {
        match self.0.get() {
            Some(ledger) => Ok(write(&**ledger, &quota_key(), quota).await?),
            None => Ok(()),
        }
    }
}

fn quota_key() -> EffectKey {
    EffectKey::new(["salesforce", "quota"])
}

fn pace_key() -> EffectKey {
    EffectKey::new(["salesforce", "pace"])
}

/// What another version has written and this one cannot read counts as nothing.
async fn read<T: DeserializeOwned>(
    ledger: &dyn Ledger,
    key: &EffectKey,
) -> Result<Option<T>, StoreError> {
    Ok(match ledger.read(key).await? {
        Some(EffectState::Finished(value)) => serde_json::from_value(value).ok(),
        _ => None,
    })
}

async fn write(
    ledger: &dyn Ledger,
    key: &EffectKey,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let value = serde_json::to_value(value).unwrap_or_default();
    ledger.finish(key, value, Timestamp::now()).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn quota(used: u64) -> Quota {
        serde_json::from_value(json!({
            "usage": { "used": used, "allowed": 5_000 }, "told_at": "2026-03-01T10:00:00Z",
        }))
        .unwrap()
    }

    fn said(used: u64, waiting: u64, pace: Pace) -> Option<String> {
        let terms = Terms {
            reserve: 0.04,
            pause: Duration::from_secs(900),
        };
        let counts = Counts {
            ready: waiting,
            ..Counts::default()
        };
        let now = "2026-03-01T10:05:00Z".parse().unwrap();
        line(&quota(used), terms, pace, &counts, now)
    }

    #[test]
    fn nothing_is_said_while_the_calls_are_enough() {
        assert_eq!(said(3_000, 1_800, Pace::default()), None);
    }

    #[test]
    fn it_says_until_when_nothing_goes_and_when_all_is_done() {
        let pace = Pace {
            calls: 20,
            events: 10,
        };
        assert_eq!(
            said(4_800, 2_400, pace).unwrap(),
            "Salesforce: 4800 of 5000 calls of 24 hours are used; the rest is kept for others \
             until 2026-03-01T10:15Z; 2400 events wait, done by about 2026-03-02T10:15Z"
        );
    }

    #[test]
    fn it_says_in_time_that_the_calls_will_not_be_enough() {
        let line = said(3_000, 1_800 + 4_800, Pace::default()).unwrap();
        assert!(
            line.ends_with("6600 events wait, done by about 2026-03-02T10:05Z"),
            "{line}"
        );
    }
}
