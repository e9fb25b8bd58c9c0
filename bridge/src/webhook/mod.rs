//! Box webhooks: who sent it, and what it says.
//!
//! Verification is pure and knows no server: raw bytes and the time in, a verdict out.
//!
//! ```
//! use bridge::webhook::{SignatureKeys, Verifier, VerifyError};
//! use bytes::Bytes;
//! use http::HeaderMap;
//! use jiff::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = SignatureKeys::new(Some("the primary key".into()), None)?;
//! let verifier = Verifier::new(keys);
//! let unsigned = verifier.verify(&HeaderMap::new(), Bytes::from("{}"), Timestamp::now());
//! assert_eq!(unsigned.unwrap_err(), VerifyError::MissingSignature);
//! # Ok(())
//! # }
//! ```

mod event;
mod fields;
mod signature;
mod source;
mod trigger;

pub use self::{
    event::{Actor, AdditionalInfo, Event, EventError},
    signature::{KeysError, SignatureKeys, Verified, Verifier, VerifyError, WhichKey},
    source::{
        AttachedSource, CollaborationSource, FileSource, FileVersionRef, FolderSource, ItemRef,
        OtherSource, Source, WebLinkSource,
    },
    trigger::{Trigger, TriggerError},
};
