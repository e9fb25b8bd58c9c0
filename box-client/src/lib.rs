#![doc = include_str!("../README.md")]

mod api_error;
mod call;
mod cascade_policies;
mod client;
mod collaborations;
mod comments;
mod download;
#[cfg(doc)]
#[doc = include_str!("../ENDPOINTS.md")]
pub mod endpoints {}
mod error;
mod events;
mod files;
mod folders;
mod found;
mod gate;
mod groups;
mod ids;
mod item_id;
mod lenient;
mod metadata;
mod metadata_templates;
mod names;
mod observe;
mod open_enum;
mod paging;
mod raw;
mod retry;
mod search;
mod shared_links;
mod sign_requests;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transport;
mod upload;
mod users;
mod webhooks;

pub use api_error::{ApiError, Complaint, Conflicting};
pub use cascade_policies::{
    ConflictResolution, MetadataCascadePolicies, MetadataCascadePolicy, PolicyFolder,
};
pub use client::{BoxClient, BoxClientBuilder};
pub use collaborations::{
    Collaboration, CollaborationRole, CollaborationStatus, Collaborations, Collaborator,
    CreateCollaboration, EnsuredCollaboration, Grantee, UpdateCollaboration,
};
pub use comments::{Comment, Comments, CreateComment};
pub use download::{Download, DownloadRequest};
pub use error::{Error, ErrorKind, Result};
pub use events::{
    AdminLogs, EnterpriseEvents, Event, EventAt, EventItem, EventPage, EventType, Events,
    StreamPosition, UserEvents, UserStream,
};
pub use files::{
    CopyFile, DeleteFile, File, FileVersion, FileVersionMini, Files, FolderMini, GetFile, Lock,
    LockFile, PathCollection, RestoreFile, UpdateFile, UserMini,
};
pub use folders::{
    CreateFolder, DeleteFolder, EnsurePath, EnsuredPath, Folder, Folders, GetFolder, Item,
    ListItems, PlaceFolder, UpdateFolder,
};
pub use found::FoundItem;
pub use groups::{
    AddMember, CreateGroup, Group, GroupAccess, GroupMembership, GroupMini, GroupRole, Groups,
    ListGroups, UpdateGroup, UpdateMembership,
};
pub use ids::{
    CollaborationId, CommentId, GroupId, GroupMembershipId, MetadataCascadePolicyId,
    MetadataTemplateId, SignRequestId, TaskAssignmentId, TaskId,
};
pub use ids::{FileId, FileVersionId, FolderId, IdError, UploadSessionId, UserId, WebhookId};
pub use item_id::{FileMini, ItemId};
pub use metadata::{Metadata, MetadataInstance, MetadataPatch, MetadataQuery};
pub use metadata_templates::{
    CreateTemplate, FieldOption, FieldType, MetadataTemplate, MetadataTemplates, TemplateField,
    TemplateUpdate,
};
pub use names::{NameChange, NameError, Sanitized, check_name, sanitize_name};
pub use raw::{RawReply, RawRequest};
pub use retry::RetryPolicy;
pub use search::{Search, SearchIn, SearchScope, SearchSort, SearchTrash, SearchType};
pub use shared_links::{
    ItemLink, LinkAccess, SetSharedLink, SharedLink, SharedLinkAccess, SharedLinks,
};
pub use sign_requests::{
    CreateSignRequest, SignFiles, SignRequest, SignRequestSigner, SignRequestStatus, SignRequests,
    Signer, SignerDecision, SignerRole,
};
pub use tasks::{
    Assignee, CompletionRule, Resolution, Task, TaskAction, TaskAssignment, Tasks, WriteTask,
};
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
pub use upload::{
    Content, Preflight, SendSession, UploadFile, UploadPart, UploadSession, UploadSessions,
    UploadVersion, Uploaded,
};
pub use users::{CreateUser, DeleteUser, ListUsers, UpdateUser, User, UserStatus, UserType, Users};
pub use webhooks::{Change, Ensured, Webhook, WebhookMini, WebhookTarget, Webhooks};
