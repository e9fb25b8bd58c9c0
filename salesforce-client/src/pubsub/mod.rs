//! The Pub/Sub API: changes of records and platform events as they happen, over gRPC.
//!
//! ```no_run
//! use futures_util::TryStreamExt;
//! use salesforce_client::{SalesforceClient, pubsub::{Delivery, Replay, ReplayId}};
//!
//! # fn stored() -> Option<ReplayId> { None }
//! # fn store(id: &ReplayId) {}
//! # async fn example(client: SalesforceClient) -> Result<(), Box<dyn std::error::Error>> {
//! let pubsub = client.pubsub().build()?;
//! let replay = stored().map_or(Replay::Earliest, Replay::After);
//! let subscription = pubsub.subscribe("/data/OpportunityChangeEvent").replay(replay);
//! let mut events = std::pin::pin!(subscription.stream());
//! while let Some(delivery) = events.try_next().await? {
//!     if let Delivery::Event(event) = &delivery
//!         && let Some(change) = event.change()?
//!     {
//!         println!("{:?} {:?}: {:?}", change.change_type, change.record_ids, change.changed_fields);
//!     }
//!     // When the work is durable, not before.
//!     store(delivery.replay_id());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Salesforce keeps events for 72 hours and delivers a limited number of them in 24. Not there:
//! `PublishStream`, and `ManagedSubscribe`, which is in beta.

mod change;
mod event;
pub(crate) mod proto;
mod publish;
mod rpc;
mod schema;
mod subscribe;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::OnceCell;
use tonic::transport::{ClientTlsConfig, Endpoint};

pub use self::{
    change::{ChangeEventHeader, ChangeType},
    event::{Event, ReplayId},
    publish::{Published, Topic},
    subscribe::{Delivery, Replay, Subscribe},
};
use self::{rpc::Rpc, schema::Schemas};
use crate::{
    error::{Error, ErrorKind, Result},
    token::http_url,
    transport::Transport,
};

const ENDPOINT: &str = "https://api.pubsub.salesforce.com:443";
const ALIVE_EVERY: Duration = Duration::from_secs(30);
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// No connection is asked more often whether it lives: shorter times are a busy loop.
const ALIVE_EVERY_AT_LEAST: Duration = Duration::from_millis(10);
/// Shorter than any answer over a long way.
const ALIVE_WITHIN_AT_LEAST: Duration = Duration::from_millis(100);
/// Beyond what the clock can count, the connection would die of it.
const ALIVE_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// The org's event bus. Make one and clone it: clones share the connection and what is known of
/// schemas.
#[derive(Clone)]
pub struct PubSub {
    rpc: Arc<Rpc>,
    schemas: Arc<Schemas>,
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").finish_non_exhaustive()
    }
}

impl PubSub {
    /// Events of a topic: `/data/OpportunityChangeEvent`, `/data/ChangeEvents`, `/event/Name__e`.
    /// Names are case-sensitive.
    pub fn subscribe(&self, topic: impl Into<String>) -> Subscribe {
        Subscribe::new(self.clone(), topic.into())
    }
}

/// A [`PubSub`] that is being set up. From
/// [`SalesforceClient::pubsub`](crate::SalesforceClient::pubsub).
#[must_use]
pub struct PubSubBuilder {
    transport: Arc<Transport>,
    endpoint: String,
    tenant: OnceCell<String>,
    alive_every: Duration,
    alive_within: Duration,
}

impl fmt::Debug for PubSubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubBuilder")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl PubSubBuilder {
    pub(crate) fn new(transport: &Arc<Transport>) -> Self {
        Self {
            transport: Arc::clone(transport),
            endpoint: ENDPOINT.to_owned(),
            tenant: OnceCell::new(),
            alive_every: ALIVE_EVERY,
            alive_within: ALIVE_WITHIN,
        }
    }

    /// Another endpoint than `https://api.pubsub.salesforce.com:443`, such as
    /// `https://api.deu.pubsub.salesforce.com:443` for orgs in the European Union.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into();
        self
    }

    /// The org's id. Unless set, the token or the org itself tells it.
    pub fn tenant_id(mut self, org: impl Into<String>) -> Self {
        self.tenant = OnceCell::new_with(Some(org.into()));
        self
    }

    /// After how long without a word the far side is asked whether the connection lives, and within
    /// how long it has to say so before the connection is given up: 30 s and 20 s unless set, a
    /// day at most.
    ///
    /// Gateways and balancers forget connections that are quiet, and tell neither side. The question
    /// is a `PING` of HTTP/2, which costs no API call and no event.
    pub fn keep_alive(mut self, every: Duration, within: Duration) -> Self {
        self.alive_every = every.clamp(ALIVE_EVERY_AT_LEAST, ALIVE_AT_MOST);
        self.alive_within = within.clamp(ALIVE_WITHIN_AT_LEAST, ALIVE_AT_MOST);
        self
    }

    /// The event bus, within a Tokio runtime. The connection is made with the first call.
    pub fn build(self) -> Result<PubSub> {
        let bad = |detail| Error::new(ErrorKind::Config, "pubsub.build").detail(detail);
        tokio::runtime::Handle::try_current()
            .map_err(|cause| bad("there is no Tokio runtime").cause(cause))?;
        let url = http_url(&self.endpoint)
            .ok_or_else(|| bad("the endpoint must be an http or https URL without a query"))?;
        Ok(PubSub {
            rpc: Arc::new(Rpc::new(
                self.connecting(&url)
                    .map_err(|cause| bad("no connection").cause(cause))?,
                self.transport,
                self.tenant,
            )),
            schemas: Arc::new(Schemas::default()),
        })
    }

    fn connecting(&self, url: &url::Url) -> Result<Endpoint, tonic::transport::Error> {
        let mut endpoint = Endpoint::from_shared(url.as_str().to_owned())?
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            // A connection that somebody on the way has forgotten is silent for ever: without this
            // a new subscription would go over it as well.
            .http2_keep_alive_interval(self.alive_every)
            .keep_alive_timeout(self.alive_within)
            .keep_alive_while_idle(true);
        if url.scheme() == "https" {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        Ok(endpoint)
    }
}
