//! How a [`FakeBox`] is set up.

use std::{io, time::Duration};

use secrecy::SecretString;

use super::{FakeBox, server};

/// Sets up a [`FakeBox`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FakeBoxBuilder {
    config: Config,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) port: u16,
    /// The applications: id and secret.
    pub(super) clients: Vec<(String, SecretString)>,
    pub(super) enterprise: String,
    pub(super) token_lifetime: Duration,
    pub(super) refresh_grace: bool,
    /// Seconds that this Box's clock is ahead of the machine's.
    pub(super) clock_ahead: i64,
    /// Names and public keys (DER) that assertions are signed with.
    #[cfg(feature = "jwt")]
    pub(super) jwt_keys: Vec<(String, Vec<u8>)>,
    pub(super) keep_bytes: bool,
    pub(super) not_ready_once: bool,
    pub(super) metadata_get_status: u16,
    pub(super) missing_instance_code: &'static str,
    /// None: only to loopback addresses.
    pub(super) http_addresses: Option<bool>,
    pub(super) signature_keys: Option<(SecretString, SecretString)>,
    pub(super) auto_deliver: bool,
    pub(super) delivery_retry: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) pending_item: bool,
    pub(super) repeat_events: bool,
    pub(super) long_poll_timeout: Duration,
    pub(super) seed: u64,
    #[cfg(feature = "openapi")]
    pub(super) spec: Option<super::openapi::Spec>,
}

impl FakeBoxBuilder {
    pub(super) fn new() -> Self {
        let config = Config {
            port: 0,
            clients: Vec::new(),
            enterprise: "12345".to_owned(),
            token_lifetime: Duration::from_secs(3600),
            refresh_grace: false,
            clock_ahead: 0,
            #[cfg(feature = "jwt")]
            jwt_keys: Vec::new(),
            keep_bytes: true,
            not_ready_once: false,
            metadata_get_status: 200,
            missing_instance_code: "instance_not_found",
            http_addresses: None,
            signature_keys: None,
            auto_deliver: true,
            delivery_retry: Duration::from_secs(1),
            delivery_timeout: Duration::from_secs(30),
            pending_item: true,
            repeat_events: false,
            long_poll_timeout: Duration::from_secs(610),
            seed: 0,
            #[cfg(feature = "openapi")]
            spec: None,
        };
        Self { config }
    }

    /// The port on loopback; 0, the default, takes any that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.config.port = port;
        self
    }

    /// Adds an application. Without this there is one with the id [`FakeBox::CLIENT_ID`] and the
    /// secret [`FakeBox::CLIENT_SECRET`].
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.config
            .clients
            .push((id.into(), SecretString::from(secret.into())));
        self
    }

    /// The enterprise's id, `12345` by default.
    pub fn enterprise_id(mut self, id: impl Into<String>) -> Self {
        self.config.enterprise = id.into();
        self
    }

    /// How long an access token lives, an hour by default.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.config.token_lifetime = lifetime;
        self
    }

    /// Whether a spent refresh token gives the same grant again until the new access token is
    /// used. Box has been seen to do that but does not promise it; off by default.
    pub fn refresh_grace(mut self, on: bool) -> Self {
        self.config.refresh_grace = on;
        self
    }

    /// How many seconds this Box's clock is ahead of the machine's, as seen in the token
    /// endpoint's `Date` and by its judgement of assertions.
    pub fn clock_ahead(mut self, seconds: i64) -> Self {
        self.config.clock_ahead = seconds;
        self
    }

    /// A public key of the application, by its id in the Developer Console: as DER, PKCS#1 or
    /// `SubjectPublicKeyInfo`. Without one the JWT grant is refused, as where no admin has
    /// authorized the application.
    #[cfg(feature = "jwt")]
    pub fn jwt_key(mut self, id: impl Into<String>, public_key: impl Into<Vec<u8>>) -> Self {
        self.config.jwt_keys.push((id.into(), public_key.into()));
        self
    }

    /// Whether uploaded bytes are kept, up to 64 MiB a file. If not, only size and hash are, and
    /// an upload of any size takes no memory, but cannot be downloaded. On by default.
    pub fn keep_bytes(mut self, on: bool) -> Self {
        self.config.keep_bytes = on;
        self
    }

    /// Whether the first download of every new version is answered with 202 and `Retry-After`.
    /// Off by default.
    pub fn not_ready_once(mut self, on: bool) -> Self {
        self.config.not_ready_once = on;
        self
    }

    /// The status of a metadata instance's GET: 200 by default; Box's OpenAPI document says 201.
    pub fn metadata_get_status(mut self, status: u16) -> Self {
        self.config.metadata_get_status = status;
        self
    }

    /// Whether a template that is not applied is reported as `instance_tuple_not_found` instead
    /// of `instance_not_found`: both occur.
    pub fn missing_instance_as_tuple(mut self, on: bool) -> Self {
        self.config.missing_instance_code = if on {
            "instance_tuple_not_found"
        } else {
            "instance_not_found"
        };
        self
    }

    /// Whether webhook addresses may be `http`: by default only those on loopback, on any port;
    /// `true` allows all, `false` leaves Box's own rule, `https` on port 443.
    pub fn allow_http_addresses(mut self, on: bool) -> Self {
        self.config.http_addresses = Some(on);
        self
    }

    /// The application's webhook signature keys. Without them deliveries carry no signature, as
    /// with an application that has generated none.
    pub fn signature_keys(
        mut self,
        primary: impl Into<String>,
        secondary: impl Into<String>,
    ) -> Self {
        let keys = (
            SecretString::from(primary.into()),
            SecretString::from(secondary.into()),
        );
        self.config.signature_keys = Some(keys);
        self
    }

    /// Whether events are sent on their own. If not, they wait for [`FakeBox::redeliver`]. On by
    /// default.
    pub fn auto_deliver(mut self, on: bool) -> Self {
        self.config.auto_deliver = on;
        self
    }

    /// The pause before each of up to 12 retries of a delivery, a second by default.
    pub fn delivery_retry(mut self, pause: Duration) -> Self {
        self.config.delivery_retry = pause;
        self
    }

    /// How long a receiver may take to answer, 30 seconds by default as at Box.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.config.delivery_timeout = timeout;
        self
    }

    /// Whether deliveries about a pending collaboration name the item. Box's reference leaves it
    /// open; on by default.
    pub fn pending_collaboration_item(mut self, on: bool) -> Self {
        self.config.pending_item = on;
        self
    }

    /// Whether each answer with events begins with the last one told before, as Box may. Off by
    /// default.
    pub fn repeat_events(mut self, on: bool) -> Self {
        self.config.repeat_events = on;
        self
    }

    /// How long a long poll is held when nothing happens, 610 seconds by default.
    pub fn long_poll_timeout(mut self, timeout: Duration) -> Self {
        self.config.long_poll_timeout = timeout;
        self
    }

    /// Makes tokens and event ids differ from those of a fake with another seed; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        // Spread out: neighbouring seeds would share most of their streams.
        self.config.seed = super::ids::scramble(seed, 0);
        self
    }

    /// Holds every request against Box's OpenAPI document.
    #[cfg(feature = "openapi")]
    pub fn openapi(mut self, spec: super::openapi::Spec) -> Self {
        self.config.spec = Some(spec);
        self
    }

    /// Starts it on loopback. It stops with the last handle, or by [`FakeBox::stop`].
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn start(mut self) -> io::Result<FakeBox> {
        if self.config.clients.is_empty() {
            self = self.client(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET);
        }
        server::start(self.config).await
    }
}
