#![doc = include_str!("../README.md")]

mod api_error;
mod call;
mod client;
mod download;
mod error;
mod files;
mod folders;
mod ids;
mod metadata;
mod names;
mod raw;
mod retry;
mod shared_links;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transport;
mod upload;
mod webhooks;

pub use api_error::{ApiError, Conflicting};
pub use client::{BoxClient, BoxClientBuilder};
pub use download::{Download, DownloadRequest};
pub use error::{Error, ErrorKind, Result};
pub use files::{
    CopyFile, DeleteFile, File, FileVersion, FileVersionMini, Files, FolderMini, GetFile, Lock,
    LockFile, PathCollection, RestoreFile, UpdateFile, UserMini,
};
pub use folders::{
    CreateFolder, DeleteFolder, EnsurePath, EnsuredPath, Folder, Folders, GetFolder, Item,
    ListItems, PlaceFolder, UpdateFolder,
};
pub use ids::{FileId, FileVersionId, FolderId, IdError, UploadSessionId, UserId, WebhookId};
pub use metadata::{Metadata, MetadataInstance};
pub use names::{NameChange, NameError, Sanitized, check_name, sanitize_name};
pub use raw::{RawReply, RawRequest};
pub use retry::RetryPolicy;
pub use shared_links::{
    ItemLink, LinkAccess, SetSharedLink, SharedLink, SharedLinkAccess, SharedLinks,
};
pub use token::{
    AccessToken, ClientCredentials, DeveloperToken, Grant, MemoryTokenStore, RefreshToken, Stored,
    Subject, Swap, TokenEndpoint, TokenReply, TokenSource, TokenStore, TokenStoreError,
};
pub use upload::{
    Content, Preflight, SendSession, UploadFile, UploadPart, UploadSession, UploadSessions,
    UploadVersion, Uploaded,
};
pub use webhooks::{Change, Ensured, Webhook, WebhookMini, WebhookTarget, Webhooks};
