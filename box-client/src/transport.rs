//! The only place that sends: token, attempt, classification, one repeat after 401, retries.

use std::{fmt, future::ready, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AUTHORIZATION, LOCATION, RETRY_AFTER},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, debug};
use url::Url;

use crate::{
    RetryPolicy, TokenSource, UserId,
    api_error::ApiError,
    call::{Auth, Call, Repeat, header_value},
    client::Hosts,
    error::{Error, ErrorKind, Result},
    gate::Gate,
    observe::Watch,
    retry::retry_after,
    token::{AccessToken, TokenCache, TokenEndpoint},
};

const AS_USER: HeaderName = HeaderName::from_static("as-user");

/// Error bodies are short; what a gateway sends beyond this is not worth reading.
const ERROR_BODY_LIMIT: usize = 64 * 1024;
/// No answer of the API that this crate decodes comes near this.
const JSON_LIMIT: usize = 32 * 1024 * 1024;

/// Sends calls. The token endpoint is called through a sender too, so that a refresh has the same
/// patience and the same errors as everything else.
pub(crate) struct Sender {
    pub(crate) http: reqwest::Client,
    pub(crate) hosts: Hosts,
    pub(crate) retry: RetryPolicy,
    pub(crate) idle: Duration,
    pub(crate) gate: Gate,
}

/// A sender with tokens: what the resource handles hold.
pub(crate) struct Transport {
    pub(crate) sender: Arc<Sender>,
    pub(crate) caller: Caller,
}

/// In whose name calls are made.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) tokens: TokenCache,
    pub(crate) as_user: Option<UserId>,
}

impl Transport {
    pub(crate) fn new(sender: Sender, source: Arc<dyn TokenSource>) -> Self {
        let sender = Arc::new(sender);
        let caller = Caller {
            tokens: TokenCache::new(source, Arc::clone(&sender)),
            as_user: None,
        };
        Self { sender, caller }
    }

    /// The same connections and the same token, for another user.
    pub(crate) fn as_user(&self, user: Option<&UserId>) -> Self {
        let caller = Caller {
            tokens: self.caller.tokens.clone(),
            as_user: user.cloned(),
        };
        Self {
            sender: Arc::clone(&self.sender),
            caller,
        }
    }

    pub(crate) fn token_endpoint(&self) -> TokenEndpoint<'_> {
        TokenEndpoint::of(&self.sender)
    }

    pub(crate) fn tokens(&self) -> &TokenCache {
        &self.caller.tokens
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.sender.hosts
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.sender.retry
    }

    /// Sends until there is an answer that is no failure, or no hope. The body is unread.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        self.sender
            .retrying(call, Some(&self.caller), |reply| ready(Ok(reply)))
            .await
    }

    /// The same with the body, if it is no longer than `limit`. A body that breaks off is a
    /// failed attempt like any other.
    pub(crate) async fn whole(&self, call: &Call, limit: usize) -> Result<Whole> {
        self.sender
            .retrying(call, Some(&self.caller), |reply| reply.whole(limit))
            .await
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.whole(call, JSON_LIMIT).await?.json()
    }

    /// For calls that answer 204 where there is nothing to show.
    pub(crate) async fn json_or_empty<T: DeserializeOwned>(
        &self,
        call: &Call,
    ) -> Result<Option<T>> {
        let whole = self.whole(call, JSON_LIMIT).await?;
        if whole.body.is_empty() {
            return Ok(None);
        }
        whole.json().map(Some)
    }

    /// For a change that may well have come about at an attempt whose answer was lost.
    pub(crate) async fn gone(&self, call: &Call) -> Result<()> {
        match self.empty(call).await {
            Err(error) if error.kind() == ErrorKind::NotFound && error.attempts() > 1 => Ok(()),
            done => done,
        }
    }

    pub(crate) async fn empty(&self, call: &Call) -> Result<()> {
        self.send(call).await.map(drop)
    }
}

/// Handles and requests derive theirs, so this must stay without tokens.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("hosts", &self.sender.hosts)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// For the token endpoint, which is asked without a token.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.retrying(call, None, |reply| reply.whole(JSON_LIMIT))
            .await?
            .json()
    }

    /// The same for an answer of which only the status counts.
    pub(crate) async fn empty(&self, call: &Call) -> Result<()> {
        self.retrying(call, None, |reply| ready(Ok(reply)))
            .await
            .map(drop)
    }

    async fn retrying<T, F: Future<Output = Result<T>>>(
        &self,
        call: &Call,
        caller: Option<&Caller>,
        read: impl Fn(Reply) -> F,
    ) -> Result<T> {
        let watch = Watch::new(call.operation);
        let attempts = self.attempts(&watch, call, caller, read);
        let outcome = attempts.instrument(watch.span()).await;
        watch.ended(&outcome);
        outcome
    }

    async fn attempts<T, F: Future<Output = Result<T>>>(
        &self,
        watch: &Watch,
        call: &Call,
        caller: Option<&Caller>,
        read: impl Fn(Reply) -> F,
    ) -> Result<T> {
        let deadline = Deadline::after(call.patience.unwrap_or(self.retry.deadline));
        let caller = caller.filter(|_| call.auth == Auth::Bearer);
        let tokens = caller.map(|caller| &caller.tokens);
        let as_user = caller.and_then(|caller| caller.as_user.as_ref());
        let mut waits = self.retry.waits();
        let mut renewed = false;
        let mut attempts = 0;
        loop {
            if tokens.is_some() {
                let passed = self.gate.pass(call.operation, || deadline.left()).await;
                passed.map_err(|error| error.after(attempts))?;
            }
            let token = match tokens {
                Some(tokens) => Some(
                    deadline
                        .limit(call.operation, tokens.token())
                        .await
                        .map_err(|late| late.detail("there was no token in time"))?
                        // Nothing of this call was sent, whatever became of the login.
                        .map_err(Error::incomplete)?,
                ),
                None => None,
            };
            attempts += 1;
            watch.attempt(attempts);
            let answered = async {
                let reply = self
                    .attempt(call, token.as_ref(), as_user, &deadline)
                    .await?;
                watch.answered(&reply);
                read(reply).await
            };
            let error = match answered.await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            watch.failed(&error);
            if tokens.is_some() {
                self.gate.shut(&error);
            }
            if let Some((tokens, token)) = tokens.zip(token)
                && !renewed
                && wants_new_token(&error)
            {
                renewed = true;
                tokens.reject(&token);
                continue;
            }
            let wait = (error.is_retryable() && may_repeat(call, &error))
                .then(|| waits.next())
                .flatten()
                .map(|wait| error.retry_after().map_or(wait, |asked| asked.max(wait)))
                .filter(|wait| *wait < deadline.left());
            let Some(wait) = wait else {
                return Err(error.after(attempts));
            };
            debug!(operation = call.operation, attempts, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        token: Option<&AccessToken>,
        as_user: Option<&UserId>,
        deadline: &Deadline,
    ) -> Result<Reply> {
        let mut request = self.request(call, token, as_user)?;
        *request.body_mut() = call.body.clone().map(Into::into);
        let idle = call.patience.unwrap_or(self.idle);
        let head = timeout(idle, self.http.execute(request));
        let response = deadline
            .limit(call.operation, head)
            .await
            .map_err(Error::sent)?
            .map_err(|_| Error::new(ErrorKind::Timeout, call.operation).sent())?
            .map_err(|cause| broken(call.operation, cause))?;
        self.judge(call.operation, response).await
    }

    /// The request without its body.
    pub(crate) fn request(
        &self,
        call: &Call,
        token: Option<&AccessToken>,
        as_user: Option<&UserId>,
    ) -> Result<reqwest::Request> {
        let mut request = reqwest::Request::new(call.method.clone(), call.url(&self.hosts)?);
        *request.headers_mut() = call.headers.clone();
        if let Some(user) = as_user {
            let user = header_value(call.operation, user.as_str())?;
            request.headers_mut().entry(AS_USER).or_insert(user);
        }
        if let Some(token) = token {
            request
                .headers_mut()
                .insert(AUTHORIZATION, token.bearer(call.operation)?);
        }
        Ok(request)
    }

    pub(crate) async fn judge(
        &self,
        operation: &'static str,
        response: reqwest::Response,
    ) -> Result<Reply> {
        let reply = Reply {
            response,
            operation,
            idle: self.idle,
        };
        debug!(
            operation,
            status = reply.status().as_u16(),
            request_id = reply.header("box-request-id"),
            "answered"
        );
        let failure = match reply.status() {
            // Right after an upload Box answers 202 with the time to come back.
            StatusCode::ACCEPTED if reply.header(RETRY_AFTER.as_str()).is_some() => {
                ErrorKind::NotReady
            }
            status if status.is_success() || status.is_redirection() => return Ok(reply),
            status => failure(status),
        };
        Err(reply.into_error(failure).await)
    }
}

/// When to give up; never, if that is beyond what the clock can count.
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(patience: Duration) -> Self {
        Self(Instant::now().checked_add(patience))
    }

    fn left(&self) -> Duration {
        self.0.map_or(Duration::MAX, |at| {
            at.saturating_duration_since(Instant::now())
        })
    }

    async fn limit<T>(&self, operation: &'static str, work: impl Future<Output = T>) -> Result<T> {
        match self.0 {
            Some(at) => timeout_at(at, work)
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, operation)),
            None => Ok(work.await),
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

    /// Where Box sends the caller on to, for this one call.
    pub(crate) fn redirect(&self) -> Option<Url> {
        self.status().is_redirection().then_some(())?;
        self.response
            .url()
            .join(self.header(LOCATION.as_str())?)
            .ok()
    }

    /// The next piece of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, self.operation).sent())?
            .map_err(|cause| broken(self.operation, cause))
    }

    pub(crate) async fn whole(mut self, limit: usize) -> Result<Whole> {
        let body = self.bytes(limit).await?;
        Ok(Whole {
            status: self.status(),
            headers: std::mem::take(self.response.headers_mut()),
            body,
            operation: self.operation,
        })
    }

    async fn bytes(&mut self, limit: usize) -> Result<Bytes> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, self.operation).sent());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    async fn into_error(mut self, kind: ErrorKind) -> Error {
        let wait = retry_after(self.headers(), Timestamp::now());
        let request_id = self.header("box-request-id").map(str::to_owned);
        // A body that breaks off, drips or never ends still leaves the status to report.
        let body = timeout(self.idle, self.bytes(ERROR_BODY_LIMIT)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let api = ApiError::read(self.headers(), &body);
        Error::new(kind, self.operation)
            .answer(self.status().as_u16(), api, request_id)
            .wait(wait)
    }
}

/// An answer that is no failure, with its body.
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    operation: &'static str,
}

impl Whole {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|cause| {
            Error::new(ErrorKind::Decode, self.operation)
                .sent()
                .cause(cause)
        })
    }
}

fn failure(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 => ErrorKind::Auth,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        409 | 412 => ErrorKind::Conflict,
        429 => ErrorKind::RateLimited,
        500.. => ErrorKind::Server,
        _ => ErrorKind::Invalid,
    }
}

pub(crate) fn wants_new_token(error: &Error) -> bool {
    error.status() == Some(401) && error.api().is_some_and(ApiError::token_is_bad)
}

/// What certainly had no effect may be sent again whatever it is; the rest only if it is safe.
pub(crate) fn may_repeat(call: &Call, error: &Error) -> bool {
    call.repeat == Repeat::Safe || !error.may_have_happened()
}

pub(crate) fn broken(operation: &'static str, cause: reqwest::Error) -> Error {
    // The URL can hold a pre-signed path, which is as good as a password for its file.
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
