//! Box's webhooks and folders.

use async_trait::async_trait;
use box_client::{ErrorKind, FolderId, Item, Webhook, WebhookId, WebhookTarget};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::port::{Created, Entry, Hook, HookRef, Hooks, Tree};
use crate::{
    box_content::{BoxContent, FILE_FIELDS, file_state, is_trashed, not_an_id, port_error},
    content::FolderRef,
    port_error::{PortError, PortErrorKind},
};

#[async_trait]
impl Hooks for BoxContent {
    async fn list(&self) -> Result<Vec<HookRef>, PortError> {
        const DOING: &str = "list the webhooks in Box";
        let all = self.client().webhooks().list().map_ok(|hook| HookRef {
            id: hook.id.as_str().to_owned(),
            folder: folder_of(hook.target),
        });
        all.try_collect()
            .await
            .map_err(|error| port_error(DOING, error))
    }

    async fn hook(&self, id: &str) -> Result<Option<Hook>, PortError> {
        const DOING: &str = "read the webhook in Box";
        let id = WebhookId::new(id).map_err(|cause| not_an_id(DOING, cause))?;
        match self.client().webhooks().get(&id).await {
            Ok(webhook) => Ok(Some(hook(webhook))),
            Err(error) => match port_error(DOING, error) {
                gone if gone.kind() == PortErrorKind::Gone => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn create(
        &self,
        folder: &str,
        address: &str,
        triggers: &[String],
    ) -> Result<Created, PortError> {
        const DOING: &str = "make the webhook in Box";
        let id = FolderId::new(folder).map_err(|cause| not_an_id(DOING, cause))?;
        let target = WebhookTarget::Folder { id };
        let webhooks = self.client().webhooks();
        let conflict = match webhooks.create(&target, address, triggers).await {
            Ok(webhook) => return Ok(Created::Made(hook(webhook))),
            Err(error) if error.kind() == ErrorKind::Conflict => error,
            Err(error) => return Err(port_error(DOING, error)),
        };
        let listed = Hooks::list(self).await?;
        let there = listed
            .into_iter()
            .find(|hook| hook.folder.as_deref() == Some(folder));
        let there = match there {
            Some(there) => self.hook(&there.id).await?,
            None => None,
        };
        // It has gone between the two answers, most likely.
        there
            .map(Created::There)
            .ok_or_else(|| PortError::new(PortErrorKind::Busy, DOING).with_cause(conflict))
    }

    async fn change(
        &self,
        id: &str,
        address: &str,
        triggers: &[String],
    ) -> Result<Hook, PortError> {
        const DOING: &str = "change the webhook in Box";
        let id = WebhookId::new(id).map_err(|cause| not_an_id(DOING, cause))?;
        let changed = self
            .client()
            .webhooks()
            .update(&id, address, triggers)
            .await;
        changed.map(hook).map_err(|error| port_error(DOING, error))
    }

    async fn remove(&self, id: &str) -> Result<(), PortError> {
        const DOING: &str = "delete the webhook in Box";
        let id = WebhookId::new(id).map_err(|cause| not_an_id(DOING, cause))?;
        match self.client().webhooks().delete(&id).await {
            Ok(()) => Ok(()),
            Err(error) => match port_error(DOING, error) {
                gone if gone.kind() == PortErrorKind::Gone => Ok(()),
                error => Err(error),
            },
        }
    }
}

#[async_trait]
impl Tree for BoxContent {
    fn entries(&self, folder: &str) -> BoxStream<'_, Result<Entry, PortError>> {
        const DOING: &str = "list the folder in Box";
        let id = match FolderId::new(folder) {
            Ok(id) => id,
            Err(cause) => return stream::iter([Err(not_an_id(DOING, cause))]).boxed(),
        };
        let items = self.client().folders().items(&id).fields(FILE_FIELDS);
        let entry = |item| async move {
            match item {
                Item::File(file) if !is_trashed(file.item_status.as_deref()) => {
                    Ok(file_state(*file).map(Entry::File))
                }
                Item::Folder(folder) if !is_trashed(folder.item_status.as_deref()) => {
                    Ok(Some(Entry::Folder(FolderRef {
                        id: folder.id.as_str().to_owned(),
                        name: folder.name.unwrap_or_default(),
                    })))
                }
                _ => Ok(None),
            }
        };
        items
            .stream()
            .map_err(|error| port_error(DOING, error))
            .try_filter_map(entry)
            .boxed()
    }
}

fn hook(webhook: Webhook) -> Hook {
    let status = webhook
        .extra
        .get("status")
        .and_then(|status| status.as_str());
    Hook {
        id: webhook.id.as_str().to_owned(),
        folder: folder_of(webhook.target),
        address: webhook.address,
        status: status.map(str::to_owned),
        triggers: webhook.triggers,
    }
}

fn folder_of(target: Option<WebhookTarget>) -> Option<String> {
    match target? {
        WebhookTarget::Folder { id } => Some(id.as_str().to_owned()),
        _ => None,
    }
}
