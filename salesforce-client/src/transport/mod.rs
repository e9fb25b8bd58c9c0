//! The only place that sends: token, attempt, classification, one repeat after 401, retries.

mod attempt;
mod reply;
mod sender;

use std::{sync::Arc, time::Duration};

use http::Method;
use serde::de::DeserializeOwned;

use self::reply::Read;
pub(crate) use self::{
    reply::{Reply, Whole},
    sender::Sender,
};
use crate::{
    TokenSource,
    call::Call,
    error::Result,
    governor::{Priority, Slot},
    token::{AccessToken, TokenCache},
};

/// No answer of the API that this crate decodes comes near this.
pub(crate) const JSON_LIMIT: usize = 32 * 1024 * 1024;

/// A sender with tokens: what the resource handles hold.
pub(crate) struct Transport {
    pub(crate) sender: Arc<Sender>,
    pub(crate) tokens: Arc<TokenCache>,
    /// `/services/data/vNN.0`
    pub(crate) data: String,
    pub(crate) priority: Priority,
}

impl Transport {
    pub(crate) fn new(sender: Sender, data: String, source: Arc<dyn TokenSource>) -> Self {
        let sender = Arc::new(sender);
        Self {
            tokens: Arc::new(TokenCache::new(source, Arc::clone(&sender))),
            sender,
            data,
            priority: Priority::default(),
        }
    }

    /// The same for calls of another urgency.
    pub(crate) fn with_priority(&self, priority: Priority) -> Self {
        Self {
            sender: Arc::clone(&self.sender),
            tokens: Arc::clone(&self.tokens),
            data: self.data.clone(),
            priority,
        }
    }

    /// The same for calls of another version of the API.
    pub(crate) fn with_data(&self, data: String) -> Self {
        Self {
            data,
            ..self.with_priority(self.priority)
        }
    }

    /// A call on a resource of the REST API.
    pub(crate) fn call(&self, operation: &'static str, method: Method, segments: &[&str]) -> Call {
        Call::new(operation, method, &self.data, segments)
    }

    /// Sends until there is an answer that is no failure, or no hope. The body is unread.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        let caller = (&*self.tokens, self.priority);
        self.sender.send(call, Some(caller), Read::Head).await
    }

    /// The same with the whole body, of no more than `limit` bytes. An answer that breaks off after
    /// a good head is asked for again, where that is safe.
    pub(crate) async fn whole(&self, call: &Call, limit: usize) -> Result<Whole> {
        let caller = (&*self.tokens, self.priority);
        self.sender.whole(call, Some(caller), limit).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.whole(call, JSON_LIMIT).await?.json()
    }

    /// A token and a turn for a call that is sent in its own way.
    pub(crate) async fn ready(
        &self,
        operation: &'static str,
        patience: Duration,
    ) -> Result<(AccessToken, Option<Slot>)> {
        let caller = (&*self.tokens, self.priority);
        self.sender.ready(operation, caller, patience).await
    }

    pub(crate) async fn empty(&self, call: &Call) -> Result<()> {
        self.send(call).await.map(drop)
    }
}
