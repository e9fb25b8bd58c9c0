//! Box as the content side.

use std::sync::Arc;

use async_trait::async_trait;
use box_client::{
    BoxClient, Error, ErrorKind, File, FileId, FileVersionId, FolderId, IdError, PathCollection,
    SignRequest, SignRequestId, SignRequestStatus, WebhookId, WebhookTarget,
};
use futures_util::{StreamExt, TryStreamExt};

use tokio::sync::OnceCell;

use crate::{
    content::{Content, ContentSource, FileState, FileVersion, FolderRef, FolderState, Mapping},
    port_error::{PortError, PortErrorKind},
};

/// Box behind [`ContentSource`]. A folder's mapping is its instance of one metadata template.
#[derive(Clone, Debug)]
pub struct BoxContent {
    client: BoxClient,
    scope: String,
    template: String,
    /// `enterprise_12345` for `enterprise`, once somebody has asked.
    full_scope: Arc<OnceCell<String>>,
}

impl BoxContent {
    /// Box through this client, with the mapping in this template, such as scope `enterprise` and
    /// key `salesforce_mapping`.
    pub fn new(client: BoxClient, scope: impl Into<String>, template: impl Into<String>) -> Self {
        Self {
            client,
            scope: scope.into(),
            template: template.into(),
            full_scope: Arc::default(),
        }
    }

    /// The client behind it.
    pub fn client(&self) -> &BoxClient {
        &self.client
    }

    pub(crate) fn scope(&self) -> &str {
        &self.scope
    }

    pub(crate) fn template(&self) -> &str {
        &self.template
    }

    /// The scope as metadata queries want it; nothing where there is no template yet.
    pub(crate) async fn full_scope(
        &self,
        doing: &'static str,
    ) -> Result<Option<String>, PortError> {
        if self.scope != "enterprise" {
            return Ok(Some(self.scope.clone()));
        }
        let ask = async || {
            let templates = self.client.metadata_templates();
            let template = templates
                .get(&self.scope, &self.template)
                .await
                .map_err(|error| port_error(doing, error))?;
            template.scope.ok_or_else(|| {
                PortError::new(PortErrorKind::Busy, doing)
                    .with_cause("Box does not say in which enterprise the template is")
            })
        };
        match self.full_scope.get_or_try_init(ask).await {
            Ok(scope) => Ok(Some(scope.clone())),
            Err(error) if error.kind() == PortErrorKind::Gone => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(crate) const FILE_FIELDS: [&str; 7] = [
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
    fn file_id(&self, text: &str) -> Result<String, PortError> {
        const DOING: &str = "read the id of a file in Box";
        let id = FileId::new(text).map_err(|cause| not_an_id(DOING, cause))?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            let cause = "Box's files have numbers for ids";
            return Err(PortError::new(PortErrorKind::Refused, DOING).with_cause(cause));
        }
        Ok(id.as_str().to_owned())
    }

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
        if is_trashed(file.item_status.as_deref()) {
            return Err(PortError::new(PortErrorKind::Gone, DOING).with_cause("it is in the trash"));
        }
        file_state(file).ok_or_else(|| {
            PortError::new(PortErrorKind::Busy, DOING).with_cause("Box gave no name or no version")
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

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        const DOING: &str = "read the folder in Box";
        let id = FolderId::new(folder).map_err(|cause| not_an_id(DOING, cause))?;
        let folder = self
            .client
            .folders()
            .get(&id)
            .fields(["name", "path_collection", "item_status"])
            .send()
            .await
            .map_err(|error| port_error(DOING, error))?;
        if is_trashed(folder.item_status.as_deref()) {
            return Err(PortError::new(PortErrorKind::Gone, DOING).with_cause("it is in the trash"));
        }
        Ok(FolderState {
            id: folder.id.as_str().to_owned(),
            name: folder.name.unwrap_or_default(),
            folders: path(folder.path_collection),
        })
    }

    async fn is_final(&self, sign_request: &str) -> Result<bool, PortError> {
        const DOING: &str = "read the sign request in Box";
        let id = SignRequestId::new(sign_request).map_err(|cause| not_an_id(DOING, cause))?;
        match self.client.sign_requests().get(&id).await {
            Ok(request) => signed(DOING, &request),
            // Nobody can ask for it any more: the file itself is all that there is to go by.
            Err(error) if error.kind() == ErrorKind::NotFound && error.api().is_some() => Ok(true),
            Err(error) => Err(port_error(DOING, error)),
        }
    }

    async fn watched(&self, webhook: &str) -> Result<Option<FolderState>, PortError> {
        const DOING: &str = "read the webhook in Box";
        let Ok(id) = WebhookId::new(webhook) else {
            return Ok(None);
        };
        match self.client.webhooks().get(&id).await {
            Ok(webhook) => match webhook.target {
                Some(WebhookTarget::Folder { id }) => self.folder(id.as_str()).await.map(Some),
                _ => Ok(None),
            },
            Err(error) if error.kind() == ErrorKind::NotFound && error.api().is_some() => Ok(None),
            Err(error) => Err(port_error(DOING, error)),
        }
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

/// `None` where Box gave no name or no version.
pub(crate) fn file_state(file: File) -> Option<FileState> {
    let (name, version) = (file.name?, file.file_version?);
    Some(FileState {
        id: file.id.as_str().to_owned(),
        name,
        version: FileVersion {
            id: version.id.as_str().to_owned(),
            sha1: version.sha1.or(file.sha1),
            size: file.size,
            created_at: file.modified_at,
            is_deleted: false,
        },
        folders: path(file.path_collection),
    })
}

pub(crate) fn is_trashed(status: Option<&str>) -> bool {
    status.is_some_and(|status| status != "active")
}

fn path(path: Option<PathCollection>) -> Vec<FolderRef> {
    let folders = path.unwrap_or_default().entries.into_iter();
    folders
        .map(|folder| FolderRef {
            id: folder.id.as_str().to_owned(),
            name: folder.name.unwrap_or_default(),
        })
        .collect()
}

pub(crate) fn not_an_id(doing: &'static str, cause: IdError) -> PortError {
    PortError::new(PortErrorKind::Refused, doing).with_cause(cause)
}

/// Whether all have signed and the file is there to be had.
fn signed(doing: &'static str, request: &SignRequest) -> Result<bool, PortError> {
    let files = request.sign_files.as_ref();
    let is_ready = files.is_none_or(|files| files.is_ready_for_download != Some(false));
    let Some(status) = request.status.as_ref().map(SignRequestStatus::as_str) else {
        return Ok(is_ready);
    };
    match status {
        "signed" | "signed and downloaded" | "downloaded" => Ok(is_ready),
        "cancelled" | "declined" | "expired" => Err(ended(doing, status)),
        error if error.starts_with("error") => Err(ended(doing, error)),
        _ => Ok(false),
    }
}

fn ended(doing: &'static str, status: &str) -> PortError {
    let cause = format!("the sign request has ended as `{status}`, so nothing is signed");
    PortError::new(PortErrorKind::Refused, doing).with_cause(cause)
}

/// A write that left this machine and got no answer may have happened.
pub(crate) fn write_error(doing: &'static str, error: Error) -> PortError {
    if !error.may_have_happened() {
        return port_error(doing, error);
    }
    PortError::new(PortErrorKind::Unknown, doing)
        .with_status(error.status())
        .with_retry_after(error.retry_after())
        .with_cause(error)
}

/// Of a call that can be repeated, so nothing is of unknown outcome.
pub(crate) fn port_error(doing: &'static str, error: Error) -> PortError {
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
        .with_status(error.status())
        .with_retry_after(retry_after)
        .with_cause(error)
}
