use futures_core::Stream;
use futures_util::stream;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{FileVersion, Files};
use crate::{FileId, FileVersionId, call::Call, error::Result};

const FIELDS: &str = "id,type,sha1,name,size,created_at,modified_at,trashed_at";
const VERSIONS_A_PAGE: u64 = 1000;
/// Box refuses offsets beyond this.
const MAX_OFFSET: u64 = 9_999;

impl<'a> Files<'a> {
    /// The past versions of a file, newest first. The current one is not among them: it is in
    /// [`get`](Self::get).
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-versions/>. Premium accounts
    /// only; others get an empty list. Box counts no further than 10,000 versions.
    pub fn versions(
        &self,
        id: &FileId,
    ) -> impl Stream<Item = Result<FileVersion>> + Send + use<'a> {
        let transport = self.transport;
        let id = id.clone();
        let pages = stream::try_unfold(Some(0), move |offset: Option<u64>| {
            let id = id.clone();
            async move {
                let Some(offset) = offset else {
                    return Ok(None);
                };
                let path = ["files", id.as_str(), "versions"];
                let call = Call::new("files.versions", Method::GET, path)
                    .query("fields", FIELDS)
                    .query("limit", VERSIONS_A_PAGE.to_string())
                    .query("offset", offset.to_string());
                let page: VersionPage = transport.json(&call).await?;
                // Box counts by its own limit, which can be below the one asked for.
                let next = offset + page.limit.unwrap_or(VERSIONS_A_PAGE).max(1);
                let more = next < page.total_count && next <= MAX_OFFSET;
                let versions = stream::iter(page.entries.into_iter().map(Ok));
                Ok(Some((versions, more.then_some(next))))
            }
        });
        futures_util::TryStreamExt::try_flatten(pages)
    }

    /// A past version of a file.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-versions-id/>
    pub async fn version(&self, id: &FileId, version: &FileVersionId) -> Result<FileVersion> {
        let call =
            Call::new("files.version", Method::GET, path(id, version)).query("fields", FIELDS);
        self.transport.json(&call).await
    }

    /// Makes a copy of a past version the current one, and gives that copy.
    ///
    /// Vendor: <https://developer.box.com/reference/post-files-id-versions-current/>. A repeat
    /// would make another copy, so an unknown outcome is reported.
    pub async fn promote(&self, id: &FileId, version: &FileVersionId) -> Result<FileVersion> {
        let path = ["files", id.as_str(), "versions", "current"];
        let call = Call::new("files.promote", Method::POST, path)
            .query("fields", FIELDS)
            .json(&json!({ "id": version, "type": "file_version" }))?;
        self.transport.json(&call).await
    }

    /// Puts a past version into the trash.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-files-id-versions-id/>
    pub async fn delete_version(&self, id: &FileId, version: &FileVersionId) -> Result<()> {
        let call = Call::new("files.delete_version", Method::DELETE, path(id, version));
        self.transport.gone(&call).await
    }

    /// Takes a version out of the trash.
    ///
    /// Vendor: <https://developer.box.com/reference/put-files-id-versions-id/>
    pub async fn restore_version(
        &self,
        id: &FileId,
        version: &FileVersionId,
    ) -> Result<FileVersion> {
        let call = Call::new("files.restore_version", Method::PUT, path(id, version))
            .json(&json!({ "trashed_at": Value::Null }))?;
        self.transport.json(&call).await
    }
}

fn path<'a>(id: &'a FileId, version: &'a FileVersionId) -> [&'a str; 4] {
    ["files", id.as_str(), "versions", version.as_str()]
}

#[derive(Deserialize)]
struct VersionPage {
    total_count: u64,
    limit: Option<u64>,
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    entries: Vec<FileVersion>,
}
