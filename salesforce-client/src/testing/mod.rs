//! A strict, stateful fake of a Salesforce org on loopback, for tests.
//!
//! Any client in any language can be pointed at it. It keeps records, files,
//! sessions and limits, and what Salesforce would refuse it refuses with the
//! status and the error body of Salesforce. Faults can be asked for: lost
//! answers, late commits, dying sessions, limits, broken connections.
//!
//! ```
//! use salesforce_client::testing::{FakeSalesforce, Fault, FaultEffect};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let org = FakeSalesforce::builder().client("app", "secret").start().await?;
//! let account = org.create("Account", json!({ "Name": "Acme" }))?;
//! org.inject(Fault::on("*/sobjects/Task", FaultEffect::LostAnswer).method("POST"));
//!
//! // … point a client at `org.url()`, with `org.issue_token()` or the app above …
//!
//! assert_eq!(org.record(&account).unwrap()["Name"], "Acme");
//! assert!(org.records("Task").is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Programs in other languages steer it over HTTP on the same port:
//!
//! | call | does |
//! | --- | --- |
//! | `POST /_fake/tokens` | answers `access_token`, `refresh_token`, `instance_url` |
//! | `DELETE /_fake/tokens` | ends all sessions |
//! | `POST /_fake/records/{object}` | creates a record as a person, answers its `id` |
//! | `PATCH`, `DELETE /_fake/records/{id}` | changes or deletes one as a person |
//! | `POST /_fake/records/{id}/undelete` | takes one out of the recycle bin |
//! | `POST /_fake/records/{lead}/convert` | converts a lead as a person, answers the ids of what it became |
//! | `POST /_fake/custom_fields/{object}` | adds a [`Field`] |
//! | `POST /_fake/custom_objects` | adds a [`CustomObject`] |
//! | `POST`, `DELETE /_fake/faults` | adds a [`Fault`] or a list of them; clears them |
//! | `GET`, `DELETE /_fake/requests` | what was sent; forgets it |
//! | `PUT /_fake/api_calls` | sets the `used` calls of the day and how many are `allowed`, if given |
//! | `PUT /_fake/captured_changes` | selects a list of objects for Change Data Capture |
//! | `POST /_fake/platform_events` | adds a `PlatformEvent` |
//! | `POST /_fake/stream_faults` | adds a `StreamFault`, which `DELETE /_fake/faults` clears as well |
//! | `DELETE /_fake/events` | lets go of all events, as after 72 hours |
//! | `GET /_fake/subscriptions` | the subscriptions that there were |
//! | `GET /_fake/state` | `records` by object, `files`, `api_calls` |
//!
//! With the feature `pubsub` the Pub/Sub API is served on another port, `FakeSalesforce::pubsub_url`:
//! changes of the objects that were selected, and platform events.
//!
//! Bulk jobs move on each time they are asked after. Searches find words, phrases and wildcards in
//! what is stored now; where Salesforce takes minutes to index a record, the fake takes none. The
//! Tooling API creates text fields and answers queries on `CustomField`, `EntityDefinition`,
//! `FieldDefinition`, permission sets and users.
//!
//! Not there: lists of Bulk jobs, Bulk 1.0 other than zips (feature `bulk-v1`), `WITH` and `UPDATE`
//! of SOSL, searches with parameters in the URI, gzip, XML, aggregates other than `COUNT()`, date
//! literals such as `TODAY`, sharing rules, triggers.

mod admission;
mod auth;
mod base64_json;
mod batch;
mod blob;
mod builder;
mod bulk;
mod checks;
mod collections;
mod composite;
mod control;
mod convert;
mod describe;
#[cfg(feature = "pubsub")]
mod event_bus;
mod far_side;
mod fault;
mod file_state;
mod files;
mod ids;
mod jwt;
mod limits;
mod log;
mod login;
mod multipart;
mod oauth;
mod outbound;
mod query;
mod refusal;
mod related;
mod replication;
mod reply;
mod rest;
mod rules;
mod schema;
mod search;
mod seed;
mod server;
mod sobjects;
mod soql;
mod state;
mod store;
mod token_store;
mod tooling;
mod tree;
mod ui_api;
mod upload;
mod values;
mod view;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

pub use builder::FakeSalesforceBuilder;
pub use convert::{Converted, LeadConversion};
#[cfg(feature = "pubsub")]
pub use event_bus::{PlatformEvent, StreamEnd, StreamFault, SubscriptionState};
pub use fault::{Fault, FaultEffect};
pub use file_state::{FileState, LinkState, VersionState};
pub use log::RecordedRequest;
pub use outbound::Delivered;
pub use refusal::{Refusal, RefusalError};
pub use schema::{CustomObject, Field, FieldType};
pub use token_store::token_store_contract;

use state::Shared;
use store::{Record, Values};

/// A running fake org. Clones are handles of the same org, which goes away with
/// the last of them.
#[derive(Clone)]
pub struct FakeSalesforce {
    shared: Arc<Shared>,
    stop: Arc<watch::Sender<bool>>,
}

impl FakeSalesforce {
    /// Starts with settings.
    pub fn builder() -> FakeSalesforceBuilder {
        FakeSalesforceBuilder::default()
    }

    /// Starts without settings, on the current Tokio runtime.
    pub async fn start() -> std::io::Result<Self> {
        Self::builder().start().await
    }

    fn new(shared: Arc<Shared>, stop: watch::Sender<bool>) -> Self {
        Self {
            shared,
            stop: Arc::new(stop),
        }
    }

    /// Where it listens, such as `http://127.0.0.1:40123`: login host and instance.
    pub fn url(&self) -> &str {
        &self.shared.config.url
    }

    /// Id of the org.
    pub fn org_id(&self) -> &str {
        &self.shared.config.org_id
    }

    /// Id of the user that integrations act as: the first JWT user, if any.
    pub fn integration_user(&self) -> &str {
        &self.shared.config.integration_user
    }

    /// Id of the person who does what is asked for through this handle.
    pub fn other_user(&self) -> &str {
        &self.shared.config.other_user
    }

    /// Closes the port and all connections.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Opens a session of the integration user and gives back its access token.
    pub fn issue_token(&self) -> String {
        far_side::issue_token(&self.shared)
    }

    /// A refresh token of the integration user, good for any registered app.
    pub fn issue_refresh_token(&self) -> String {
        far_side::issue_refresh_token(&self.shared)
    }

    /// Whether this access or refresh token would be taken now.
    pub fn is_living(&self, token: &str) -> bool {
        let lifetime = self.shared.config.session_lifetime;
        self.shared.lock().auth.is_living(token, lifetime)
    }

    /// Ends all sessions; refresh tokens live on.
    pub fn expire_sessions(&self) {
        self.shared.lock().auth.expire_all();
    }

    /// Creates a record as a person would, and gives back its id.
    ///
    /// A person may also set what is read-only for the API, such as
    /// `LastModifiedDate`. A file is a `ContentVersion` with base64 `VersionData`.
    pub fn create(&self, object: &str, values: Value) -> Result<String, Refusal> {
        far_side::create(&self.shared, object, &members(values)?)
    }

    /// Changes a record as a person would.
    pub fn update(&self, id: &str, values: Value) -> Result<(), Refusal> {
        far_side::update(&self.shared, id, &members(values)?)
    }

    /// Deletes a record as a person would.
    pub fn delete(&self, id: &str) -> Result<(), Refusal> {
        far_side::delete(&self.shared, id)
    }

    /// Takes a record out of the recycle bin as a person would, with what went there together with
    /// it; files stay there.
    pub fn undelete(&self, id: &str) -> Result<(), Refusal> {
        far_side::undelete(&self.shared, id)
    }

    /// All fields of a record that is not deleted; the id in either form.
    pub fn record(&self, id: &str) -> Option<Value> {
        let id = ids::normalise(id)?;
        self.shared.lock().org.get_living(&id).map(fields)
    }

    /// The records of an object that are not deleted, oldest first.
    pub fn records(&self, object: &str) -> Vec<Value> {
        let state = self.shared.lock();
        let def = state.org.schema.object(object);
        def.into_iter()
            .flat_map(|def| state.org.living(&def.name))
            .map(fields)
            .collect()
    }

    /// The files that are not deleted, oldest first.
    pub fn files(&self) -> Vec<FileState> {
        file_state::all(&self.shared.lock().org)
    }

    /// Content of a version, if it was kept.
    pub fn bytes(&self, version: &str) -> Option<Bytes> {
        let id = ids::normalise(version)?;
        self.shared.lock().org.blobs.get(&id)?.bytes.clone()
    }

    /// Adds a file of another user to a record; queries of the integration user
    /// do not see it unless they ask by id. Gives back the id of the version.
    pub fn add_file_as_other_user(
        &self,
        record: &str,
        path_on_client: &str,
        content: &[u8],
    ) -> Result<String, Refusal> {
        let values = json!({ "PathOnClient": path_on_client, "FirstPublishLocationId": record });
        far_side::add_version(&self.shared, &members(values)?, content)
    }

    /// Adds a version to a file as another user; gives back its id.
    pub fn add_version_as_other_user(
        &self,
        document: &str,
        path_on_client: &str,
        content: &[u8],
    ) -> Result<String, Refusal> {
        let values = json!({ "PathOnClient": path_on_client, "ContentDocumentId": document });
        far_side::add_version(&self.shared, &members(values)?, content)
    }

    /// Adds a custom field; those of Task and Event belong to the object `Activity`.
    pub fn add_custom_field(&self, object: &str, field: Field) -> Result<(), Refusal> {
        far_side::add_custom_field(&self.shared, object, field)
    }

    /// Adds an object with its fields, such as one of a managed package.
    pub fn add_custom_object(&self, object: CustomObject) -> Result<(), Refusal> {
        far_side::add_custom_object(&self.shared, object)
    }

    /// API calls that were counted against the daily limit.
    pub fn calls(&self) -> u64 {
        self.shared.lock().calls
    }

    /// Sets how many calls of the day are used, as others use them too, and how many are allowed.
    /// Without any used another day begins.
    pub fn set_calls(&self, used: u64, allowed: u64) {
        let mut state = self.shared.lock();
        (state.calls, state.daily_limit) = (used, allowed);
    }

    /// The last 10,000 requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.lock().log.all()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.shared.lock().log.clear();
    }

    /// Adds a fault; the first one that matches a request and is not spent acts.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.add(fault);
    }

    /// Takes back all faults.
    pub fn clear_faults(&self) {
        self.shared.lock().clear_faults();
    }
}

impl fmt::Debug for FakeSalesforce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSalesforce")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

fn members(values: Value) -> Result<Values, Refusal> {
    match values {
        Value::Object(members) => Ok(members),
        other => Err(Refusal::unparsable("object", &other.to_string())),
    }
}

fn fields(record: &Record) -> Value {
    json!(record.values)
}
