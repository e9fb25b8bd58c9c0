//! What can go wrong on the far sides, in the words that the bridge decides by.

use std::{fmt, sync::Arc, time::Duration};

use crate::side::Side;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A call to the content side or the CRM side failed.
#[derive(Debug)]
pub struct PortError {
    kind: PortErrorKind,
    doing: &'static str,
    side: Option<Side>,
    status: Option<u16>,
    call: Option<Arc<()>>,
    is_ours: bool,
    retry_after: Option<Duration>,
    detail: Option<String>,
    fields: Vec<String>,
    cause: Option<Cause>,
}

/// What a failure means for the job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PortErrorKind {
    /// It is not there, or not for us to see.
    Gone,
    /// The version to bring is not there any more.
    NoContent,
    /// It is refused and will be refused again: a person has to change something.
    Refused,
    /// It certainly did not happen and may succeed later.
    Busy,
    /// The far side does not answer or is out of order, and it certainly did not happen. Several
    /// in a row make the bridge leave that side alone for a while.
    Down,
    /// It may have happened: look before it is repeated.
    Unknown,
    /// Nothing at all will succeed for a while: a daily limit is used up or the credentials are
    /// refused. Trying costs attempts for nothing.
    Outage,
    /// There is no room for it, and there will be none until people make some. What stores nothing
    /// new goes on.
    Full,
    /// There is no room for it, while there is for smaller ones: it may never find any.
    TooLarge,
    /// It was not sent: the calls that are left are kept for what is more urgent than
    /// [backfill](crate::QuotaClass::Backfill).
    Later,
    /// The bytes are not the ones that the content side promised.
    Integrity,
}

impl PortErrorKind {
    /// A word for metrics.
    #[cfg(feature = "metrics")]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::NoContent => "no_content",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Outage => "outage",
            Self::Full => "full",
            Self::TooLarge => "too_large",
            Self::Later => "later",
            Self::Integrity => "integrity",
        }
    }
}

impl PortError {
    /// An error met while `doing`, a few words such as `upload`.
    pub fn new(kind: PortErrorKind, doing: &'static str) -> Self {
        Self {
            kind,
            doing,
            side: None,
            status: None,
            call: None,
            is_ours: false,
            retry_after: None,
            detail: None,
            fields: Vec::new(),
            cause: None,
        }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds which side failed. The pipeline knows it by the port that was called, unless the error
    /// says better.
    #[must_use]
    pub fn with_side(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }

    pub(crate) fn or_side(mut self, side: Side) -> Self {
        self.side = self.side.or(Some(side));
        self
    }

    /// One of several failures of the same call.
    #[cfg(feature = "salesforce")]
    pub(crate) fn of_call(mut self, call: &Arc<()>) -> Self {
        self.call = Some(Arc::clone(call));
        self
    }

    /// Whether both are failures of the same call.
    pub(crate) fn is_of_call(&self, call: &Arc<()>) -> bool {
        self.call.as_ref().is_some_and(|own| Arc::ptr_eq(own, call))
    }

    pub(crate) fn call(&self) -> Option<&Arc<()>> {
        self.call.as_ref()
    }

    /// Of our own making, so that it tells nothing about the far side.
    #[cfg(feature = "salesforce")]
    pub(crate) fn of_ours(mut self) -> Self {
        self.is_ours = true;
        self
    }

    /// The same failure of a file that smaller ones have passed.
    pub(crate) fn too_large(mut self) -> Self {
        self.kind = PortErrorKind::TooLarge;
        self
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Adds the HTTP status of the far side's answer, if there was one.
    #[must_use]
    pub fn with_status(mut self, status: Option<u16>) -> Self {
        self.status = status;
        self
    }

    /// Adds how long the far side asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Adds what the far side says about it, in a few words for people.
    #[must_use]
    pub fn with_detail(mut self, detail: Option<String>) -> Self {
        self.detail = detail;
        self
    }

    /// Adds the fields that the far side does not like the values of.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<String>) -> Self {
        self.fields = fields;
        self
    }

    /// What was being done.
    pub fn doing(&self) -> &'static str {
        self.doing
    }

    /// What it means.
    pub fn kind(&self) -> PortErrorKind {
        self.kind
    }

    /// Which side failed, where it is known.
    pub fn side(&self) -> Option<Side> {
        self.side
    }

    /// The HTTP status of the far side's answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// How long the far side asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What the far side says about it, for people.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The fields that the far side does not like the values of, where it names them.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Whether the write certainly had no effect.
    pub fn had_no_effect(&self) -> bool {
        self.kind != PortErrorKind::Unknown
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            PortErrorKind::Gone => "not there",
            PortErrorKind::NoContent => "the version is not there any more",
            PortErrorKind::Refused => "refused",
            PortErrorKind::Down => "does not answer",
            PortErrorKind::Busy => "did not succeed this time",
            PortErrorKind::Unknown => "may or may not have happened",
            PortErrorKind::Outage => "not possible for now",
            PortErrorKind::Full => "no room for it",
            PortErrorKind::TooLarge => "no room for it, only for smaller ones",
            PortErrorKind::Later => "left for later",
            PortErrorKind::Integrity => "the bytes are not the expected ones",
        };
        write!(f, "{}: {what}", self.doing)?;
        match &self.detail {
            Some(detail) => write!(f, ": \"{detail}\""),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error and its causes in one line, for notes that people read.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}
