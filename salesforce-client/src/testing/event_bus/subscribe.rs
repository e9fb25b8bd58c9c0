//! One subscription as it runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status, Streaming};

use super::fault::{StreamEnd, StreamFault};
use super::status::{bad_place, bad_request, coded, rpc_id, unavailable, unknown_topic};
use super::subscription_state::SubscriptionState;
use crate::pubsub::proto::{FetchRequest, FetchResponse, ReplayPreset};
use crate::testing::state::Shared;

/// The vendor's limit of events that are asked for and not sent.
const OUTSTANDING_AT_MOST: i32 = 100;
const EVENTS_TO_AN_ANSWER: usize = 25;

pub(super) type Answers = mpsc::Sender<Result<FetchResponse, Status>>;

/// Serves a subscription to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut requests: Streaming<FetchRequest>,
    answers: &Answers,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Status> {
    let Some(first) = requests.message().await? else {
        return Ok(());
    };
    let mut tail = shared.lock().bus.tail();
    let mut subscription = Subscription::open(&shared, &first)?;
    subscription.grant(&first)?;
    let keepalive = shared.config.keepalive;
    let mut quiet_since = Instant::now();
    loop {
        if subscription.left == 0
            && let Some(fault) = subscription.fault.take()
        {
            return subscription.end(fault.end, requests, answers, stop).await;
        }
        let answer = subscription.next();
        if !answer.events.is_empty() {
            if answers.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
            quiet_since = Instant::now();
            continue;
        }
        tokio::select! {
            request = requests.message() => match request? {
                Some(more) => subscription.grant(&more)?,
                None => return Ok(()),
            },
            _ = tail.changed() => {}
            // Whoever asks for nothing is not kept alive.
            () = sleep_until(quiet_since + keepalive) => {
                if subscription.outstanding == 0 || answers.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
                quiet_since = Instant::now();
            }
            _ = stop.changed() => return Err(unavailable()),
        }
    }
}

struct Subscription<'a> {
    shared: &'a Shared,
    topic: String,
    /// After everything that was sent.
    place: u64,
    outstanding: i32,
    /// Events until the fault acts.
    left: usize,
    fault: Option<StreamFault>,
    number: Option<usize>,
}

impl<'a> Subscription<'a> {
    fn open(shared: &'a Shared, first: &FetchRequest) -> Result<Self, Status> {
        let mut state = shared.lock();
        let state = &mut *state;
        let topic = first.topic_name.clone();
        let known = state.bus.topic(&state.org.schema, &topic);
        known.ok_or_else(|| unknown_topic(&topic))?;
        let preset = ReplayPreset::try_from(first.replay_preset)
            .map_err(|_| bad_request("The replay preset is unknown"))?;
        let place = state
            .bus
            .open(preset, &first.replay_id, Timestamp::now())
            .map_err(bad_place)?;
        let fault = state.bus.faults.take(&topic);
        let again = fault.as_ref().map_or(0, |fault| fault.again);
        let number = state.bus.opened(SubscriptionState {
            topic: topic.clone(),
            preset: match preset {
                ReplayPreset::Latest => "LATEST",
                ReplayPreset::Earliest => "EARLIEST",
                ReplayPreset::Custom => "CUSTOM",
            },
            replay_id: first.replay_id.to_vec(),
            delivered: 0,
            most_outstanding: 0,
            ended: false,
        });
        Ok(Self {
            shared,
            place: state.bus.before(place, &topic, again),
            topic,
            outstanding: 0,
            left: fault.as_ref().map_or(usize::MAX, |fault| fault.after),
            fault,
            number,
        })
    }

    /// Takes a request for more events.
    fn grant(&mut self, request: &FetchRequest) -> Result<(), Status> {
        if !request.topic_name.is_empty() && request.topic_name != self.topic {
            let text = "The topic of a subscription cannot be changed";
            return Err(Status::invalid_argument(text));
        }
        self.outstanding = self.outstanding.saturating_add(request.num_requested);
        let outstanding = self.outstanding;
        self.note(|state| state.most_outstanding = state.most_outstanding.max(outstanding));
        if request.num_requested <= 0 || self.outstanding > OUTSTANDING_AT_MOST {
            return Err(bad_request(
                "Between 1 and 100 events can be asked for and not sent",
            ));
        }
        Ok(())
    }

    /// The next events, or a sign of life.
    fn next(&mut self) -> FetchResponse {
        let most = self.fault.as_ref().and_then(|fault| fault.batch);
        let most = most
            .unwrap_or(EVENTS_TO_AN_ANSWER)
            .min(self.left)
            .min(usize::try_from(self.outstanding).unwrap_or_default());
        let (events, last, newest) = {
            let state = self.shared.lock();
            let (events, last) = state.bus.after(self.place, &self.topic, most);
            (events, last, state.bus.newest())
        };
        self.place = last.unwrap_or(self.place);
        self.left = self.left.saturating_sub(events.len());
        self.outstanding -= i32::try_from(events.len()).unwrap_or(i32::MAX);
        let delivered = events.len() as u64;
        self.note(|state| state.delivered += delivered);
        FetchResponse {
            events,
            latest_replay_id: newest,
            rpc_id: rpc_id(),
            pending_num_requested: self.outstanding,
        }
    }

    async fn end(
        &self,
        end: StreamEnd,
        mut requests: Streaming<FetchRequest>,
        answers: &Answers,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Status> {
        match end {
            StreamEnd::Close => Ok(()),
            StreamEnd::NewestThenClose => {
                let newest = FetchResponse {
                    latest_replay_id: self.shared.lock().bus.newest(),
                    rpc_id: rpc_id(),
                    ..FetchResponse::default()
                };
                let _ = answers.send(Ok(newest)).await;
                Ok(())
            }
            StreamEnd::Silence => loop {
                tokio::select! {
                    request = requests.message() => {
                        if request?.is_none() {
                            return Ok(());
                        }
                    }
                    _ = stop.changed() => return Err(unavailable()),
                }
            },
            StreamEnd::Status { code, error_code } => {
                let code = Code::from(code);
                Err(match error_code {
                    Some(error_code) => coded(code, &error_code, "a fault that was asked for"),
                    None => Status::new(code, "a fault that was asked for"),
                })
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut SubscriptionState)) {
        let mut state = self.shared.lock();
        let number = self.number;
        if let Some(own) = number.and_then(|number| state.bus.subscriptions.get_mut(number)) {
            change(own);
        }
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.note(|state| state.ended = true);
    }
}

/// How long a quiet subscription waits for a sign of life at the vendor's.
pub(in crate::testing) const KEEPALIVE: Duration = Duration::from_secs(270);
