#![doc = include_str!("../README.md")]

mod api_error;
pub mod bulk;
mod call;
mod classify;
mod client;
mod error;
mod files;
mod limits;
mod opportunities;
#[cfg(feature = "pubsub")]
pub mod pubsub;
mod query;
mod raw;
mod record_id;
mod retry;
mod sobjects;
mod soql;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod transport;
mod version;

pub use api_error::{ApiError, ApiErrors, ErrorCode};
pub use client::{SalesforceClient, SalesforceClientBuilder};
pub use error::{Error, ErrorKind, Result};
pub use files::{
    ContentDocumentLink, ContentVersion, Download, Files, LinkRequest, Linked, LinkedDocument,
    ShareType, Strategy, UploadRequest, Visibility,
};
pub use limits::ApiUsage;
pub use opportunities::{Opportunities, OpportunityStage, Stage};
pub use query::{Query, QueryPage};
pub use raw::{RawReply, RawRequest};
pub use record_id::{RecordId, RecordIdError};
pub use retry::RetryPolicy;
pub use sobjects::{GetIfModified, GetRecord, Record, SObject, SObjects, Update, Upsert, Upserted};
pub use soql::{Like, Literal, Soql, SoqlError, soql};
pub use tasks::{NewTask, Tasks, truncate};
#[cfg(feature = "jwt")]
pub use token::JwtBearer;
pub use token::{
    AccessToken, ClientCredentials, Grant, MemoryTokenStore, RefreshToken, StaticToken, Stored,
    Swap, TokenEndpoint, TokenReply, TokenSource, TokenStore, TokenStoreError,
};
pub use version::{ApiVersion, ApiVersionError, OrgVersion};
