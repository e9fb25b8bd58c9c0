use serde::{Deserialize, Serialize};

/// How a subscription to the event bus breaks. Each subscription takes the first fault that is for
/// its topic and not spent.
///
/// As JSON, for `POST /_fake/stream_faults`:
/// `{"topic":"/data/ChangeEvents","after":3,"end":{"do":"status","code":14}}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StreamFault {
    /// Topic to match; any if absent.
    #[serde(default)]
    pub topic: Option<String>,
    /// Events to deliver first.
    #[serde(default)]
    pub after: usize,
    /// The most events to an answer, if not as many as there are.
    #[serde(default)]
    pub batch: Option<usize>,
    /// Events before the place asked for that are delivered once more.
    #[serde(default)]
    pub again: usize,
    /// Subscriptions to hit.
    #[serde(default = "once")]
    pub times: u32,
    /// What comes then.
    pub end: StreamEnd,
}

/// What a [`StreamFault`] does once its events are delivered.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamEnd {
    /// The org ends the stream.
    Close,
    /// The org ends the stream after an answer without events that names the newest place of all,
    /// although events before it were withheld.
    NewestThenClose,
    /// Nothing more comes, not even a sign of life.
    Silence,
    /// The stream ends with this error.
    Status {
        /// gRPC's number, such as 14 for `UNAVAILABLE`.
        code: i32,
        /// Salesforce's own code, in the trailer `error-code`.
        #[serde(default)]
        error_code: Option<String>,
    },
}

impl StreamFault {
    /// Hits the next subscription once it has delivered this many events.
    pub fn after(events: usize, end: StreamEnd) -> Self {
        Self {
            topic: None,
            after: events,
            batch: None,
            again: 0,
            times: 1,
            end,
        }
    }

    /// Only subscriptions to this topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Delivers this many events to an answer at most.
    #[must_use]
    pub fn batch(mut self, events: usize) -> Self {
        self.batch = Some(events.max(1));
        self
    }

    /// Delivers this many events before the place asked for once more.
    #[must_use]
    pub fn again(mut self, events: usize) -> Self {
        self.again = events;
        self
    }

    /// Hits this many subscriptions.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}

/// The faults still to come, first match first.
#[derive(Default)]
pub(super) struct StreamFaults(Vec<StreamFault>);

impl StreamFaults {
    pub(super) fn add(&mut self, fault: StreamFault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn take(&mut self, topic: &str) -> Option<StreamFault> {
        let is_for = |fault: &StreamFault| {
            let topic_fits = fault.topic.as_deref().is_none_or(|it| it == topic);
            fault.times > 0 && topic_fits
        };
        let place = self.0.iter().position(is_for)?;
        self.0[place].times -= 1;
        let fault = self.0[place].clone();
        if fault.times == 0 {
            self.0.remove(place);
        }
        Some(fault)
    }
}

fn once() -> u32 {
    1
}
