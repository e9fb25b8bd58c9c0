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
mod raw;
mod retry;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transport;
mod webhooks;

pub use api_error::{ApiError, Conflicting};
pub use client::{BoxClient, BoxClientBuilder};
pub use download::{Download, DownloadRequest};
pub use error::{Error, ErrorKind, Result};
pub use files::{
    File, FileVersion, FileVersionMini, Files, FolderMini, GetFile, Lock, PathCollection, UserMini,
};
pub use folders::{Folder, Folders, GetFolder};
pub use ids::{FileId, FileVersionId, FolderId, IdError, UserId, WebhookId};
pub use metadata::{Metadata, MetadataInstance};
pub use raw::{RawReply, RawRequest};
pub use retry::RetryPolicy;
#[cfg(feature = "loopback")]
pub use token::LoopbackRedirect;
pub use token::{
    AccessToken, ClientCredentials, DeveloperToken, Grant, MemoryTokenStore, RefreshToken, Stored,
    Subject, Swap, TokenEndpoint, TokenReply, TokenSource, TokenStore, TokenStoreError,
};
pub use token::{
    Authorization, Authorize, Downscope, DownscopedToken, DownscopedTokens, OAuth, OAuthBuilder,
    RedirectError, RestrictedItem, Restriction,
};
#[cfg(feature = "jwt")]
pub use token::{JwtAlgorithm, JwtBearer, SigningKey};
pub use webhooks::{Change, Ensured, Webhook, WebhookMini, WebhookTarget, Webhooks};
