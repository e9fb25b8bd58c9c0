//! What can go wrong with a call to Box, and what to do about it.

use std::{fmt, sync::Arc, time::Duration};

use crate::api_error::{ApiError, Conflicting};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call that failed: what, where, and whether to try again.
///
/// `Display` gives the operation, status, Box's code and request id in one line, and never a
/// token, a query or a body. What caused it is its [`source`](std::error::Error::source).
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    status: Option<u16>,
    api: Option<ApiError>,
    request_id: Option<String>,
    box_request_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: u32,
    sent: bool,
    token_was_over: bool,
    detail: Option<&'static str>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong, to branch on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Box refused the token or the grant behind it. [`Error::api`] tells whether to log in again
    /// (`invalid_grant`), to mend the configuration (`invalid_client`), or to have the
    /// application enabled for the enterprise (`unauthorized`).
    Auth,
    /// The client was set up with something that cannot work, such as a URL that is none.
    Config,
    /// The content given for an upload failed, or had another length than was said. The error's
    /// source is the content's own. Box has nothing of it.
    Content,
    /// The item's state is in the way: a name in use, a value that differs, somebody who
    /// collaborates already (409, 412).
    Conflict,
    /// Box answered something that this crate cannot read.
    Decode,
    /// The token's user or the application's scopes do not allow it (403).
    Forbidden,
    /// The bytes are not the ones that Box's SHA-1 promises, or they changed under a resume; or
    /// Box has stored others than were sent.
    Integrity,
    /// Box calls the request wrong (other 4xx): repeating it will not help.
    Invalid,
    /// An answer was larger than the limit given for it.
    TooLarge,
    /// There is no such item, or the token's user cannot see it (404, 410).
    NotFound,
    /// Box is not ready with the item yet (202 on a download): ask again later.
    NotReady,
    /// Too many requests (429).
    RateLimited,
    /// Box failed (5xx).
    Server,
    /// The [`TokenStore`](crate::TokenStore) failed, or changed under every try. A grant that it
    /// would not take is safe in this process and is stored at the next call.
    Store,
    /// Nothing came for as long as the client is set to wait.
    Timeout,
    /// The connection could not be made or broke.
    Transport,
}

impl Error {
    /// What a [`TokenSource`](crate::TokenSource) of your own says when it has no token: kind
    /// [`Auth`](ErrorKind::Auth).
    pub fn no_token(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Auth, "token").cause(cause)
    }

    pub(crate) fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            status: None,
            api: None,
            request_id: None,
            box_request_id: None,
            retry_after: None,
            attempts: 0,
            sent: false,
            token_was_over: false,
            detail: None,
            cause: None,
        }))
    }

    pub(crate) fn detail(mut self, detail: &'static str) -> Self {
        self.0.detail = Some(detail);
        self
    }

    pub(crate) fn cause(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into().into());
        self
    }

    /// The same error for one more caller who waited for the same thing.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    pub(crate) fn answer(mut self, status: u16, api: ApiError, request_id: Option<String>) -> Self {
        self.0.status = Some(status);
        self.0.request_id = api.request_id.clone().or_else(|| request_id.clone());
        self.0.box_request_id = request_id;
        self.0.api = Some(api);
        self.0.sent = true;
        self
    }

    /// The token endpoint says 400 where the grant is refused.
    pub(crate) fn refused_grant(mut self) -> Self {
        self.0.kind = ErrorKind::Auth;
        self
    }

    /// Where Box's status says another thing than its code.
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// For an answer with tokens in it: what a parser says of it quotes from it.
    pub(crate) fn without_cause(mut self) -> Self {
        self.0.cause = None;
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

    /// For a request whose body was cut off: it can have had no effect.
    pub(crate) fn incomplete(mut self) -> Self {
        self.0.sent = false;
        self
    }

    /// For a 401 that could not be answered by a repeat: the next call has another token.
    pub(crate) fn token_was_over(mut self) -> Self {
        self.0.token_was_over = true;
        self
    }

    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The call that failed, such as `files.download`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The HTTP status, when Box answered.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What Box says of it, when Box answered.
    pub fn api(&self) -> Option<&ApiError> {
        self.0.api.as_ref()
    }

    /// The item that has the name already, when that is what is in the way.
    pub fn name_in_use(&self) -> Option<Conflicting> {
        let api = self
            .api()
            .filter(|api| api.code() == Some("item_name_in_use"))?;
        api.conflicts().into_iter().next()
    }

    /// Box's name for the request, for its support.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The header `box-request-id`, by which Box's support finds the request too. It is another
    /// one than [`request_id`](Self::request_id) when the error's body has its own.
    pub fn box_request_id(&self) -> Option<&str> {
        self.0.box_request_id.as_deref()
    }

    /// How long Box asked to wait.
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
        let transient_conflict = || {
            self.api().and_then(ApiError::code).is_some_and(|code| {
                matches!(
                    code,
                    "name_temporarily_reserved" | "operation_blocked_temporary"
                )
            })
        };
        match self.0.kind {
            ErrorKind::NotReady
            | ErrorKind::RateLimited
            | ErrorKind::Store
            | ErrorKind::Timeout
            | ErrorKind::Transport => true,
            // 507 is a full account: waiting does not empty it.
            ErrorKind::Server => self.0.status != Some(507),
            ErrorKind::Conflict => transient_conflict(),
            ErrorKind::Auth => self.0.token_was_over,
            _ => false,
        }
    }

    /// Whether the request may have taken effect although it failed: it left this machine and
    /// no answer says that it was refused. Look before you repeat a write.
    pub fn may_have_happened(&self) -> bool {
        self.0.sent
            && matches!(
                self.0.kind,
                ErrorKind::Server
                    | ErrorKind::Timeout
                    | ErrorKind::Transport
                    | ErrorKind::Decode
                    | ErrorKind::TooLarge
            )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{} failed", inner.operation)?;
        match (inner.status, inner.api.as_ref().and_then(ApiError::code)) {
            (Some(status), Some(code)) => write!(f, ": {status} {code}")?,
            (Some(status), None) => write!(f, ": {status}")?,
            (None, _) => write!(f, ": {}", inner.kind.words())?,
        }
        if let Some(detail) = inner.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(id) = &inner.request_id {
            write!(f, " (request {id})")?;
        }
        if inner.attempts > 1 {
            write!(f, " after {} attempts", inner.attempts)?;
        }
        Ok(())
    }
}

impl ErrorKind {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Auth => "not authorized",
            Self::Config => "wrong configuration",
            Self::Content => "the content failed",
            Self::Conflict => "conflict",
            Self::Decode => "unreadable answer",
            Self::Forbidden => "forbidden",
            Self::Integrity => "the bytes are not the expected ones",
            Self::Invalid => "invalid request",
            Self::TooLarge => "larger than allowed",
            Self::NotFound => "not found",
            Self::NotReady => "not ready yet",
            Self::RateLimited => "rate limited",
            Self::Server => "server error",
            Self::Store => "the token store failed",
            Self::Timeout => "timed out",
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
            .field("request_id", &self.0.request_id)
            .field("box_request_id", &self.0.box_request_id)
            .field("retry_after", &self.0.retry_after)
            .field("attempts", &self.0.attempts)
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
