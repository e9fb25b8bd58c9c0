use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{
    AccessToken, Subject, TokenEndpoint, TokenSource,
    random::random_text,
    signing_key::{SigningKey, bad},
};
use crate::error::{Error, Result};

/// Whatever host the client reaches Box by.
const AUDIENCE: &str = "https://api.box.com/oauth2/token";

/// Box takes 60 at most. Half of it bears the most of a clock that is ahead or behind.
const LIFE: SignedDuration = SignedDuration::from_secs(30);

/// How often within one fetch Box may find fault with an assertion's time or name.
const CORRECTIONS: u32 = 2;

/// A server application with a key pair: it signs that it acts as its Service Account or as a
/// user. There is no refresh token; a new assertion is made each time.
///
/// An admin has to authorize the application once, and again when its scopes change. A clock that
/// differs from Box's is set right by Box's `Date`.
///
/// ```no_run
/// use box_client::{BoxClient, JwtBearer};
///
/// # fn example(config: String) -> box_client::Result<()> {
/// let client = BoxClient::new(JwtBearer::from_config(&config.into())?)?;
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
///
/// Vendor: <https://developer.box.com/guides/authentication/jwt/without-sdk/>
pub struct JwtBearer {
    client_id: String,
    client_secret: SecretString,
    subject: Subject,
    key: SigningKey,
    algorithm: JwtAlgorithm,
    /// How far Box's clock is ahead of this machine's.
    ahead: Mutex<SignedDuration>,
}

/// How assertions are signed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// With SHA-256, as Box's SDKs do.
    #[default]
    Rs256,
    /// With SHA-384.
    Rs384,
    /// With SHA-512.
    Rs512,
}

/// The file that the Developer Console gives.
#[derive(Deserialize)]
struct Config {
    #[serde(rename = "boxAppSettings")]
    app: App,
    #[serde(rename = "enterpriseID", default)]
    enterprise: Option<TextOrNumber>,
    #[serde(rename = "userID", default)]
    user: Option<TextOrNumber>,
}

#[derive(Deserialize)]
struct App {
    #[serde(rename = "clientID")]
    client_id: String,
    #[serde(rename = "clientSecret")]
    client_secret: SecretString,
    #[serde(rename = "appAuth")]
    auth: AppAuth,
}

#[derive(Deserialize)]
struct AppAuth {
    #[serde(rename = "publicKeyID")]
    key_id: String,
    #[serde(rename = "privateKey")]
    private_key: SecretString,
    passphrase: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(u64),
}

impl TextOrNumber {
    fn id(self) -> Option<String> {
        let text = match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        };
        // Where there is none, the console writes an empty text or 0.
        Some(text).filter(|text| !text.is_empty() && text != "0")
    }
}

impl JwtBearer {
    /// The application's id and secret, its key, and whom it acts as.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: impl Into<SecretString>,
        key: SigningKey,
        subject: Subject,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            subject,
            key,
            algorithm: JwtAlgorithm::default(),
            ahead: Mutex::default(),
        }
    }

    /// From the text of the configuration file that the Developer Console gives. The application
    /// acts as its Service Account, or as the user whom the file names by `userID`.
    pub fn from_config(config: &SecretString) -> Result<Self> {
        // Without a cause: the parser quotes what it trips over.
        let config: Config = serde_json::from_str(config.expose_secret())
            .map_err(|_| bad("this is not the configuration file of a JWT application"))?;
        let user = config.user.and_then(TextOrNumber::id).map(Subject::User);
        let enterprise = config.enterprise.and_then(TextOrNumber::id);
        let subject = user
            .or(enterprise.map(Subject::Enterprise))
            .ok_or_else(|| bad("the configuration file names neither enterpriseID nor userID"))?;
        let AppAuth {
            key_id,
            private_key,
            passphrase,
        } = config.app.auth;
        let key = SigningKey::from_pem(key_id, &private_key, passphrase.as_ref())?;
        let (id, secret) = (config.app.client_id, config.app.client_secret);
        Ok(Self::new(id, secret, key, subject))
    }

    /// Acts as somebody else than the configuration file says.
    #[must_use]
    pub fn subject(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    /// Signs by another algorithm than RS256.
    #[must_use]
    pub fn algorithm(mut self, algorithm: JwtAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The public half of the key (PKCS#1 DER).
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    fn assertion(&self, box_now: Timestamp) -> Result<SecretString> {
        let (kind, id) = self.subject.parts();
        let header = json!({ "alg": self.algorithm.name(), "typ": "JWT", "kid": self.key.id });
        // No `iat` and no `nbf`: Box bears no difference of clocks there.
        let claims = json!({
            "iss": self.client_id,
            "sub": id,
            "box_sub_type": kind,
            "aud": AUDIENCE,
            "jti": random_text()?,
            "exp": box_now.as_second() + LIFE.as_secs(),
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self
            .key
            .sign(self.algorithm.encoding(), signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }

    /// One attempt with an assertion of its own.
    async fn ask(&self, endpoint: &TokenEndpoint<'_>) -> Result<AccessToken> {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let box_now = Timestamp::now().checked_add(ahead);
        let assertion = self.assertion(box_now.unwrap_or_else(|_| Timestamp::now()))?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.expose_secret()),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose_secret()),
        ];
        Ok(endpoint.post_once(&form).await?.access())
    }

    /// Takes Box's clock from an answer that found fault with the assertion's time.
    fn learn(&self, error: &Error) {
        let Some(date) = error.api().and_then(|api| api.date()) else {
            return;
        };
        let ahead = date.duration_since(Timestamp::now());
        if ahead.abs() > LIFE / 2 {
            warn!(
                seconds = ahead.as_secs(),
                "this machine's clock is not Box's"
            );
        }
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
    }
}

#[async_trait]
impl TokenSource for JwtBearer {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let started = Instant::now();
        let mut waits = endpoint.waits();
        let mut corrections = 0;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.ask(endpoint).await {
                Ok(token) => return Ok(token),
                Err(error) => error.after(attempts),
            };
            if is_about_the_assertion(&error) && corrections < CORRECTIONS {
                corrections += 1;
                self.learn(&error);
                continue;
            }
            let left = endpoint.deadline().saturating_sub(started.elapsed());
            let wait = error
                .is_retryable()
                .then(|| waits.next())
                .flatten()
                .map(|wait| error.retry_after().map_or(wait, |asked| asked.max(wait)))
                .filter(|wait| *wait < left);
            let Some(wait) = wait else { return Err(error) };
            debug!(attempts, ?wait, %error, "trying again with a new assertion");
            sleep(wait).await;
        }
    }
}

impl fmt::Debug for JwtBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtBearer")
            .field("client_id", &self.client_id)
            .field("subject", &self.subject)
            .field("key", &self.key)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl JwtAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Rs256 => &RSA_PKCS1_SHA256,
            Self::Rs384 => &RSA_PKCS1_SHA384,
            Self::Rs512 => &RSA_PKCS1_SHA512,
        }
    }
}

/// Whether a new assertion can help: its time or its name was the trouble, not who signed it.
fn is_about_the_assertion(error: &Error) -> bool {
    let Some(api) = error
        .api()
        .filter(|api| api.code() == Some("invalid_grant"))
    else {
        return false;
    };
    let message = api.message().unwrap_or_default();
    message
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| matches!(word, "exp" | "iat" | "nbf" | "jti"))
}
