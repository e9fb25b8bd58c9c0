//! Box as the content side.

use async_trait::async_trait;
use box_client::{BoxClient, Error, ErrorKind, FileId, FileVersionId, FolderId, IdError};
use futures_util::{StreamExt, TryStreamExt};

use crate::{
    content::{Content, ContentSource, FileState, FileVersion, FolderRef, Mapping},
    port_error::{PortError, PortErrorKind},
};

/// Box behind [`ContentSource`]. A folder's mapping is its instance of one metadata template.
#[derive(Clone, Debug)]
pub struct BoxContent {
    client: BoxClient,
    scope: String,
    template: String,
}

impl BoxContent {
    /// Box through this client, with the mapping in this template, such as scope `enterprise` and
    /// key `salesforce_mapping`.
    pub fn new(client: BoxClient, scope: impl Into<String>, template: impl Into<String>) -> Self {
        Self {
            client,
            scope: scope.into(),
            template: template.into(),
        }
    }
}

const FILE_FIELDS: [&str; 7] = [
    "name",
    "file_version",
    "size",
    "sha1",
    "path_collection",
    "modified_at",
    "item_status",
];

#[async_trait]
impl ContentSource for BoxContent {
    async fn file(&self, file: &str) -> Result<FileState, PortError> {
        const DOING: &str = "read the file in Box";
        let id = FileId::new(file).map_err(|cause| not_an_id(DOING, cause))?;
        let file = self
            .client
            .files()
            .get(&id)
            .fields(FILE_FIELDS)
            .send()
            .await;
        let file = file.map_err(|error| port_error(DOING, error))?;
        if file
            .item_status
            .as_deref()
            .is_some_and(|status| status != "active")
        {
            return Err(PortError::new(PortErrorKind::Gone, DOING).with_cause("it is in the trash"));
        }
        let (Some(name), Some(version)) = (file.name, file.file_version) else {
            return Err(PortError::new(PortErrorKind::Busy, DOING)
                .with_cause("Box gave no name or no version"));
        };
        let folders = file.path_collection.unwrap_or_default().entries.into_iter();
        Ok(FileState {
            id: file.id.as_str().to_owned(),
            name,
            version: FileVersion {
                id: version.id.as_str().to_owned(),
                sha1: version.sha1.or(file.sha1),
                size: file.size,
                created_at: file.modified_at,
                is_deleted: false,
            },
            folders: folders
                .map(|folder| FolderRef {
                    id: folder.id.as_str().to_owned(),
                    name: folder.name.unwrap_or_default(),
                })
                .collect(),
        })
    }

    async fn earlier_versions(&self, file: &str) -> Result<Vec<FileVersion>, PortError> {
        const DOING: &str = "list the file's versions in Box";
        let id = FileId::new(file).map_err(|cause| not_an_id(DOING, cause))?;
        let versions: Vec<_> = self
            .client
            .files()
            .versions(&id)
            .try_collect()
            .await
            .map_err(|error| port_error(DOING, error))?;
        let mut versions: Vec<_> = versions
            .into_iter()
            .map(|version| FileVersion {
                id: version.id.as_str().to_owned(),
                sha1: version.sha1,
                size: version.size,
                created_at: version.created_at,
                is_deleted: version.trashed_at.is_some(),
            })
            .collect();
        // Box documents no order. Times have whole seconds; within one, ids grow.
        versions.sort_by_key(|version| (version.created_at, version.id.parse::<u64>().ok()));
        Ok(versions)
    }

    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError> {
        const DOING: &str = "download from Box";
        let file = FileId::new(file).map_err(|cause| not_an_id(DOING, cause))?;
        let id = FileVersionId::new(&version.id).map_err(|cause| not_an_id(DOING, cause))?;
        let download = self
            .client
            .files()
            .download(&file)
            .version(&id)
            .send()
            .await;
        let download = download.map_err(|error| match error.kind() {
            ErrorKind::NotFound if error.api().is_some() => {
                PortError::new(PortErrorKind::NoContent, DOING).with_cause(error)
            }
            _ => port_error(DOING, error),
        })?;
        let Some(size) = download.size().or(version.size) else {
            return Err(PortError::new(PortErrorKind::Busy, DOING)
                .with_cause("Box does not say how long the file is"));
        };
        let bytes = download
            .into_stream()
            .map_err(|error| port_error(DOING, error))
            .boxed();
        Ok(Content { size, bytes })
    }

    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError> {
        const DOING: &str = "read the folder's mapping in Box";
        let id = FolderId::new(folder).map_err(|cause| not_an_id(DOING, cause))?;
        let instance = self
            .client
            .metadata()
            .on_folder(&id, &self.scope, &self.template)
            .await
            .map_err(|error| port_error(DOING, error))?;
        Ok(instance.map(|instance| Mapping {
            folder: folder.to_owned(),
            values: instance.values,
        }))
    }
}

fn not_an_id(doing: &'static str, cause: IdError) -> PortError {
    PortError::new(PortErrorKind::Refused, doing).with_cause(cause)
}

/// Reads only, so nothing is ever of unknown outcome here.
fn port_error(doing: &'static str, error: Error) -> PortError {
    let kind = match error.kind() {
        // A 404 without Box's own body is a proxy's.
        ErrorKind::NotFound if error.api().is_some() => PortErrorKind::Gone,
        ErrorKind::Auth | ErrorKind::Config | ErrorKind::Store => PortErrorKind::Outage,
        ErrorKind::Integrity => PortErrorKind::Integrity,
        ErrorKind::Forbidden | ErrorKind::Invalid | ErrorKind::TooLarge => PortErrorKind::Refused,
        ErrorKind::Server | ErrorKind::Timeout | ErrorKind::Transport => PortErrorKind::Down,
        _ => PortErrorKind::Busy,
    };
    let retry_after = error.retry_after();
    PortError::new(kind, doing)
        .with_retry_after(retry_after)
        .with_cause(error)
}
