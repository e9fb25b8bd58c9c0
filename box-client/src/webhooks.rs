//! Webhooks: where Box calls when something happens in a folder or to a file.

use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    FileId, FolderId, WebhookId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// Calls on webhooks, all with scope `manage_webhook`. From
/// [`BoxClient::webhooks`](crate::BoxClient::webhooks).
///
/// Vendor: <https://developer.box.com/reference/resources/webhook/>. An application and user can
/// have one webhook per item and 1,000 in all; none on the root folder. The keys that sign the
/// deliveries belong to the application and are made in the Developer Console.
///
/// ```no_run
/// use box_client::{BoxClient, FolderId, WebhookTarget};
///
/// # async fn example(client: BoxClient, folder: FolderId) -> box_client::Result<()> {
/// let webhooks = client.webhooks();
/// let target = WebhookTarget::Folder { id: folder };
/// let webhook = webhooks.create(&target, "https://example.com/box", &["FILE.UPLOADED"]).await?;
/// webhooks.delete(&webhook.id).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Webhooks<'a> {
    transport: &'a Transport,
}

impl std::fmt::Debug for Webhooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

/// More than this at once is refused.
const LIST_LIMIT: &str = "200";

impl<'a> Webhooks<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Makes a webhook. One that exists on the item already is a
    /// [`Conflict`](ErrorKind::Conflict); [`ensure`](Self::ensure) deals with that.
    pub async fn create<T: AsRef<str>>(
        &self,
        target: &WebhookTarget,
        address: &str,
        triggers: &[T],
    ) -> Result<Webhook> {
        self.transport
            .json(&creation(target, address, triggers)?)
            .await
    }

    /// A webhook. [`NotFound`](ErrorKind::NotFound) after Box has deleted it, which it does when
    /// its deliveries fail for a month.
    pub async fn get(&self, id: &WebhookId) -> Result<Webhook> {
        let call = Call::new("webhooks.get", Method::GET, ["webhooks", id.as_str()]);
        self.transport.json(&call).await
    }

    /// All webhooks of the calling application and user: only ids and targets. Read each with
    /// [`get`](Self::get) for its address and triggers.
    pub fn list(&self) -> impl Stream<Item = Result<WebhookMini>> + Send + use<'a> {
        let transport = self.transport;
        stream::try_unfold(Some(None::<String>), move |marker| async move {
            let Some(marker) = marker else {
                return Ok(None);
            };
            let call = Call::new("webhooks.list", Method::GET, ["webhooks"])
                .query("limit", LIST_LIMIT)
                .query_opt("marker", marker.as_deref());
            let page: Page = transport.json(&call).await?;
            // The same marker again would go round for ever.
            let next = page
                .next_marker
                .filter(|next| !next.is_empty() && Some(next) != marker.as_ref());
            Ok::<_, Error>(Some((
                stream::iter(page.entries.into_iter().map(Ok)),
                next.map(Some),
            )))
        })
        .try_flatten()
    }

    /// Changes a webhook's address and triggers.
    pub async fn update<T: AsRef<str>>(
        &self,
        id: &WebhookId,
        address: &str,
        triggers: &[T],
    ) -> Result<Webhook> {
        let triggers: Vec<_> = triggers.iter().map(AsRef::as_ref).collect();
        let body = json!({ "address": address, "triggers": triggers });
        let call =
            Call::new("webhooks.update", Method::PUT, ["webhooks", id.as_str()]).json(&body)?;
        self.transport.json(&call).await
    }

    /// Deletes a webhook.
    pub async fn delete(&self, id: &WebhookId) -> Result<()> {
        let call = Call::new("webhooks.delete", Method::DELETE, ["webhooks", id.as_str()]);
        self.transport.gone(&call).await
    }

    /// Makes sure that the item has a webhook with this address and exactly these triggers:
    /// creates it, or takes the existing one and changes it where it differs. Safe to repeat.
    pub async fn ensure<T: AsRef<str>>(
        &self,
        target: &WebhookTarget,
        address: &str,
        triggers: &[T],
    ) -> Result<Ensured> {
        // Safe to repeat here, and only here: what a lost answer made is found by its conflict.
        let call = creation(target, address, triggers)?.repeatable();
        let conflict = match self.transport.json(&call).await {
            Ok(webhook) => {
                return Ok(Ensured {
                    webhook,
                    change: Change::Created,
                });
            }
            Err(error) if error.kind() == ErrorKind::Conflict => error,
            Err(error) => return Err(error),
        };
        let id = match existing_id(&conflict) {
            Some(id) => id,
            None => self.find(target).await?.ok_or(conflict)?,
        };
        let webhook = self.get(&id).await?;
        if webhook.is(address, triggers) {
            return Ok(Ensured {
                webhook,
                change: Change::None,
            });
        }
        let webhook = self.update(&id, address, triggers).await?;
        Ok(Ensured {
            webhook,
            change: Change::Updated,
        })
    }

    async fn find(&self, target: &WebhookTarget) -> Result<Option<WebhookId>> {
        let mut all = std::pin::pin!(self.list());
        while let Some(webhook) = all.try_next().await? {
            if webhook.target.as_ref() == Some(target) {
                return Ok(Some(webhook.id));
            }
        }
        Ok(None)
    }
}

fn creation<T: AsRef<str>>(target: &WebhookTarget, address: &str, triggers: &[T]) -> Result<Call> {
    let triggers: Vec<_> = triggers.iter().map(AsRef::as_ref).collect();
    let body = json!({ "target": target, "address": address, "triggers": triggers });
    Call::new("webhooks.create", Method::POST, ["webhooks"]).json(&body)
}

/// Box names the webhook in the way only inside a sentence: `Webhook:4220000001 already exists …`.
fn existing_id(conflict: &Error) -> Option<WebhookId> {
    let (_, sentence) = conflict
        .api()?
        .named_errors()
        .find(|(name, _)| *name == "existWebhookId")?;
    let word = sentence.split_once(':')?.1.split_whitespace().next()?;
    let digits = word.bytes().all(|b| b.is_ascii_digit());
    WebhookId::new(word).ok().filter(|_| digits)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    entries: Vec<WebhookMini>,
    next_marker: Option<String>,
}

/// What a webhook watches.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum WebhookTarget {
    /// One file.
    File {
        /// The file.
        id: FileId,
    },
    /// A folder and everything below it.
    Folder {
        /// The folder.
        id: FolderId,
    },
}

/// One odd target must not make a whole list unreadable.
fn file_or_folder<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<WebhookTarget>, D::Error> {
    Ok(WebhookTarget::deserialize(Value::deserialize(deserializer)?).ok())
}

/// A webhook as it stands in a list.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct WebhookMini {
    /// Its id.
    pub id: WebhookId,
    /// What it watches, if it is a file or a folder.
    #[serde(default, deserialize_with = "file_or_folder")]
    pub target: Option<WebhookTarget>,
}

/// A webhook.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// What it watches, if it is a file or a folder.
    #[serde(default, deserialize_with = "file_or_folder")]
    pub target: Option<WebhookTarget>,
    /// Where Box calls.
    pub address: Option<String>,
    /// What Box calls for: an open set.
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    pub triggers: Vec<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Everything else, as it came. Box documents neither a `status` nor signature keys here; a
    /// server that sends them is read all the same.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Webhook {
    /// Whether it has this address and exactly these triggers, in whatever order, and no status
    /// that says it does not work.
    pub fn is<T: AsRef<str>>(&self, address: &str, triggers: &[T]) -> bool {
        let sorted = |mut names: Vec<String>| {
            names.sort_unstable();
            names.dedup();
            names
        };
        let wanted = triggers
            .iter()
            .map(|trigger| trigger.as_ref().to_owned())
            .collect();
        self.address.as_deref() == Some(address)
            && sorted(self.triggers.clone()) == sorted(wanted)
            && self
                .extra
                .get("status")
                .and_then(Value::as_str)
                .is_none_or(|it| it == "enabled")
    }
}

/// What [`Webhooks::ensure`] found or made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ensured {
    /// The webhook as it stands now.
    pub webhook: Webhook,
    /// What had to be done.
    pub change: Change,
}

/// What had to be done: by [`Webhooks::ensure`], or by an [upload](crate::Uploaded).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It was there as wanted.
    None,
    /// It was made.
    Created,
    /// It was there and differed.
    Updated,
}
