use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::auth::Auth;
use super::bulk::Jobs;
#[cfg(feature = "pubsub")]
use super::event_bus::{self, PlatformEvent};
use super::fault::Faults;
use super::log::Log;
use super::query::Cursors;
use super::refusal::Refusal;
use super::schema::{CustomObject, Field, Schema};
use super::state::{Config, Shared, State};
use super::store::{Actor, Org, Record};
use super::ui_api::Kept;
use super::{FakeSalesforce, ids, seed, server};

/// Settings of a [`FakeSalesforce`] that is to be started.
#[derive(Clone)]
#[must_use]
pub struct FakeSalesforceBuilder {
    port: u16,
    instance_url: Option<String>,
    org_id: String,
    clients: Vec<(String, String)>,
    jwt_users: Vec<JwtUser>,
    redirect_uris: Vec<(String, String)>,
    subjects: Vec<String>,
    rotate_refresh_tokens: bool,
    forgive_reuse: bool,
    session_lifetime: Duration,
    versions: Vec<u32>,
    page_size: Option<usize>,
    daily_limit: u64,
    keep_bytes: bool,
    accept_chunked: bool,
    idempotent_uploads: bool,
    custom_objects: Vec<CustomObject>,
    custom_fields: Vec<(String, Field)>,
    bulk_rows_per_poll: usize,
    #[cfg(feature = "pubsub")]
    event_bus: EventBusSettings,
}

#[cfg(feature = "pubsub")]
#[derive(Clone)]
struct EventBusSettings {
    port: u16,
    captured: Vec<String>,
    platform_events: Vec<PlatformEvent>,
    keepalive: Duration,
}

#[derive(Clone)]
struct JwtUser {
    client: String,
    username: String,
    public_key: Vec<u8>,
}

impl std::fmt::Debug for FakeSalesforceBuilder {
    /// Without the secrets of the clients.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeSalesforceBuilder")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Default for FakeSalesforceBuilder {
    fn default() -> Self {
        Self {
            port: 0,
            instance_url: None,
            org_id: ids::make("00D", 1),
            clients: Vec::new(),
            jwt_users: Vec::new(),
            redirect_uris: Vec::new(),
            subjects: Vec::new(),
            rotate_refresh_tokens: false,
            forgive_reuse: false,
            // The vendor's default: two hours without use.
            session_lifetime: Duration::from_secs(2 * 60 * 60),
            versions: (31..=67).collect(),
            page_size: None,
            // What a full sandbox has, so that no suite runs into it by itself.
            daily_limit: 5_000_000,
            keep_bytes: true,
            accept_chunked: false,
            idempotent_uploads: true,
            custom_objects: Vec::new(),
            custom_fields: Vec::new(),
            bulk_rows_per_poll: usize::MAX,
            #[cfg(feature = "pubsub")]
            event_bus: EventBusSettings {
                port: 0,
                captured: Vec::new(),
                platform_events: Vec::new(),
                keepalive: event_bus::KEEPALIVE,
            },
        }
    }
}

/// Where the fake listens.
struct Urls {
    rest: String,
    #[cfg(feature = "pubsub")]
    pubsub: String,
}

impl FakeSalesforceBuilder {
    /// Sets the port; 0, the default, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets what token answers say as `instance_url`; the fake's own URL by default.
    pub fn instance_url(mut self, url: impl Into<String>) -> Self {
        self.instance_url = Some(url.into());
        self
    }

    /// Sets the id of the org.
    pub fn org_id(mut self, id: impl Into<String>) -> Self {
        self.org_id = id.into();
        self
    }

    /// Registers an app; with an empty secret it is a public one.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.clients.push((id.into(), secret.into()));
        self
    }

    /// Registers an app that may act as this user by JWT. The key is the public
    /// half of the app's certificate, DER in the form `SubjectPublicKeyInfo` or
    /// `RSAPublicKey`. Without the feature `jwt` signatures are not verified.
    pub fn jwt_user(
        mut self,
        client_id: impl Into<String>,
        username: impl Into<String>,
        public_key_der: impl Into<Vec<u8>>,
    ) -> Self {
        self.jwt_users.push(JwtUser {
            client: client_id.into(),
            username: username.into(),
            public_key: public_key_der.into(),
        });
        self
    }

    /// Registers where logins of an app may come back to.
    pub fn redirect_uri(mut self, client_id: impl Into<String>, uri: impl Into<String>) -> Self {
        self.redirect_uris.push((client_id.into(), uri.into()));
        self
    }

    /// Lets this token of another identity provider be traded in (token exchange).
    pub fn subject_token(mut self, token: impl Into<String>) -> Self {
        self.subjects.push(token.into());
        self
    }

    /// Makes each refresh token good for one refresh, which answers the next one.
    pub fn rotate_refresh_tokens(mut self, rotate: bool) -> Self {
        self.rotate_refresh_tokens = rotate;
        self
    }

    /// Whether a refresh token that was rotated away is only refused when it is used again. By
    /// default that ends the whole grant, with all sessions that came of it.
    pub fn forgive_reuse(mut self, forgive: bool) -> Self {
        self.forgive_reuse = forgive;
        self
    }

    /// Sets how long a session lives without use.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = lifetime;
        self
    }

    /// Sets the versions that are served; 31 to 67 by default. Those below the
    /// lowest count as retired.
    pub fn versions(mut self, versions: impl IntoIterator<Item = u32>) -> Self {
        self.versions = versions.into_iter().collect();
        self.versions.sort_unstable();
        self.versions.dedup();
        self
    }

    /// Makes pages of queries this long, so that few records make many pages.
    pub fn page_size(mut self, records: usize) -> Self {
        self.page_size = Some(records.max(1));
        self
    }

    /// Sets the API calls that are allowed.
    pub fn daily_limit(mut self, calls: u64) -> Self {
        self.daily_limit = calls;
        self
    }

    /// Says whether file contents up to 64 MiB are kept, as is the default, or
    /// only their size and checksum.
    pub fn keep_bytes(mut self, keep: bool) -> Self {
        self.keep_bytes = keep;
        self
    }

    /// Accepts file uploads without a `Content-Length`, which are refused with
    /// 411 by default: whether the vendor takes them is not documented.
    pub fn accept_chunked(mut self, accept: bool) -> Self {
        self.accept_chunked = accept;
        self
    }

    /// Whether uploads by the User Interface API take an `Idempotency-Key`, as is the default: it
    /// was a beta that an org could lack.
    pub fn idempotent_uploads(mut self, supported: bool) -> Self {
        self.idempotent_uploads = supported;
        self
    }

    /// Adds a custom field; those of Task and Event belong to the object `Activity`.
    pub fn custom_field(mut self, object: impl Into<String>, field: Field) -> Self {
        self.custom_fields.push((object.into(), field));
        self
    }

    /// Adds an object with its fields, such as one of a managed package.
    pub fn custom_object(mut self, object: CustomObject) -> Self {
        self.custom_objects.push(object);
        self
    }

    /// Sets how many rows of a Bulk job are done each time the job is asked after; all of them by
    /// default.
    pub fn bulk_rows_per_poll(mut self, rows: usize) -> Self {
        self.bulk_rows_per_poll = rows.max(1);
        self
    }

    /// Sets the port of the Pub/Sub API (feature `pubsub`); 0, the default, takes a free one.
    #[cfg(feature = "pubsub")]
    pub fn pubsub_port(mut self, port: u16) -> Self {
        self.event_bus.port = port;
        self
    }

    /// Selects objects whose changes are told of on the event bus (feature `pubsub`); none by
    /// default.
    #[cfg(feature = "pubsub")]
    pub fn capture_changes<T: Into<String>>(
        mut self,
        objects: impl IntoIterator<Item = T>,
    ) -> Self {
        self.event_bus.captured = objects.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a platform event (feature `pubsub`).
    #[cfg(feature = "pubsub")]
    pub fn platform_event(mut self, event: PlatformEvent) -> Self {
        self.event_bus.platform_events.push(event);
        self
    }

    /// Sets after how long a quiet subscription gets a sign of life (feature `pubsub`); 270 s by
    /// default.
    #[cfg(feature = "pubsub")]
    pub fn keepalive(mut self, keepalive: Duration) -> Self {
        self.event_bus.keepalive = keepalive;
        self
    }

    /// Starts the fake on the current Tokio runtime.
    pub async fn start(self) -> io::Result<FakeSalesforce> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        #[cfg(feature = "pubsub")]
        let pubsub = TcpListener::bind((Ipv4Addr::LOCALHOST, self.event_bus.port)).await?;
        let urls = Urls {
            rest: url,
            #[cfg(feature = "pubsub")]
            pubsub: format!("http://{}", pubsub.local_addr()?),
        };
        let invalid = |refusal: Refusal| io::Error::new(io::ErrorKind::InvalidInput, refusal);
        let shared = Arc::new(self.build(urls).map_err(invalid)?);
        let (stop, stopped) = watch::channel(false);
        #[cfg(feature = "pubsub")]
        tokio::spawn(event_bus::run(pubsub, Arc::clone(&shared), stopped.clone()));
        tokio::spawn(server::run(listener, Arc::clone(&shared), stopped));
        Ok(FakeSalesforce::new(shared, stop))
    }

    fn build(self, urls: Urls) -> Result<Shared, Refusal> {
        let now = Timestamp::now();
        let Some(org_id) = ids::normalise(&self.org_id) else {
            return Err(Refusal::bad(
                "MALFORMED_ID",
                format!("malformed id {}", self.org_id),
            ));
        };
        let mut schema = Schema::standard(now);
        for object in self.custom_objects {
            schema.add_custom_object(object, now)?;
        }
        for (object, field) in self.custom_fields {
            schema.add_custom_field(&object, field, now)?;
        }
        let mut org = Org::new(schema);
        let mut actor = Actor {
            user: String::new(),
            is_person: true,
            origin: String::new(),
            now,
        };
        let person = seed::add_user(&mut org, "person@example.com", "Person", &actor)?;
        actor.user.clone_from(&person);
        seed::set_up(&mut org, &actor)?;
        let mut auth = Auth::default();
        let mut integration_user = None;
        for JwtUser {
            client,
            username,
            public_key,
        } in self.jwt_users
        {
            let same = |user: &&Record| user.text("Username") == Some(&username);
            let known = org.living("User").find(same).map(|user| user.id.clone());
            let user = match known {
                Some(user) => user,
                None => seed::add_user(&mut org, &username, "Integration", &actor)?,
            };
            integration_user.get_or_insert_with(|| user.clone());
            auth.approve(client, username, user, public_key);
        }
        for (id, secret) in self.clients {
            auth.add_client(id, secret);
        }
        auth.redirect_uris = self.redirect_uris;
        auth.subjects = self.subjects;
        let integration_user = match integration_user {
            Some(user) => user,
            None => seed::add_user(&mut org, "integration@example.com", "Integration", &actor)?,
        };
        let config = Config {
            instance_url: self.instance_url.unwrap_or_else(|| urls.rest.clone()),
            url: urls.rest,
            #[cfg(feature = "pubsub")]
            pubsub_url: urls.pubsub,
            #[cfg(feature = "pubsub")]
            keepalive: self.event_bus.keepalive,
            org_id,
            integration_user,
            other_user: person,
            versions: self.versions,
            page_size: self.page_size,
            keep_bytes: self.keep_bytes,
            accept_chunked: self.accept_chunked,
            idempotent_uploads: self.idempotent_uploads,
            rotate_refresh_tokens: self.rotate_refresh_tokens,
            forgive_reuse: self.forgive_reuse,
            session_lifetime: self.session_lifetime,
            bulk_rows_per_poll: self.bulk_rows_per_poll,
        };
        #[cfg_attr(not(feature = "pubsub"), allow(unused_mut))]
        let mut state = State {
            org,
            auth,
            cursors: Cursors::default(),
            bulk: Jobs::default(),
            faults: Faults::default(),
            log: Log::default(),
            calls: 0,
            daily_limit: self.daily_limit,
            notifications: 0,
            kept: Kept::default(),
            #[cfg(feature = "pubsub")]
            bus: event_bus::Bus::new(),
        };
        #[cfg(feature = "pubsub")]
        {
            event_bus::select(&mut state, &self.event_bus.captured)?;
            for event in self.event_bus.platform_events {
                event_bus::add(&mut state, event)?;
            }
        }
        Ok(Shared::new(config, state))
    }
}
