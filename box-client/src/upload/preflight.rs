use std::fmt;

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::{FileId, Files, FolderId, call::Call, error::Result};

/// What Box says of an upload that it would take.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct Preflight {
    /// Where it would take it: good for this upload only.
    pub upload_url: Option<String>,
    /// A token for it, where one was made.
    pub upload_token: Option<SecretString>,
}

/// The URL is signed.
impl fmt::Debug for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preflight").finish_non_exhaustive()
    }
}

impl Files<'_> {
    /// Asks whether an upload would be taken, before its bytes are sent: whether the name is free,
    /// the folder open and the space enough. A name in use is a
    /// [`Conflict`](crate::ErrorKind::Conflict) with its
    /// [`name_in_use`](crate::Error::name_in_use).
    ///
    /// Vendor: <https://developer.box.com/reference/options-files-content/>
    pub async fn preflight(&self, folder: &FolderId, name: &str, size: u64) -> Result<Preflight> {
        let body = json!({ "name": name, "size": size, "parent": { "id": folder } });
        let path = ["files", "content"];
        let call = Call::new("files.preflight", Method::OPTIONS, path).json(&body)?;
        self.transport().json(&call).await
    }

    /// Asks whether a new version would be taken.
    ///
    /// Vendor: <https://developer.box.com/guides/uploads/check/>
    pub async fn preflight_version(&self, file: &FileId, size: u64) -> Result<Preflight> {
        let path = ["files", file.as_str(), "content"];
        let call = Call::new("files.preflight_version", Method::OPTIONS, path)
            .json(&json!({ "size": size }))?;
        self.transport().json(&call).await
    }
}
