//! Sending events to the webhooks' addresses, again and again until they are taken.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use super::{
    events::{Event, Progress},
    handle::FakeBox,
    server::Inner,
    sign::Delivery,
    state::State,
};

/// Box tries so often after the first time.
const RETRIES: u32 = 12;
const AT_ONCE: usize = 32;

/// One attempt at a delivery.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DeliveryLog {
    /// The event, the same at every attempt.
    pub event_id: String,
    /// This attempt's own id.
    pub delivery_id: String,
    /// The webhook.
    pub webhook_id: String,
    /// What happened.
    pub trigger: String,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// What the receiver answered; `None` if it did not.
    pub status: Option<u16>,
    /// When the attempt began.
    pub at: Timestamp,
}

/// Why waiting for a delivery ended without one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Undelivered {
    /// There is no such event.
    #[error("there is no event {0}")]
    Unknown(String),
    /// The receiver refused it every time, or its webhook is gone.
    #[error("event {0} was given up")]
    GivenUp(String),
    /// It takes longer than the caller would wait.
    #[error("event {0} was not delivered in time")]
    TimedOut(String),
}

impl FakeBox {
    /// Every attempt at a delivery, in order.
    pub fn deliveries(&self) -> Vec<DeliveryLog> {
        self.inner().with(|state| state.events.log())
    }

    /// Every event raised for a webhook, in order, sent or not.
    pub fn events(&self) -> Vec<Event> {
        self.inner().with(|state| state.events.all())
    }

    /// A raised event, signed now, to be sent by hand.
    pub fn delivery(&self, event_id: &str) -> Option<Delivery> {
        self.inner().with(|state| {
            let body = state.events.get(event_id)?.body.clone();
            Some(state.sign(body, Timestamp::now()))
        })
    }

    /// Any body, signed as at this time.
    pub fn sign(&self, body: impl Into<Vec<u8>>, at: Timestamp) -> Delivery {
        self.inner().with(|state| state.sign(body.into(), at))
    }

    /// Sends an event, also one that was delivered. Tells whether it exists.
    pub fn redeliver(&self, event_id: &str) -> bool {
        self.inner().with(|state| state.events.send(event_id))
    }

    /// Waits until the receiver has taken the event.
    ///
    /// # Errors
    ///
    /// When the event is given up or the time is over.
    pub async fn wait_delivered(
        &self,
        event_id: &str,
        timeout: Duration,
    ) -> Result<(), Undelivered> {
        let known = self
            .inner()
            .with(|state| state.events.get(event_id).is_some());
        if !known {
            return Err(Undelivered::Unknown(event_id.to_owned()));
        }
        self.wait(timeout, |event| event == event_id).await
    }

    /// Waits until the receivers have taken every event that was to be sent.
    ///
    /// # Errors
    ///
    /// When one is given up or the time is over.
    pub async fn wait_all_delivered(&self, timeout: Duration) -> Result<(), Undelivered> {
        self.wait(timeout, |_| true).await
    }

    async fn wait(
        &self,
        timeout: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), Undelivered> {
        let deadline = Instant::now() + timeout;
        let mut settled = self.inner().settled.subscribe();
        loop {
            settled.mark_unchanged();
            match self.inner().with(|state| state.events.open(&wanted)) {
                None => return Ok(()),
                Some((event, Progress::GivenUp)) => return Err(Undelivered::GivenUp(event)),
                Some((event, _)) => {
                    if timeout_at(deadline, settled.changed()).await.is_err() {
                        return Err(Undelivered::TimedOut(event));
                    }
                }
            }
        }
    }
}

impl State {
    fn sign(&mut self, body: Vec<u8>, at: Timestamp) -> Delivery {
        Delivery::new(
            self.ids.uuid(),
            self.config.signature_keys.as_ref(),
            body,
            at,
        )
    }

    /// Where the event goes and what is sent, or nothing when its webhook is gone.
    fn attempt(&mut self, event_id: &str) -> Option<(String, Delivery, DeliveryLog)> {
        let event = self.events.get(event_id)?.clone();
        let webhook = self.webhooks.get(&event.webhook_id.parse().ok()?)?;
        let address = webhook.address.clone();
        let at = Timestamp::now();
        let delivery = self.sign(event.body, at);
        let entry = DeliveryLog {
            event_id: event.id,
            delivery_id: delivery
                .header("box-delivery-id")
                .unwrap_or_default()
                .to_owned(),
            webhook_id: event.webhook_id,
            trigger: event.trigger,
            attempt: event.attempts + 1,
            status: None,
            at,
        };
        Some((address, delivery, entry))
    }
}

/// Takes up events until the fake stops.
pub(super) async fn run(inner: Arc<Inner>) {
    // Made when first needed: it may need a TLS provider, and most fakes send nothing.
    let mut client = None;
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut sending = JoinSet::new();
    loop {
        while let Some(event) = inner.with(|state| state.events.outbox.pop_front()) {
            let client = client.get_or_insert_with(|| http_client(inner.config.delivery_timeout));
            let sender = Sender {
                inner: Arc::clone(&inner),
                client: client.clone(),
                permits: Arc::clone(&permits),
            };
            sending.spawn(sender.deliver(event));
        }
        tokio::select! {
            () = inner.outbox.notified() => {}
            Some(_) = sending.join_next() => {}
        }
    }
}

struct Sender {
    inner: Arc<Inner>,
    /// None when no HTTP client can be made here.
    client: Option<reqwest::Client>,
    permits: Arc<Semaphore>,
}

impl Sender {
    async fn deliver(self, event_id: String) {
        let mut progress = Progress::GivenUp;
        for attempt in 0..=RETRIES {
            if attempt > 0 {
                sleep(self.inner.config.delivery_retry).await;
            }
            let Ok(_permit) = self.permits.acquire().await else {
                break;
            };
            let next = self.inner.with(|state| state.attempt(&event_id));
            let Some((address, delivery, mut entry)) = next else {
                break;
            };
            entry.status = self.post(&address, delivery).await;
            let taken = entry
                .status
                .is_some_and(|status| (200..300).contains(&status));
            self.inner.with(|state| state.events.attempted(entry));
            if taken {
                progress = Progress::Delivered;
                break;
            }
        }
        self.inner
            .with(|state| state.events.settle(&event_id, progress));
        self.inner.settled.send_replace(());
    }

    async fn post(&self, address: &str, delivery: Delivery) -> Option<u16> {
        let mut request = self.client.as_ref()?.post(address).body(delivery.body);
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.ok()?;
        Some(answer.status().as_u16())
    }
}

fn http_client(timeout: Duration) -> Option<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .build()
        .ok()
}
