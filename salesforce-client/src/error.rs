//! What can go wrong with a call to Salesforce, and what to do about it.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{api_error::ApiErrors, bulk::JobId};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call that failed: what, where, and whether to try again.
///
/// `Display` gives the operation, status, Salesforce's code and the request's id in one line, and
/// never a token, a query or a body; `Debug` gives no messages of the org's either. What caused it is its [`source`](std::error::Error::source).
pub struct Error(Box<Inner>);

const LONGEST_ID: usize = 80;

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    status: Option<u16>,
    api: Option<ApiErrors>,
    retry_after: Option<Duration>,
    attempts: u32,
    /// Whether the request, as a whole, left this machine.
    sent: bool,
    /// Whether an attempt before the last one may have taken effect.
    doubtful: bool,
    /// Whether the same call succeeds with the next token.
    session_ended: bool,
    another_way: bool,
    request_id: Option<String>,
    job: Option<JobId>,
    rows: Option<Range<u64>>,
    detail: Option<&'static str>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong, to branch on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Salesforce refused the token or the grant behind it (401, or a 400 of the token endpoint).
    Auth,
    /// Too many long calls, or too much of the org's own code, run at once: wait a little.
    ConcurrentLimit,
    /// The client was set up with something that cannot work: a URL that is none, a key that is
    /// no key, a version of the API that is retired (410).
    Config,
    /// The record is in a state that is in the way: changed by others (409, 412), or locked by an
    /// approval.
    Conflict,
    /// The content that was to be uploaded failed, or was shorter or longer than announced: its
    /// own error is the [`source`](std::error::Error::source). Salesforce has nothing of it.
    Content,
    /// The org's calls of 24 hours are used up (403 `REQUEST_LIMIT_EXCEEDED`, total). The client
    /// does not try again by itself: nothing succeeds before the window has moved on.
    DailyLimit,
    /// Salesforce answered something that this crate cannot read.
    Decode,
    /// The record is deleted.
    Deleted,
    /// A value that has to be unique is there already, a duplicate rule says so, or several
    /// records have the external id (300). Nothing was changed.
    Duplicate,
    /// The user lacks a right (403, or a code that says so).
    Forbidden,
    /// Salesforce calls the request wrong (other 4xx): repeating it will not help.
    Invalid,
    /// A Bulk job ended as `Failed` or `Aborted`: the code in [`Error::api`] tells why. Some of its
    /// rows can have been written.
    JobFailed,
    /// There is no such record, or the user cannot see it (404).
    NotFound,
    /// The place in a topic of events is unknown or older than the 72 hours that Salesforce keeps:
    /// events may have been missed.
    PositionLost,
    /// Too many requests (429), which comes from proxies: Salesforce itself has the two limits
    /// above.
    RateLimited,
    /// Somebody else is writing to the same record. Nothing was changed: try again.
    RowLocked,
    /// Salesforce failed or is being maintained (5xx), or its edge knows no way to the org (420).
    Server,
    /// The org's storage is full: an admin has to make room.
    StorageFull,
    /// The [`TokenStore`](crate::TokenStore) failed. The grant is safe in this process and is
    /// stored at the next call.
    Store,
    /// Nothing came for as long as the client is set to wait, or Salesforce's own time for the
    /// call was over.
    Timeout,
    /// No token could be had for now: what gives them, or the identity provider behind it, failed.
    TokenUnavailable,
    /// A request is larger than Salesforce takes, or an answer larger than the limit given for it.
    TooLarge,
    /// The connection could not be made or broke.
    Transport,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            status: None,
            api: None,
            retry_after: None,
            attempts: 0,
            sent: false,
            doubtful: false,
            session_ended: false,
            another_way: false,
            request_id: None,
            job: None,
            rows: None,
            detail: None,
            cause: None,
        }))
    }

    /// For a [`TokenSource`](crate::TokenSource) of your own: no token can be had before a person
    /// has mended something, such as a password that was changed. Nobody tries again by himself.
    pub fn no_token(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Auth, "token").cause(cause)
    }

    /// The same where it may be had later, as when a service that keeps secrets does not answer:
    /// [`is_retryable`](Self::is_retryable) is true then.
    pub fn no_token_now(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::TokenUnavailable, "token").cause(cause)
    }

    pub(crate) fn detail(mut self, detail: &'static str) -> Self {
        self.0.detail = Some(detail);
        self
    }

    pub(crate) fn cause(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(Arc::from(cause.into()));
        self
    }

    pub(crate) fn answer(mut self, status: u16, api: ApiErrors) -> Self {
        self.0.status = Some(status);
        self.0.api = Some(api);
        self.0.sent = true;
        self
    }

    /// What Salesforce says of something in an answer that is no failure itself.
    pub(crate) fn told(mut self, api: ApiErrors, detail: &'static str) -> Self {
        self.0.api = Some(api);
        self.0.detail = Some(detail);
        self
    }

    /// Of one record among many: the call as a whole was answered, this record was refused.
    pub(crate) fn of_row(mut self, api: ApiErrors) -> Self {
        self.0.api = Some(api);
        self
    }

    /// The token endpoint says 400 where the grant is refused.
    pub(crate) fn refused_grant(mut self, advice: Option<&'static str>) -> Self {
        self.0.kind = ErrorKind::Auth;
        self.0.detail = advice;
        self
    }

    /// By which id Salesforce's support finds the request.
    pub(crate) fn requested_as(mut self, headers: &HeaderMap) -> Self {
        let ids = ["x-sfdc-request-id", "x-request-id"];
        let id = ids.into_iter().find_map(|name| headers.get(name));
        let is_plain = |id: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain)
        };
        let id = id.and_then(|id| id.to_str().ok()).filter(is_plain);
        self.0.request_id = id.map(str::to_owned);
        self
    }

    /// The Bulk job that it is about.
    pub(crate) fn of_job(mut self, job: JobId) -> Self {
        self.0.job = Some(job);
        self
    }

    /// The rows that it is about, by their numbers.
    pub(crate) fn of_rows(mut self, rows: Range<u64>) -> Self {
        self.0.rows = Some(rows);
        self
    }

    /// The token endpoint failed as servers do, whatever its status.
    pub(crate) fn of_server(mut self) -> Self {
        self.0.kind = ErrorKind::Server;
        self
    }

    /// Of the token endpoint's texts only the code.
    pub(crate) fn without_texts(mut self) -> Self {
        self.0.api = self.0.api.map(ApiErrors::without_texts);
        self
    }

    pub(crate) fn wait(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    pub(crate) fn sent(mut self) -> Self {
        self.0.sent = true;
        self
    }

    /// The request broke off before it was whole, so that it had no effect.
    pub(crate) fn incomplete(mut self) -> Self {
        self.0.sent = false;
        self.0.doubtful = false;
        self
    }

    /// Another call that would fare as this one did was not even made.
    pub(crate) fn unsent(mut self) -> Self {
        self.0.attempts = 0;
        self.0.detail = Some("not sent: the call before failed for all");
        self
    }

    /// The same call goes another way from now on.
    pub(crate) fn worth_another_way(mut self) -> Self {
        self.0.another_way = true;
        self
    }

    pub(crate) fn session_ended(mut self) -> Self {
        self.0.session_ended = true;
        self
    }

    pub(crate) fn after(mut self, attempts: u32, doubtful: bool) -> Self {
        self.0.attempts = attempts;
        self.0.doubtful |= doubtful;
        self
    }

    /// The same failure for another waiter.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The call that failed, such as `query`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The HTTP status, when Salesforce answered.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What Salesforce says of it, when Salesforce answered.
    pub fn api(&self) -> Option<&ApiErrors> {
        self.0.api.as_ref()
    }

    /// The id of the request, when Salesforce has told one: its support asks for it.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The Bulk job that the error is about, where it holds rows and may have been closed, so that
    /// they may be written: look at the job before you send them again.
    pub fn job_id(&self) -> Option<&JobId> {
        self.0.job.as_ref()
    }

    /// Which rows of a load were in the job that failed, by their numbers from 0. Those before are
    /// in the jobs that came out before. Those of it are not written, unless there is a
    /// [`job_id`](Self::job_id).
    pub fn rows(&self) -> Option<Range<u64>> {
        self.0.rows.clone()
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How many times the call was sent.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether the same call may succeed later, without anything being mended. Whether it is
    /// also *safe* to repeat depends on [`Error::may_have_happened`].
    pub fn is_retryable(&self) -> bool {
        self.0.session_ended
            || self.0.another_way
            || matches!(
                self.0.kind,
                ErrorKind::ConcurrentLimit
                    | ErrorKind::RateLimited
                    | ErrorKind::RowLocked
                    | ErrorKind::Server
                    | ErrorKind::Store
                    | ErrorKind::Timeout
                    | ErrorKind::TokenUnavailable
                    | ErrorKind::Transport
            )
    }

    /// Whether the request may have taken effect although it failed: one of its attempts left
    /// this machine as a whole and no answer says that it was refused. Look before you repeat a
    /// write.
    pub fn may_have_happened(&self) -> bool {
        self.0.doubtful || self.last_may_have_happened()
    }

    /// The same of the last attempt alone.
    pub(crate) fn last_may_have_happened(&self) -> bool {
        let refused = matches!(self.0.status, Some(300..=407 | 409..=499));
        let unknown = matches!(
            self.0.kind,
            ErrorKind::Decode
                | ErrorKind::Server
                | ErrorKind::Timeout
                | ErrorKind::TooLarge
                | ErrorKind::Transport
        );
        self.0.sent && !refused && unknown
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.0.doubtful
    }

    /// Whether Salesforce gave this code, among others perhaps: an
    /// [`ErrorCode`](crate::ErrorCode) or its text.
    pub fn has_code(&self, code: impl AsRef<str>) -> bool {
        self.api().is_some_and(|errors| errors.has(code))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{} failed", inner.operation)?;
        match (inner.status, inner.api.as_ref().and_then(ApiErrors::code)) {
            (Some(status), Some(code)) => write!(f, ": {status} {code}")?,
            (Some(status), None) => write!(f, ": {status}")?,
            (None, Some(code)) => write!(f, ": {code}")?,
            (None, None) => write!(f, ": {}", inner.kind.words())?,
        }
        if let Some(detail) = inner.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(job) = &inner.job {
            write!(f, ": job {job} may have been closed")?;
        }
        if let Some(rows) = &inner.rows {
            write!(f, ": rows {} to {}", rows.start, rows.end)?;
        }
        if inner.attempts > 1 {
            write!(f, " after {} attempts", inner.attempts)?;
        }
        if let Some(id) = &inner.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl ErrorKind {
    /// As metrics name it.
    #[cfg(feature = "metrics")]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::ConcurrentLimit => "concurrent_limit",
            Self::Config => "config",
            Self::Conflict => "conflict",
            Self::Content => "content",
            Self::DailyLimit => "daily_limit",
            Self::Decode => "decode",
            Self::Deleted => "deleted",
            Self::Duplicate => "duplicate",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid",
            Self::JobFailed => "job_failed",
            Self::NotFound => "not_found",
            Self::PositionLost => "position_lost",
            Self::RateLimited => "rate_limited",
            Self::RowLocked => "row_locked",
            Self::Server => "server",
            Self::StorageFull => "storage_full",
            Self::Store => "store",
            Self::Timeout => "timeout",
            Self::TokenUnavailable => "token_unavailable",
            Self::TooLarge => "too_large",
            Self::Transport => "transport",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Auth => "not authorized",
            Self::ConcurrentLimit => "too many calls at once",
            Self::Config => "wrong configuration",
            Self::Conflict => "conflict",
            Self::Content => "the content failed",
            Self::DailyLimit => "the daily limit is used up",
            Self::Decode => "unreadable answer",
            Self::Deleted => "deleted",
            Self::Duplicate => "duplicate",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid request",
            Self::JobFailed => "the job failed",
            Self::NotFound => "not found",
            Self::PositionLost => "the position is lost",
            Self::RateLimited => "rate limited",
            Self::RowLocked => "record locked",
            Self::Server => "server error",
            Self::StorageFull => "storage full",
            Self::Store => "the token store failed",
            Self::Timeout => "timed out",
            Self::TokenUnavailable => "no token for now",
            Self::TooLarge => "larger than allowed",
            Self::Transport => "connection failed",
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("status", &self.0.status)
            .field("api", &self.0.api)
            .field("retry_after", &self.0.retry_after)
            .field("attempts", &self.0.attempts)
            .field("request_id", &self.0.request_id)
            .field("job_id", &self.0.job)
            .field("rows", &self.0.rows)
            .field("may_have_happened", &self.may_have_happened())
            .field("detail", &self.0.detail)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}
