use serde::Serialize;

/// A subscription to the event bus that there is or was.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SubscriptionState {
    /// Its topic.
    pub topic: String,
    /// Where it began: `LATEST`, `EARLIEST` or `CUSTOM`.
    pub preset: &'static str,
    /// After which place, if that is where it began.
    pub replay_id: Vec<u8>,
    /// Events that it was sent.
    pub delivered: u64,
    /// The most events that were asked for and not sent at one time.
    pub most_outstanding: i32,
    /// Whether it has ended.
    pub ended: bool,
}
