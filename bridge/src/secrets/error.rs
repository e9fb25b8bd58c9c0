use std::fmt;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A secret store could not do what it was asked. Nothing was overwritten.
#[derive(Debug)]
pub struct SecretError {
    kind: SecretErrorKind,
    doing: &'static str,
    place: Option<String>,
    cause: Option<Cause>,
}

/// What is wrong with the store, and so what to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SecretErrorKind {
    /// What is stored was encrypted with another key: give the store the key that it was made
    /// with.
    WrongKey,
    /// The key is none: it is not 32 bytes, or the passphrase is too short.
    BadKey,
    /// What is stored is damaged or cut short: restore a backup, or log in anew.
    Corrupt,
    /// It is no secret store at all: nothing of ours was ever written there.
    Foreign,
    /// It was written by a newer version of this program.
    Incompatible,
    /// Others than the owner may read or replace it: take their permissions away.
    OpenToOthers,
    /// The store does not let us in, or not to this: change its policy or our credentials.
    Denied,
    /// The store refuses what it was given: the name is not plain, or the secret is too long.
    Refused,
    /// It is marked for deletion: restore it.
    Deleted,
    /// The store cannot be reached or does not answer in time: try again.
    Unavailable,
    /// Another process changed it at every try: try again.
    Contended,
}

impl SecretError {
    /// An error met while `doing`, a few words such as `load a secret`.
    pub fn new(kind: SecretErrorKind, doing: &'static str) -> Self {
        Self {
            kind,
            doing,
            place: None,
            cause: None,
        }
    }

    /// Adds what caused it. It must not repeat a secret.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds where: a file, or the address of a server.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert(place.into());
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> SecretErrorKind {
        self.kind
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            SecretErrorKind::WrongKey => "it was encrypted with another key",
            SecretErrorKind::BadKey => "the key cannot be used",
            SecretErrorKind::Corrupt => "it is damaged and was left as it is",
            SecretErrorKind::Foreign => "it is no secret store and was left as it is",
            SecretErrorKind::Incompatible => "it was written by a newer version of this program",
            SecretErrorKind::OpenToOthers => "it is open to other users",
            SecretErrorKind::Denied => "the store does not allow it",
            SecretErrorKind::Refused => "the store refuses it",
            SecretErrorKind::Deleted => "it is marked for deletion",
            SecretErrorKind::Unavailable => "the store is not available",
            SecretErrorKind::Contended => "others changed it at every try",
        };
        match &self.place {
            Some(place) => write!(f, "{} ({place}): {what}", self.doing),
            None => write!(f, "{}: {what}", self.doing),
        }
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
