//! What happened.

use std::{borrow::Cow, fmt};

/// What happened: an open set, so one that Box adds later survives.
///
/// There is no trigger for versions: a new version of a file comes as
/// [`FILE_UPLOADED`](Self::FILE_UPLOADED), too.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Trigger(Cow<'static, str>);

/// A trigger that Box cannot be asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// Some guides name it; Box never had it.
    #[error(
        "Box has no trigger FILE.VERSION.RESTORED: a new version comes as FILE.UPLOADED, and \
         FILE.RESTORED means a file that was taken out of the trash"
    )]
    NoVersionTrigger,
    /// Not in Box's list.
    #[error("no webhook can be registered for {0:?}: Box does not list such a trigger")]
    Unknown(String),
}

macro_rules! triggers {
    ($($constant:ident = $name:literal,)+) => {
        impl Trigger {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: Self = Self(Cow::Borrowed($name));
            )+
        }

        const REGISTRABLE: &[&str] = &[$($name),+];
    };
}

// Box's guide and its OpenAPI document spell the newer Sign triggers differently, so both
// spellings are here.
triggers! {
    FILE_UPLOADED = "FILE.UPLOADED",
    FILE_PREVIEWED = "FILE.PREVIEWED",
    FILE_DOWNLOADED = "FILE.DOWNLOADED",
    FILE_TRASHED = "FILE.TRASHED",
    FILE_DELETED = "FILE.DELETED",
    FILE_RESTORED = "FILE.RESTORED",
    FILE_COPIED = "FILE.COPIED",
    FILE_MOVED = "FILE.MOVED",
    FILE_LOCKED = "FILE.LOCKED",
    FILE_UNLOCKED = "FILE.UNLOCKED",
    FILE_RENAMED = "FILE.RENAMED",
    FOLDER_CREATED = "FOLDER.CREATED",
    FOLDER_RENAMED = "FOLDER.RENAMED",
    FOLDER_DOWNLOADED = "FOLDER.DOWNLOADED",
    FOLDER_RESTORED = "FOLDER.RESTORED",
    FOLDER_DELETED = "FOLDER.DELETED",
    FOLDER_COPIED = "FOLDER.COPIED",
    FOLDER_MOVED = "FOLDER.MOVED",
    FOLDER_TRASHED = "FOLDER.TRASHED",
    COLLABORATION_CREATED = "COLLABORATION.CREATED",
    COLLABORATION_ACCEPTED = "COLLABORATION.ACCEPTED",
    COLLABORATION_REJECTED = "COLLABORATION.REJECTED",
    COLLABORATION_REMOVED = "COLLABORATION.REMOVED",
    COLLABORATION_UPDATED = "COLLABORATION.UPDATED",
    METADATA_INSTANCE_CREATED = "METADATA_INSTANCE.CREATED",
    METADATA_INSTANCE_UPDATED = "METADATA_INSTANCE.UPDATED",
    METADATA_INSTANCE_DELETED = "METADATA_INSTANCE.DELETED",
    SHARED_LINK_CREATED = "SHARED_LINK.CREATED",
    SHARED_LINK_UPDATED = "SHARED_LINK.UPDATED",
    SHARED_LINK_DELETED = "SHARED_LINK.DELETED",
    COMMENT_CREATED = "COMMENT.CREATED",
    COMMENT_UPDATED = "COMMENT.UPDATED",
    COMMENT_DELETED = "COMMENT.DELETED",
    TASK_ASSIGNMENT_CREATED = "TASK_ASSIGNMENT.CREATED",
    TASK_ASSIGNMENT_UPDATED = "TASK_ASSIGNMENT.UPDATED",
    SIGN_REQUEST_COMPLETED = "SIGN_REQUEST.COMPLETED",
    SIGN_REQUEST_DECLINED = "SIGN_REQUEST.DECLINED",
    SIGN_REQUEST_EXPIRED = "SIGN_REQUEST.EXPIRED",
    SIGN_REQUEST_SIGNER_EMAIL_BOUNCED = "SIGN_REQUEST.SIGNER_EMAIL_BOUNCED",
    SIGN_REQUEST_SIGNER_SIGNED = "SIGN_REQUEST.SIGNER_SIGNED",
    SIGN_REQUEST_SIGNATURE_REQUESTED = "SIGN_REQUEST.SIGNATURE_REQUESTED",
    SIGN_REQUEST_ERROR_FINALIZING = "SIGN_REQUEST.ERROR_FINALIZING",
    SIGN_REQUEST_SIGN_SIGNER_SIGNED = "SIGN_REQUEST.SIGN_SIGNER_SIGNED",
    SIGN_REQUEST_SIGN_DOCUMENT_CREATED = "SIGN_REQUEST.SIGN_DOCUMENT_CREATED",
    SIGN_REQUEST_SIGN_ERROR_FINALIZING = "SIGN_REQUEST.SIGN_ERROR_FINALIZING",
    DOCGEN_DOCUMENT_GENERATION_STARTED = "DOCGEN_DOCUMENT_GENERATION_STARTED",
    DOCGEN_DOCUMENT_GENERATION_SUCCEEDED = "DOCGEN_DOCUMENT_GENERATION_SUCCEEDED",
    DOCGEN_DOCUMENT_GENERATION_FAILED = "DOCGEN_DOCUMENT_GENERATION_FAILED",
    WEBHOOK_DELETED = "WEBHOOK.DELETED",
}

impl Trigger {
    /// Sent instead of the real trigger when the session of the webhook's creator is gone; no
    /// webhook is registered for it.
    pub const NO_ACTIVE_SESSION: Self = Self(Cow::Borrowed("NO_ACTIVE_SESSION"));

    /// The trigger of this name, known or not.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The trigger of this name, if a webhook can be registered for it.
    pub fn for_registration(name: &str) -> Result<Self, TriggerError> {
        if name == "FILE.VERSION.RESTORED" {
            return Err(TriggerError::NoVersionTrigger);
        }
        let known = REGISTRABLE.iter().find(|known| **known == name);
        known
            .map(|known| Self(Cow::Borrowed(known)))
            .ok_or_else(|| TriggerError::Unknown(name.to_owned()))
    }

    /// Its name, as Box writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
