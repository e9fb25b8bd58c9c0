//! Outbound messages: what an org sends by itself, as SOAP, when a flow says so.

mod parse;

use std::{collections::BTreeSet, fmt};

use secrecy::SecretString;
use url::Url;

use crate::{AccessToken, RecordId, error::Result};

/// Reads outbound messages of one org.
///
/// Nothing signs such a message. What it says is a hint that the org sent it: keep the endpoint's
/// URL secret, and read the records through the API before acting on them.
///
/// ```
/// # use salesforce_client::{OUTBOUND_ACK, OutboundReader, RecordId};
/// # fn example(body: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let org = RecordId::new("00Dxx0000001gPLEAY")?;
/// let message = OutboundReader::new(&org).read(body)?;
/// for notification in &message.notifications {
///     // … store it durably; it can come twice, with the same id …
///     println!("{}: {:?}", notification.id, notification.record_id());
/// }
/// // … and only then answer 200 with this body, as `text/xml` …
/// let answer = OUTBOUND_ACK;
/// # Ok(())
/// # }
/// ```
///
/// Vendor: SOAP API Developer Guide, "Outbound Messaging".
#[derive(Clone, Debug)]
#[must_use]
pub struct OutboundReader {
    organization: RecordId,
    actions: BTreeSet<RecordId>,
    max_bytes: usize,
}

/// A hundred records with a few long texts each.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What acknowledges all notifications of a message, as `text/xml` with status 200. Anything else
/// brings the message again, for 24 hours.
pub const OUTBOUND_ACK: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>"#,
    r#"<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">"#,
    "<Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>",
);

impl OutboundReader {
    /// Reads messages of this org and no other.
    pub fn new(organization: &RecordId) -> Self {
        Self {
            organization: organization.clone(),
            actions: BTreeSet::new(),
            max_bytes: MAX_BYTES,
        }
    }

    /// Takes messages of this action (`04k…`), and of no other that is not named as well.
    pub fn action(mut self, action: &RecordId) -> Self {
        self.actions.insert(action.clone());
        self
    }

    /// The longest message that is read: 16 MiB unless set.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Reads and checks a message.
    pub fn read(&self, body: &[u8]) -> Result<OutboundMessage, OutboundError> {
        if body.len() > self.max_bytes {
            return Err(OutboundError::TooLarge);
        }
        let message = parse::parse(body)?;
        if message.organization_id != self.organization {
            return Err(OutboundError::Organization);
        }
        if !self.actions.is_empty() && !self.actions.contains(&message.action_id) {
            return Err(OutboundError::Action);
        }
        Ok(message)
    }
}

/// Why a message is not taken. Nothing of the message is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// It is longer than allowed.
    #[error("the message is longer than allowed")]
    TooLarge,
    /// It is no XML in UTF-8, or breaks off.
    #[error("the message is no well-formed XML in UTF-8")]
    Malformed,
    /// It has what such a message never has and parsers have been attacked with: a document type,
    /// an entity of its own, a processing instruction, or depth beyond all measure.
    #[error("the message has XML in it that no outbound message has")]
    Hostile,
    /// It is XML, and no outbound message: this is missing, twice there, or not what it should be.
    #[error("the message is no outbound message: {0}")]
    Invalid(&'static str),
    /// It comes from another org.
    #[error("the message comes from another org")]
    Organization,
    /// It comes from another action.
    #[error("the message comes from another action")]
    Action,
}

/// A message: up to a hundred notifications about records of one object.
#[derive(Clone)]
#[non_exhaustive]
pub struct OutboundMessage {
    /// The org.
    pub organization_id: RecordId,
    /// The action of the org that sent it.
    pub action_id: RecordId,
    /// Where the org's SOAP API is.
    pub partner_url: Option<String>,
    /// The notifications, in no certain order.
    pub notifications: Vec<OutboundNotification>,
    session_id: Option<SecretString>,
}

impl OutboundMessage {
    /// A token of the user who caused the message, if the action is told to send one. It works for
    /// calls of the API until that user's session ends.
    pub fn session_id(&self) -> Option<&SecretString> {
        self.session_id.as_ref()
    }

    /// The same with the org's host, for a [`StaticToken`](crate::StaticToken) or a
    /// [`TokenSource`](crate::TokenSource) of your own. A message is not signed: the token goes to
    /// the host that it names only if that is one of Salesforce's.
    pub fn access_token(&self) -> Option<Result<AccessToken>> {
        let session = self.session_id.clone()?;
        let url = Url::parse(self.partner_url.as_deref()?).ok()?;
        let host = url.host_str().filter(|host| {
            host.ends_with(".salesforce.com") || host.ends_with(".salesforce.mil")
        })?;
        if url.scheme() != "https" {
            return None;
        }
        Some(AccessToken::new(session, &format!("https://{host}"), None))
    }
}

impl fmt::Debug for OutboundMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundMessage")
            .field("organization_id", &self.organization_id)
            .field("action_id", &self.action_id)
            .field("notifications", &self.notifications.len())
            .finish_non_exhaustive()
    }
}

/// What a message says of one record.
#[derive(Clone)]
#[non_exhaustive]
pub struct OutboundNotification {
    /// Its own id (`04l…`). When Salesforce sends it again, it is the same.
    pub id: RecordId,
    /// The record's object.
    pub object: String,
    /// The fields that the action names, in their order, as text; `None` where they are empty. They
    /// are as of the time of sending.
    pub fields: Vec<(String, Option<String>)>,
}

impl OutboundNotification {
    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.and_then(|(_, value)| value.as_deref())
    }

    /// The record.
    pub fn record_id(&self) -> Option<RecordId> {
        RecordId::new(self.field("Id")?).ok()
    }
}

impl fmt::Debug for OutboundNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundNotification")
            .field("id", &self.id)
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}
