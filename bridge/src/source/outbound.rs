use std::{fmt, sync::Arc, time::Duration};

use hmac::Mac;
use http::StatusCode;
use jiff::Timestamp;
use salesforce_client::{OUTBOUND_ACK, OutboundError, OutboundReader};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    clock::{Clock, SystemClock},
    crm::Record,
    queue::{Push, Queue},
    record_event::{Change, RecordEvent},
    shared_secret::digest,
    store_error::StoreError,
};

const SHORTEST_SECRET: usize = 16;

/// Takes outbound messages in: checks who sent them, puts what they tell into the inbox, all of it
/// at once, and only then gives the answer that acknowledges them. It knows no web framework;
/// [`axum::outbound_route`](crate::axum::outbound_route) puts it behind one.
///
/// Nobody signs an outbound message. Trust comes from a secret that only the org knows, in the
/// path of the URL that it calls (or in a header, where a proxy adds one), and from the org's id.
/// Even so a message is a hint and no more: of what it says only the ids of the records are kept,
/// and the records are read through the API. The session id that it may have is dropped unread.
///
/// The same notification comes again until it is acknowledged, and now and then after that; it
/// goes by its own id, for the times in it are those of the sending. What the org did is not told:
/// a pipeline with [records](crate::Pipeline::records) finds it by the record's times, and without
/// them rules are started as `Opportunity.CHANGED`. A record that is not older than a day may be
/// told of as created.
///
/// ```
/// # use std::sync::Arc;
/// # use bridge::{Queue, source::OutboundReceiver};
/// # use salesforce_client::{OutboundReader, RecordId};
/// # fn example(inbox: Arc<dyn Queue>, secret: secrecy::SecretString) -> Result<(), Box<dyn std::error::Error>> {
/// let org = RecordId::new("00Dxx0000001gPLEAY")?;
/// let receiver = OutboundReceiver::new(secret, OutboundReader::new(&org), inbox)?;
/// # Ok(())
/// # }
/// ```
///
/// Vendor: SOAP API Developer Guide, "Outbound Messaging".
#[derive(Clone)]
#[must_use]
pub struct OutboundReceiver {
    secrets: Vec<SecretString>,
    reader: OutboundReader,
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    body_limit: usize,
    body_timeout: Duration,
    store_within: Duration,
}

/// A message that is safe with us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// Notifications that were new.
    pub new: usize,
    /// Notifications that were known already.
    pub known: usize,
}

impl Told {
    /// What to answer with, as `text/xml` and with status 200. Nothing else acknowledges a message.
    pub const ACK: &str = OUTBOUND_ACK;
}

/// A secret that is too short to be none but ours: at least 16 characters are wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the secret is shorter than {SHORTEST_SECRET} characters")]
pub struct WeakSecret;

/// Why a message was not taken. Nothing was stored, and nothing may be acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundRefusal {
    /// Whoever sent it does not know the secret.
    #[error("the sender does not know the secret")]
    Secret,
    /// Larger than is read.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// What is read.
        limit: usize,
    },
    /// Did not come in time.
    #[error("the body did not come within {} seconds", .within.as_secs_f32())]
    TooSlow {
        /// What is waited for.
        within: Duration,
    },
    /// The body broke off.
    #[error("the body broke off")]
    BrokenOff,
    /// No outbound message, or one of another org or action.
    #[error("the message is not taken")]
    Message(#[from] OutboundError),
    /// It tells of a record without an id.
    #[error("the message tells of a record without an id")]
    NoRecord,
    /// The inbox could not take it: the org has to send it again.
    #[error("the inbox cannot take it now")]
    Store(#[from] StoreError),
}

impl OutboundRefusal {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Secret => StatusCode::UNAUTHORIZED,
            Self::Message(OutboundError::Organization | OutboundError::Action) => {
                StatusCode::FORBIDDEN
            }
            Self::TooLarge { .. } | Self::Message(OutboundError::TooLarge) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenOff | Self::Message(_) | Self::NoRecord => StatusCode::BAD_REQUEST,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A word for metrics and answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret => "wrong_secret",
            Self::TooLarge { .. } | Self::Message(OutboundError::TooLarge) => "too_large",
            Self::TooSlow { .. } => "too_slow",
            Self::BrokenOff => "broken_off",
            Self::Message(OutboundError::Organization) => "wrong_org",
            Self::Message(OutboundError::Action) => "wrong_action",
            Self::Message(OutboundError::Hostile) => "hostile",
            Self::Message(_) => "no_message",
            Self::NoRecord => "no_record",
            Self::Store(_) => "store_unavailable",
        }
    }
}

impl OutboundReceiver {
    /// A hundred records with a few long texts each.
    pub const DEFAULT_BODY_LIMIT: usize = 4 * 1024 * 1024;
    /// How long a body may take.
    pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(30);
    /// Where the store is in trouble, messages are not to pile up: the org sends them again.
    pub const DEFAULT_STORE_WITHIN: Duration = Duration::from_secs(2);

    /// A receiver for messages that come with `secret` and that `reader` takes.
    pub fn new(
        secret: impl Into<SecretString>,
        reader: OutboundReader,
        queue: Arc<dyn Queue>,
    ) -> Result<Self, WeakSecret> {
        let receiver = Self {
            secrets: Vec::new(),
            reader: reader.max_bytes(usize::MAX),
            queue,
            clock: Arc::new(SystemClock),
            body_limit: Self::DEFAULT_BODY_LIMIT,
            body_timeout: Self::DEFAULT_BODY_TIMEOUT,
            store_within: Self::DEFAULT_STORE_WITHIN,
        };
        receiver.or_secret(secret)
    }

    /// Takes messages with this secret too, so that it can be changed in the org.
    pub fn or_secret(mut self, secret: impl Into<SecretString>) -> Result<Self, WeakSecret> {
        let secret = secret.into();
        if secret.expose_secret().len() < SHORTEST_SECRET {
            return Err(WeakSecret);
        }
        self.secrets.push(secret);
        Ok(self)
    }

    /// By another clock: that of those who work on the inbox.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// When it is, for the inbox.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// With another limit for bodies.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// With another time within which a body has to have come.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// With another time that the inbox has for storing what a message tells.
    pub fn store_within(mut self, time: Duration) -> Self {
        self.store_within = time;
        self
    }

    /// How long a server should wait for [`receive`](Self::receive) before it answers 503, so that
    /// the org sends the message again. What is stored all the same is known then.
    pub fn patience(&self) -> Duration {
        self.store_within
    }

    /// The most that [`receive`](Self::receive) takes; a server need not read more.
    pub fn limit(&self) -> usize {
        self.body_limit
    }

    /// How long a server should read a body at most.
    pub fn timeout(&self) -> Duration {
        self.body_timeout
    }

    /// Whether this is the secret: to be asked before a body is read.
    pub fn check(&self, secret: &str) -> Result<(), OutboundRefusal> {
        let given = digest(secret);
        // All of them, so that the time does not tell which.
        let fits = self.secrets.iter().fold(false, |fits, own| {
            let own = digest(own.expose_secret()).finalize().into_bytes();
            given.clone().verify_slice(&own).is_ok() | fits
        });
        fits.then_some(()).ok_or(OutboundRefusal::Secret)
    }

    /// Takes one message. `Ok` means that all it tells is durable: answer with [`Told::ACK`]. An
    /// error carries the status to answer with.
    pub async fn receive(
        &self,
        secret: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Told, OutboundRefusal> {
        self.check(secret)?;
        if body.len() > self.body_limit {
            return Err(OutboundRefusal::TooLarge {
                limit: self.body_limit,
            });
        }
        let message = self.reader.read(body)?;
        let mut jobs = Vec::with_capacity(message.notifications.len());
        for notification in &message.notifications {
            let id = notification.record_id().ok_or(OutboundRefusal::NoRecord)?;
            let record = Record {
                id: id.to_string(),
                object: Some(notification.object.clone()),
            };
            let name = format!("notification {}", notification.id);
            jobs.push(RecordEvent::new(name, record, Change::Changed).job()?);
        }
        let pushed = self.queue.push(jobs, now).await?;
        let new = pushed.iter().filter(|it| matches!(it, Push::Queued(_)));
        let new = new.count();
        Ok(Told {
            new,
            known: pushed.len() - new,
        })
    }
}

impl fmt::Debug for OutboundReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundReceiver")
            .field("reader", &self.reader)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}
