//! The only place that sends: token, attempt, classification, one repeat after 401, retries.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use tracing::debug;
use url::Url;

use crate::{
    ApiUsage, RetryPolicy, TokenSource,
    api_error::ApiErrors,
    call::{Auth, Call, Repeat},
    error::{Error, ErrorKind, Result},
    files::Upload,
    retry::retry_after,
    token::{AccessToken, TokenCache},
};

/// Error bodies are short; what a gateway sends beyond this is not worth reading.
const ERROR_BODY_LIMIT: usize = 64 * 1024;
/// No answer of the API that this crate decodes comes near this.
const JSON_LIMIT: usize = 32 * 1024 * 1024;

/// Sends calls. The token endpoint is called through a sender too, so that a refresh has the same
/// patience and the same errors as everything else.
pub(crate) struct Sender {
    pub(crate) http: reqwest::Client,
    pub(crate) login: Url,
    /// `/services/data/vNN.0`
    pub(crate) data: String,
    pub(crate) retry: RetryPolicy,
    pub(crate) idle: Duration,
    pub(crate) upload_answer: Duration,
    pub(crate) token_lifetime: Duration,
    pub(crate) usage: Mutex<Option<ApiUsage>>,
}

/// A sender with tokens: what the resource handles hold.
pub(crate) struct Transport {
    sender: Arc<Sender>,
    tokens: TokenCache,
}

impl Transport {
    pub(crate) fn new(sender: Sender, source: Arc<dyn TokenSource>) -> Self {
        let sender = Arc::new(sender);
        Self {
            tokens: TokenCache::new(source, Arc::clone(&sender)),
            sender,
        }
    }

    /// `/services/data/vNN.0`
    pub(crate) fn data(&self) -> &str {
        &self.sender.data
    }

    pub(crate) fn usage(&self) -> Option<ApiUsage> {
        *self
            .sender
            .usage
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A call on a resource of the REST API.
    pub(crate) fn call(&self, operation: &'static str, method: Method, segments: &[&str]) -> Call {
        let version = self.data().rsplit('/').next().unwrap_or_default();
        let all = ["services", "data", version]
            .into_iter()
            .chain(segments.iter().copied());
        Call::new(operation, method, all)
    }

    /// Sends a body that exists once. There is no second try: what has been read of it is gone.
    pub(crate) async fn upload(&self, call: &Call, upload: Upload) -> Result<Reply> {
        let token = self.tokens.token().await?;
        let result = self.sender.upload(call, &token, upload).await;
        if let Err(error) = &result
            && wants_new_token(error)
        {
            self.tokens.reject(&token).await;
        }
        result.map_err(|error| error.after(1))
    }

    /// Sends until there is an answer that is no failure, or no hope. The body is unread.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        self.sender.send(call, Some(&self.tokens)).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.send(call).await?.json().await
    }

    pub(crate) async fn empty(&self, call: &Call) -> Result<()> {
        self.send(call).await.map(drop)
    }
}

impl Sender {
    pub(crate) async fn send(&self, call: &Call, tokens: Option<&TokenCache>) -> Result<Reply> {
        let started = Instant::now();
        let mut waits = self.retry.waits();
        let mut renewed = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let token = match tokens.filter(|_| call.auth == Auth::Bearer) {
                Some(tokens) => Some((tokens, tokens.token().await?)),
                None => None,
            };
            let error = match self
                .attempt(call, token.as_ref().map(|(_, token)| token))
                .await
            {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if let Some((tokens, token)) = &token
                && !renewed
                && wants_new_token(&error)
            {
                renewed = true;
                tokens.reject(token).await;
                continue;
            }
            let wait = (error.is_retryable() && may_repeat(call, &error))
                .then(|| waits.next())
                .flatten()
                .map(|wait| error.retry_after().map_or(wait, |asked| asked.max(wait)))
                .filter(|wait| started.elapsed() + *wait < self.retry.deadline);
            let Some(wait) = wait else {
                return Err(error.after(attempts));
            };
            debug!(operation = call.operation, attempts, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, call: &Call, token: Option<&AccessToken>) -> Result<Reply> {
        let mut request = self.request(call, token)?;
        *request.body_mut() = call.body.clone().map(Into::into);
        let response = timeout(self.idle, self.http.execute(request))
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, call.operation).sent())?
            .map_err(|cause| broken(call.operation, cause))?;
        self.judge(call.operation, response).await
    }

    async fn upload(&self, call: &Call, token: &AccessToken, upload: Upload) -> Result<Reply> {
        let mut request = self.request(call, Some(token))?;
        let Upload { body, progress } = upload;
        *request.body_mut() = Some(body);
        let mut answer = std::pin::pin!(self.http.execute(request));
        let mut seen = progress.sent();
        let mut since = Instant::now();
        let response = loop {
            let patience = if progress.is_whole() {
                self.upload_answer
            } else {
                self.idle
            };
            if let Ok(answer) = timeout(patience.min(self.idle), &mut answer).await {
                break answer;
            }
            if progress.sent() != seen {
                seen = progress.sent();
                since = Instant::now();
            } else if since.elapsed() >= patience {
                return Err(Error::new(ErrorKind::Timeout, call.operation).sent());
            }
        };
        match (response, progress.failure()) {
            // The body was broken off on purpose, so it never was a whole request.
            (_, Some(cause)) => Err(Error::new(ErrorKind::Content, call.operation).cause(cause)),
            (Ok(response), None) => self.judge(call.operation, response).await,
            (Err(cause), None) => Err(broken(call.operation, cause)),
        }
    }

    fn request(&self, call: &Call, token: Option<&AccessToken>) -> Result<reqwest::Request> {
        let base = token.map_or(&self.login, AccessToken::base);
        let mut request = reqwest::Request::new(call.method.clone(), call.url(base)?);
        *request.headers_mut() = call.headers.clone();
        if let Some(token) = token {
            request
                .headers_mut()
                .insert(AUTHORIZATION, token.bearer(call.operation)?);
        }
        Ok(request)
    }

    async fn judge(&self, operation: &'static str, response: reqwest::Response) -> Result<Reply> {
        let reply = Reply {
            response,
            operation,
            idle: self.idle,
        };
        if let Some(usage) = reply.header("sforce-limit-info").and_then(ApiUsage::read) {
            *self
                .usage
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(usage);
        }
        debug!(operation, status = reply.status().as_u16(), "answered");
        match reply.status() {
            status if status.is_success() || matches!(status.as_u16(), 300 | 304) => Ok(reply),
            _ => Err(reply.into_error().await),
        }
    }
}

/// An answer that is no failure.
pub(crate) struct Reply {
    response: reqwest::Response,
    operation: &'static str,
    idle: Duration,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The next piece of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, self.operation).sent())?
            .map_err(|cause| broken(self.operation, cause))
    }

    /// The whole body, if it is no longer than `limit`.
    pub(crate) async fn bytes(&mut self, limit: usize) -> Result<Bytes> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, self.operation).sent());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T> {
        let body = self.bytes(JSON_LIMIT).await?;
        serde_json::from_slice(&body).map_err(|cause| {
            Error::new(ErrorKind::Decode, self.operation)
                .sent()
                .cause(cause)
        })
    }

    async fn into_error(mut self) -> Error {
        let wait = retry_after(self.headers(), Timestamp::now());
        // A body that breaks off still leaves the status to report.
        let body = self.bytes(ERROR_BODY_LIMIT).await.unwrap_or_default();
        let errors = ApiErrors::read(&body);
        let kind = failure(self.status(), &errors);
        Error::new(kind, self.operation)
            .answer(self.status().as_u16(), errors)
            .wait(wait)
    }
}

/// The code tells more than the status, where there is one.
fn failure(status: StatusCode, errors: &ApiErrors) -> ErrorKind {
    let triggered = [
        "CANNOT_EXECUTE_FLOW_TRIGGER",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    ];
    if errors.has(&["REQUEST_LIMIT_EXCEEDED"]) {
        return match errors.says("Concurrent") {
            true => ErrorKind::ConcurrentLimit,
            false => ErrorKind::DailyLimit,
        };
    }
    if errors.has(&["UNABLE_TO_LOCK_ROW"])
        || errors.has(&triggered) && errors.says("UNABLE_TO_LOCK_ROW")
    {
        return ErrorKind::RowLocked;
    }
    if errors.has(&[
        "DUPLICATE_VALUE",
        "DUPLICATES_DETECTED",
        "DUPLICATE_EXTERNAL_ID",
    ]) {
        return ErrorKind::Duplicate;
    }
    if errors.has(&["ENTITY_IS_DELETED"]) {
        return ErrorKind::Deleted;
    }
    if errors.has(&["STORAGE_LIMIT_EXCEEDED"]) {
        return ErrorKind::StorageFull;
    }
    if errors.has(&[
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    ]) {
        return ErrorKind::Forbidden;
    }
    match status.as_u16() {
        401 => ErrorKind::Auth,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 | 412 => ErrorKind::Conflict,
        420 | 429 => ErrorKind::RateLimited,
        500.. => ErrorKind::Server,
        _ => ErrorKind::Invalid,
    }
}

/// A session that has ended is renewed once. Two messages look like it and mean a setting that no
/// token mends.
fn wants_new_token(error: &Error) -> bool {
    const HOPELESS: [&str; 2] = [
        "This session is not valid for use with the REST API",
        "Connected app is not attached to Agent",
    ];
    error.status() == Some(401)
        && !error
            .api()
            .is_some_and(|errors| HOPELESS.iter().any(|text| errors.says(text)))
}

/// What certainly had no effect may be sent again whatever it is; the rest only if it is safe.
fn may_repeat(call: &Call, error: &Error) -> bool {
    call.repeat == Repeat::Safe || !error.may_have_happened()
}

fn broken(operation: &'static str, cause: reqwest::Error) -> Error {
    // A URL can hold a whole query with people's names in it.
    let cause = cause.without_url();
    if cause.is_builder() {
        return Error::new(ErrorKind::Invalid, operation).cause(cause);
    }
    let kind = if cause.is_timeout() {
        ErrorKind::Timeout
    } else {
        ErrorKind::Transport
    };
    let error = Error::new(kind, operation);
    let error = if cause.is_connect() {
        error
    } else {
        error.sent()
    };
    error.cause(cause)
}
