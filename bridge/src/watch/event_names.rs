//! What Box's webhooks, its users' event streams and its enterprises' call the same.

use crate::rules::one_spelling;

/// One thing that can happen, to a file, a folder or either.
pub(super) struct Named {
    /// In a user's stream.
    user: &'static [&'static str],
    /// In an enterprise's stream.
    enterprise: &'static [&'static str],
    kind: Option<&'static str>,
    /// What webhooks call it. What comes after the first may follow from it: something moved or
    /// copied into a folder is an upload to whoever watches that folder.
    pub(super) triggers: &'static [&'static str],
}

const fn row(
    kind: Option<&'static str>,
    user: &'static [&'static str],
    enterprise: &'static [&'static str],
    triggers: &'static [&'static str],
) -> Named {
    Named {
        user,
        enterprise,
        kind,
        triggers,
    }
}

const FILE: Option<&str> = Some("file");
const FOLDER: Option<&str> = Some("folder");

/// Vendor: <https://developer.box.com/guides/events/event-triggers/>
const NAMES: &[Named] = &[
    row(
        FILE,
        &["ITEM_UPLOAD"],
        &["UPLOAD", "EDIT"],
        &["FILE.UPLOADED"],
    ),
    // No webhook tells of it for sure; the file has another current version.
    row(
        FILE,
        &["ITEM_MAKE_CURRENT_VERSION"],
        &["FILE_VERSION_RESTORE"],
        &["FILE.UPLOADED"],
    ),
    row(
        FILE,
        &["ITEM_MOVE"],
        &["MOVE"],
        &["FILE.MOVED", "FILE.UPLOADED"],
    ),
    row(
        FILE,
        &["ITEM_COPY"],
        &["COPY"],
        &["FILE.COPIED", "FILE.UPLOADED"],
    ),
    row(FILE, &["ITEM_RENAME"], &["RENAME"], &["FILE.RENAMED"]),
    row(FILE, &["LOCK_CREATE"], &["LOCK"], &["FILE.LOCKED"]),
    row(FILE, &["LOCK_DESTROY"], &["UNLOCK"], &["FILE.UNLOCKED"]),
    row(FILE, &["ITEM_TRASH"], &["DELETE"], &["FILE.TRASHED"]),
    row(
        FILE,
        &["ITEM_UNDELETE_VIA_TRASH"],
        &["UNDELETE"],
        &["FILE.RESTORED"],
    ),
    row(FILE, &["ITEM_PREVIEW"], &["PREVIEW"], &["FILE.PREVIEWED"]),
    row(
        FILE,
        &["ITEM_DOWNLOAD"],
        &["DOWNLOAD"],
        &["FILE.DOWNLOADED"],
    ),
    row(FOLDER, &["ITEM_CREATE"], &["UPLOAD"], &["FOLDER.CREATED"]),
    row(FOLDER, &["ITEM_MOVE"], &["MOVE"], &["FOLDER.MOVED"]),
    row(FOLDER, &["ITEM_COPY"], &["COPY"], &["FOLDER.COPIED"]),
    row(FOLDER, &["ITEM_RENAME"], &["RENAME"], &["FOLDER.RENAMED"]),
    row(FOLDER, &["ITEM_TRASH"], &["DELETE"], &["FOLDER.TRASHED"]),
    row(
        FOLDER,
        &["ITEM_UNDELETE_VIA_TRASH"],
        &["UNDELETE"],
        &["FOLDER.RESTORED"],
    ),
    row(
        None,
        &[],
        &["METADATA_INSTANCE_CREATE"],
        &["METADATA_INSTANCE.CREATED"],
    ),
    row(
        None,
        &[],
        &["METADATA_INSTANCE_UPDATE"],
        &["METADATA_INSTANCE.UPDATED"],
    ),
    row(
        None,
        &[],
        &["METADATA_INSTANCE_DELETE"],
        &["METADATA_INSTANCE.DELETED"],
    ),
    row(
        None,
        &["COLLAB_INVITE_COLLABORATOR"],
        &["COLLABORATION_INVITE"],
        &["COLLABORATION.CREATED"],
    ),
    row(
        None,
        &["COLLAB_ADD_COLLABORATOR"],
        &["COLLABORATION_ACCEPT"],
        &["COLLABORATION.ACCEPTED"],
    ),
    row(
        None,
        &["COLLAB_REMOVE_COLLABORATOR"],
        &["COLLABORATION_REMOVE"],
        &["COLLABORATION.REMOVED"],
    ),
    row(
        None,
        &["COLLAB_ROLE_CHANGE"],
        &["COLLABORATION_ROLE_CHANGE"],
        &["COLLABORATION.UPDATED"],
    ),
    row(
        None,
        &["ITEM_SHARED_CREATE"],
        &["SHARE"],
        &["SHARED_LINK.CREATED"],
    ),
    row(
        None,
        &["ITEM_SHARED_UPDATE"],
        &["ITEM_SHARED_UPDATE"],
        &["SHARED_LINK.UPDATED"],
    ),
    row(
        None,
        &["ITEM_SHARED_UNSHARE"],
        &["UNSHARE"],
        &["SHARED_LINK.DELETED"],
    ),
    row(
        None,
        &["COMMENT_CREATE"],
        &["COMMENT_CREATE"],
        &["COMMENT.CREATED"],
    ),
    row(
        None,
        &["COMMENT_EDIT"],
        &["COMMENT_EDIT"],
        &["COMMENT.UPDATED"],
    ),
    row(
        None,
        &["COMMENT_DELETE"],
        &["COMMENT_DELETE"],
        &["COMMENT.DELETED"],
    ),
    row(
        None,
        &["TASK_ASSIGNMENT_CREATE"],
        &["TASK_ASSIGNMENT_CREATE"],
        &["TASK_ASSIGNMENT.CREATED"],
    ),
    row(
        None,
        &["TASK_ASSIGNMENT_UPDATE"],
        &["TASK_ASSIGNMENT_UPDATE"],
        &["TASK_ASSIGNMENT.UPDATED"],
    ),
    row(
        FILE,
        &[],
        &["SIGN_DOCUMENT_ASSIGNED"],
        &["SIGN_REQUEST.SIGNATURE_REQUESTED"],
    ),
    row(
        FILE,
        &[],
        &["SIGN_DOCUMENT_SIGNED"],
        &["SIGN_REQUEST.SIGNER_SIGNED"],
    ),
    row(
        FILE,
        &[],
        &["SIGN_DOCUMENT_COMPLETED"],
        &["SIGN_REQUEST.COMPLETED"],
    ),
    row(
        FILE,
        &[],
        &["SIGN_DOCUMENT_DECLINED"],
        &["SIGN_REQUEST.DECLINED"],
    ),
    row(
        FILE,
        &[],
        &["SIGN_DOCUMENT_EXPIRED"],
        &["SIGN_REQUEST.EXPIRED"],
    ),
];

/// The two kinds of streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stream {
    User,
    Enterprise,
}

impl Named {
    /// What an event of this type is, when it happened to a file or a folder.
    pub(super) fn of(event_type: &str, kind: &str) -> Option<&'static Self> {
        NAMES.iter().find(|it| {
            (it.user.contains(&event_type) || it.enterprise.contains(&event_type))
                && it.kind.is_none_or(|of| of == kind)
        })
    }
}

impl Stream {
    /// The types of this stream's events that webhooks with this trigger would tell of.
    pub(super) fn types_of(self, trigger: &str) -> Vec<&'static str> {
        let wanted = one_spelling(trigger);
        let named = NAMES.iter().filter(|it| it.triggers.contains(&wanted));
        let types = named.flat_map(|it| match self {
            Self::User => it.user,
            Self::Enterprise => it.enterprise,
        });
        types.copied().collect()
    }
}
