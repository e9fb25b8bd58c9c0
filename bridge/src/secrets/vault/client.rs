//! Requests to Vault: the token, and what its answers mean.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Method, RequestBuilder, Url, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::Instant};

use super::{OPEN, SecretError, SecretErrorKind, no_answer};

const LOGIN: &str = "log in to Vault";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(15);
/// Far more than the longest secret takes.
const MOST_ANSWER: usize = 1024 * 1024;
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// How the bridge shows who it is.
pub struct VaultAuth(Auth);

type ReadToken =
    dyn Fn() -> Result<SecretString, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

enum Auth {
    Token(SecretString),
    Renewed(Box<ReadToken>),
    AppRole {
        mount: &'static str,
        role_id: String,
        secret_id: SecretString,
    },
}

impl VaultAuth {
    /// A token that somebody else keeps alive, such as a periodic one.
    pub fn token(token: SecretString) -> Self {
        Self(Auth::Token(token))
    }

    /// A token in whose place somebody else puts another one from time to time, as Vault Agent does
    /// in its file. It is read anew for each call.
    pub fn renewed<E>(read: impl Fn() -> Result<SecretString, E> + Send + Sync + 'static) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self(Auth::Renewed(Box::new(move || read().map_err(Into::into))))
    }

    /// An AppRole, by which a token is fetched, and another one when its time is over. Its secret
    /// id must serve more than once.
    ///
    /// Vendor: <https://developer.hashicorp.com/vault/api-docs/auth/approle#login-with-approle>
    pub fn app_role(role_id: impl Into<String>, secret_id: SecretString) -> Self {
        Self(Auth::AppRole {
            mount: "approle",
            role_id: role_id.into(),
            secret_id,
        })
    }
}

impl fmt::Debug for VaultAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Auth::Token(_) => "Token",
            Auth::Renewed(_) => "Renewed",
            Auth::AppRole { .. } => "AppRole",
        })
    }
}

#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    namespace: Option<HeaderValue>,
    auth: Arc<VaultAuth>,
    token: Arc<Mutex<Option<Token>>>,
}

#[derive(Clone)]
struct Token {
    secret: SecretString,
    until: Option<Instant>,
}

/// What Vault answered, where that is 200, 204, 400 or 404.
pub(super) struct Reply {
    pub(super) status: u16,
    /// By Vault's clock.
    pub(super) now: Timestamp,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(address: &str, auth: VaultAuth) -> Result<Self, SecretError> {
        let refused = |why| SecretError::new(SecretErrorKind::Refused, OPEN).with_cause(why);
        let plain = "the address has to be such as https://vault.example.com:8200";
        let base = Url::parse(address).map_err(|_| refused(plain))?;
        let is_plain = base.username().is_empty() && base.password().is_none();
        if !matches!(base.scheme(), "https" | "http")
            || !is_plain
            || base.query().is_some()
            || base.fragment().is_some()
        {
            return Err(refused(plain));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // It would take the token along.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Self {
            http: http.map_err(|cause| unavailable(OPEN).with_cause(cause))?,
            base,
            namespace: None,
            auth: Arc::new(auth),
            token: Arc::default(),
        })
    }

    pub(super) fn namespace(&mut self, namespace: &str) -> Result<(), SecretError> {
        let header = HeaderValue::try_from(namespace)
            .map_err(|_| SecretError::new(SecretErrorKind::Refused, OPEN))?;
        self.namespace = Some(header);
        Ok(())
    }

    pub(super) async fn read(&self, doing: &'static str, path: &str) -> Result<Reply, SecretError> {
        self.call(doing, Method::GET, path, None).await
    }

    /// Every write is a check-and-set, so it may be sent again: what was done is then found.
    pub(super) async fn write(
        &self,
        doing: &'static str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply, SecretError> {
        let body = json(doing, body)?;
        self.call(doing, Method::POST, path, Some(body)).await
    }

    async fn call(
        &self,
        doing: &'static str,
        method: Method,
        path: &str,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Reply, SecretError> {
        let mut refused = None;
        loop {
            let token = self.token(refused.as_ref()).await?;
            let reply = self
                .attempts(doing, || {
                    let mut request = self.request(method.clone(), path);
                    if let Some(body) = &body {
                        request = request.body(body.to_vec());
                    }
                    let mut header = HeaderValue::try_from(token.expose_secret()).ok()?;
                    header.set_sensitive(true);
                    Some(request.header("X-Vault-Token", header))
                })
                .await?;
            match reply.status {
                403 if refused.is_none() && self.can_log_in() => refused = Some(token),
                403 => return Err(self.denied(doing)),
                _ => return Ok(reply),
            }
        }
    }

    /// One login for all who wait for it.
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, SecretError> {
        let (mount, role_id, secret_id) = match &self.auth.0 {
            Auth::Token(token) => return Ok(token.clone()),
            Auth::Renewed(read) => {
                let token = read();
                return token.map_err(|cause| self.denied(LOGIN).with_cause(cause));
            }
            Auth::AppRole {
                mount,
                role_id,
                secret_id,
            } => (mount, role_id, secret_id),
        };
        let mut slot = self.token.lock().await;
        let fresh = slot.as_ref().filter(|token| {
            let is_refused =
                refused.is_some_and(|it| it.expose_secret() == token.secret.expose_secret());
            !is_refused && token.until.is_none_or(|until| Instant::now() < until)
        });
        if let Some(token) = fresh {
            return Ok(token.secret.clone());
        }
        *slot = None;
        let body = Login {
            role_id,
            secret_id: secret_id.expose_secret(),
        };
        let body = json(LOGIN, &body)?;
        let path = format!("auth/{mount}/login");
        let reply = self
            .attempts(LOGIN, || {
                let request = self.request(Method::POST, &path);
                Some(request.body(body.to_vec()))
            })
            .await?;
        if reply.status != 200 {
            return Err(self.denied(LOGIN));
        }
        // The cause would quote the token.
        let LoggedIn { auth } =
            serde_json::from_slice(&reply.body).map_err(|_| no_answer(LOGIN))?;
        // A third of its time is left for what is under way; 0 stands for no end.
        let life = Duration::from_secs(auth.lease_duration.min(u64::from(u32::MAX))) * 2 / 3;
        let until = (auth.lease_duration > 0).then(|| Instant::now() + life);
        let secret = auth.client_token;
        *slot = Some(Token {
            secret: secret.clone(),
            until,
        });
        Ok(secret)
    }

    fn can_log_in(&self) -> bool {
        matches!(self.auth.0, Auth::AppRole { .. })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/v1/{path}",
            self.base.path().trim_end_matches('/')
        ));
        let request = self.http.request(method, url);
        let request = request.header("X-Vault-Request", "true");
        match &self.namespace {
            Some(namespace) => request.header("X-Vault-Namespace", namespace),
            None => request,
        }
    }

    async fn attempts(
        &self,
        doing: &'static str,
        request: impl Fn() -> Option<RequestBuilder>,
    ) -> Result<Reply, SecretError> {
        for attempt in 1.. {
            let request = request().ok_or_else(|| self.denied(doing))?;
            match self.attempt(doing, request).await {
                Err(error)
                    if error.kind() == SecretErrorKind::Unavailable && attempt < ATTEMPTS =>
                {
                    tokio::time::sleep(PAUSE * attempt).await;
                }
                done => return done,
            }
        }
        Err(unavailable(doing))
    }

    async fn attempt(
        &self,
        doing: &'static str,
        request: RequestBuilder,
    ) -> Result<Reply, SecretError> {
        let failed = |cause: reqwest::Error| {
            let error = unavailable(doing).at(self.base.as_str());
            error.with_cause(cause.without_url())
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        if !matches!(status, 200 | 204 | 400 | 403 | 404) {
            // 429, 5xx, and 503 where Vault is sealed; 472, 473 on a standby.
            let error = unavailable(doing).at(self.base.as_str());
            return Err(error.with_cause(format!("it answered {status}")));
        }
        let date = answer.headers().get("date");
        let now = date.and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MOST_ANSWER {
                return Err(no_answer(doing).at(self.base.as_str()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status,
            now: now.map_or_else(Timestamp::now, |now| now.timestamp()),
            body: body.into(),
        })
    }

    fn denied(&self, doing: &'static str) -> SecretError {
        SecretError::new(SecretErrorKind::Denied, doing).at(self.base.as_str())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base.as_str())
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Login<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Given,
}

#[derive(Deserialize)]
struct Given {
    client_token: SecretString,
    lease_duration: u64,
}

fn json(doing: &'static str, body: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let refused = |_| SecretError::new(SecretErrorKind::Refused, doing);
    serde_json::to_vec(body)
        .map(Zeroizing::new)
        .map_err(refused)
}

fn unavailable(doing: &'static str) -> SecretError {
    SecretError::new(SecretErrorKind::Unavailable, doing)
}
