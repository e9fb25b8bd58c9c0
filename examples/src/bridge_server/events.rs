//! The sources of records' events, as far as they are configured.

use std::sync::Arc;

use axum::Router;
use bridge::{
    Circuits, Queue, Records, Rule, SalesforceCrm,
    source::{EventBus, OutboundReceiver, Poll, Topic},
};
use salesforce_client::{OutboundReader, RecordId, SalesforceClient, pubsub::PubSub};
use secrecy::SecretString;

use crate::{
    config::{self, Config},
    in_one_line,
    store::Store,
};

/// What our own changes are called in Change Data Capture.
pub(crate) const CLIENT_NAME: &str = "bridge-server";

/// What is known to be right before anything starts.
pub(crate) struct Sources {
    records: Arc<dyn Records>,
    outbound: Option<Inlet>,
    bus: Option<PubSub>,
}

struct Inlet {
    secrets: Vec<SecretString>,
    reader: OutboundReader,
}

/// What runs beside the worker.
pub(crate) struct Running {
    poll: Option<Poll>,
    bus: Option<EventBus>,
}

impl Sources {
    /// Within the runtime, for the event bus's connection.
    pub(crate) fn new(
        config: &Config,
        client: &SalesforceClient,
        circuits: &Circuits,
    ) -> Result<Self, String> {
        let events = &config.salesforce.events;
        let bus = events.pubsub.as_ref().map(|it| {
            let bus = client.pubsub().endpoint(&it.endpoint).build();
            bus.map_err(|error| format!("pubsub: {}", in_one_line(&error)))
        });
        let outbound = events
            .outbound
            .as_ref()
            .map(|it| inlet(it).map_err(|problem| format!("outbound: {problem}")));
        Ok(Self {
            records: circuits.records(Arc::new(SalesforceCrm::new(client.clone()))),
            outbound: outbound.transpose()?,
            bus: bus.transpose()?,
        })
    }

    /// The route for outbound messages, if there is one.
    pub(crate) fn route(&self, config: &Config, store: &Store) -> Result<Router, String> {
        let (Some(inlet), Some(outbound)) = (&self.outbound, &config.salesforce.events.outbound)
        else {
            return Ok(Router::new());
        };
        let mut secrets = inlet.secrets.iter().cloned();
        let first = secrets.next().unwrap_or_default();
        let receiver = OutboundReceiver::new(first, inlet.reader.clone(), store.queue.clone());
        let receiver = secrets.fold(receiver, |receiver, it| receiver?.or_secret(it));
        let receiver = receiver
            .map_err(|weak| format!("salesforce: outbound: {weak}"))?
            .clock(Arc::clone(&store.clock))
            .body_limit(outbound.body_limit)
            .body_timeout(config.server.idle_timeout.0)
            .store_within(config.webhook.store_within.0);
        Ok(bridge::axum::outbound_route(&outbound.path, receiver))
    }

    /// Beside a worker that goes by these rules.
    pub(crate) fn running(&self, config: &Config, store: &Store, rules: &[Rule]) -> Running {
        let events = &config.salesforce.events;
        let queue: Arc<dyn Queue> = store.queue.clone();
        let parts = || {
            (
                Arc::clone(&self.records),
                Arc::clone(&queue),
                Arc::clone(&store.ledger),
            )
        };
        let poll = events.poll.as_ref().map(|it| {
            let (records, queue, ledger) = parts();
            let poll = Poll::new(records, queue, ledger, it.objects.clone())
                .every(it.every.0)
                .clock(Arc::clone(&store.clock));
            match it.since {
                Some(since) => poll.since(since),
                None => poll,
            }
        });
        let bus = events.pubsub.as_ref().zip(self.bus.clone());
        let bus = bus.map(|(it, bus)| {
            let (records, queue, ledger) = parts();
            let bus = EventBus::new(bus, records, queue, ledger);
            let mut bus = bus
                .clock(Arc::clone(&store.clock))
                .for_rules(rules.to_vec());
            for it in &it.topics {
                bus = bus.topic(topic(it));
            }
            if it.ignore_own {
                bus = bus.not_by(CLIENT_NAME);
            }
            match it.since {
                Some(since) => bus.since(since),
                None => bus,
            }
        });
        Running { poll, bus }
    }
}

impl Running {
    pub(crate) async fn run<S: Future<Output = ()>>(self, until: impl Fn() -> S) {
        let poll = async {
            if let Some(poll) = &self.poll {
                poll.run(until()).await;
            }
        };
        let bus = async {
            if let Some(bus) = &self.bus {
                bus.run(until()).await;
            }
        };
        tokio::join!(poll, bus);
    }
}

fn inlet(outbound: &config::Outbound) -> Result<Inlet, String> {
    let id = |text: &str| RecordId::new(text).map_err(|error| format!("{text}: {error}"));
    let mut reader = OutboundReader::new(&id(&outbound.organization_id)?);
    for action in &outbound.action_ids {
        reader = reader.action(&id(action)?);
    }
    let mut secrets = vec![outbound.secret.read()?];
    if let Some(secret) = &outbound.previous_secret {
        secrets.push(secret.read()?);
    }
    Ok(Inlet { secrets, reader })
}

fn topic(it: &config::Topic) -> Topic {
    let told = match it {
        config::Topic::Name(name) => return Topic::new(name),
        config::Topic::Told(told) => told,
    };
    let mut topic = Topic::new(&told.topic);
    if !told.objects.is_empty() {
        topic = topic.objects(told.objects.clone());
    }
    match &told.record_field {
        Some(field) => topic.record_field(field),
        None => topic,
    }
}
