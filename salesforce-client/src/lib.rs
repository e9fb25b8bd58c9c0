#![doc = include_str!("../README.md")]

mod api_error;
pub mod bulk;
mod call;
mod classify;
mod client;
mod composite;
mod error;
mod files;
mod governor;
mod limits;
mod oauth;
mod observe;
mod opportunities;
mod org_limits;
#[cfg(feature = "outbound")]
mod outbound;
#[cfg(feature = "pubsub")]
pub mod pubsub;
mod pulse;
mod query;
mod raw;
mod record_id;
mod retry;
mod search;
mod sobjects;
mod soql;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod tooling;
mod transport;
mod version;

pub use api_error::{ApiError, ApiErrors, ErrorCode};
pub use client::{SalesforceClient, SalesforceClientBuilder};
pub use composite::{
    Batch, BatchAnswers, BatchPart, Composite, CompositeAnswers, PartAnswer, Reference, Target,
    TreeRecord, TreeSaved,
};
pub use error::{Error, ErrorKind, Result};
pub use files::{
    ContentDocumentLink, ContentVersion, Download, Files, IdempotencyKey, LinkRequest, Linked,
    LinkedDocument, ShareType, Strategy, UploadRequest, Visibility,
};
pub use governor::{
    Governor, GovernorBuilder, GovernorState, Priority, Quota, QuotaShare, QuotaShareError,
};
pub use limits::ApiUsage;
#[cfg(feature = "login")]
pub use oauth::LoopbackRedirect;
pub use oauth::{
    AuthorizationCode, Authorize, Introspected, Introspection, LoginError, OAuthApp,
    OAuthAppBuilder, PendingLogin, SfdxAuthUrl, SfdxAuthUrlError,
};
pub use opportunities::{Opportunities, OpportunityStage, Stage};
pub use org_limits::{Limit, Limits, RecordCount};
#[cfg(feature = "outbound")]
pub use outbound::{
    OUTBOUND_ACK, OutboundError, OutboundMessage, OutboundNotification, OutboundReader,
};
pub use query::{Children, Query, QueryCursor, QueryPage, QueryPlan};
pub use raw::{RawReply, RawRequest};
pub use record_id::{RecordId, RecordIdError};
pub use retry::RetryPolicy;
pub use search::{Search, SearchScope};
pub use sobjects::{
    ChangeCursor, ChangePage, Changes, ChildRelationship, Collection, DeletedRecord,
    DeletedRecords, Describe, DescribeGlobal, FieldDescribe, ObjectDescribe, ObjectSummary,
    PicklistValue, RecordTypeInfo, Related, Row, Saved, UpdatedRecords,
};
pub use sobjects::{GetIfModified, GetRecord, Record, SObject, SObjects, Update, Upsert, Upserted};
pub use soql::{Like, Literal, Soql, SoqlError, soql};
pub use tasks::{NewTask, Tasks, truncate};
#[cfg(feature = "jwt")]
pub use token::JwtBearer;
pub use token::{
    AccessToken, ClientCredentials, Grant, Lease, MemoryTokenStore, RefreshToken, StaticToken,
    Stored, SubjectTokens, Swap, TokenEndpoint, TokenExchange, TokenReply, TokenSource, TokenStore,
    TokenStoreError,
};
pub use tooling::{NewTextField, Tooling};
pub use version::{ApiVersion, ApiVersionError, OrgVersion};
