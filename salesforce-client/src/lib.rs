#![doc = include_str!("../README.md")]

mod api_error;
mod call;
mod client;
mod error;
mod files;
mod limits;
mod opportunities;
mod query;
mod raw;
mod record_id;
mod retry;
mod sobjects;
mod soql;
mod time;
mod token;
mod transport;

pub use api_error::{ApiError, ApiErrors};
pub use client::{SalesforceClient, SalesforceClientBuilder};
pub use error::{Error, ErrorKind, Result};
pub use files::{ContentVersion, Files, Linked, ShareType, Strategy, UploadRequest};
pub use limits::ApiUsage;
pub use opportunities::{Opportunities, OpportunityStage, Stage};
pub use query::Query;
pub use raw::{RawReply, RawRequest};
pub use record_id::{RecordId, RecordIdError};
pub use retry::RetryPolicy;
pub use sobjects::{SObjects, Upserted};
pub use soql::{Like, Literal, Soql, soql};
#[cfg(feature = "jwt")]
pub use token::JwtBearer;
pub use token::{
    AccessToken, ClientCredentials, Grant, MemoryTokenStore, RefreshToken, StaticToken, Stored,
    Swap, TokenEndpoint, TokenReply, TokenSource, TokenStore, TokenStoreError,
};
