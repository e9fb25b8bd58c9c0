//! Metadata instances: a template's values on a file or folder.

mod patch;
mod query;

use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub use self::{patch::MetadataPatch, query::MetadataQuery};
use crate::{
    FolderId, ItemId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// Calls on metadata. From [`BoxClient::metadata`](crate::BoxClient::metadata).
///
/// Vendor: <https://developer.box.com/reference/resources/metadata/>. A scope is `enterprise`,
/// `enterprise_12345` or `global`. The root folder carries no metadata: asking for it is an
/// [`Invalid`](ErrorKind::Invalid) call. An item carries at most 100 templates.
///
/// ```no_run
/// use box_client::{BoxClient, FolderId, MetadataPatch};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Deserialize, Serialize)]
/// struct Mapping {
///     opportunity_id: String,
///     stage: Option<String>,
/// }
///
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let (metadata, deal) = (client.metadata(), FolderId::new("100")?);
/// let mapping = Mapping { opportunity_id: "006000000000001AAA".to_owned(), stage: None };
/// metadata.set(&deal, "enterprise", "salesforceMapping", &mapping).await?;
/// let stage = MetadataPatch::new().add("stage", "Open");
/// metadata.update(&deal, "enterprise", "salesforceMapping", &stage).await?;
/// let stored: Option<Mapping> = metadata.get_as(&deal, "enterprise", "salesforceMapping").await?;
/// println!("{stored:?}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    transport: &'a Transport,
}

/// How often creating and changing take turns when somebody deletes in between.
const MOST_TURNS: usize = 3;

impl<'a> Metadata<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// The template's values on a folder, or `None` when the template is not applied to it.
    /// `scope` is `enterprise`, `enterprise_12345` or `global`.
    ///
    /// Vendor: <https://developer.box.com/reference/get-folders-id-metadata-id-id/>. The root
    /// folder carries no metadata: asking for it is an [`Invalid`](ErrorKind::Invalid) call.
    pub async fn on_folder(
        &self,
        folder: &FolderId,
        scope: &str,
        template: &str,
    ) -> Result<Option<MetadataInstance>> {
        self.read("metadata.on_folder", &folder.into(), scope, template)
            .await
    }

    /// The template's values on a file or folder, or `None` when the template is not applied to
    /// it.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-metadata-id-id/>
    pub async fn get(
        &self,
        item: impl Into<ItemId>,
        scope: &str,
        template: &str,
    ) -> Result<Option<MetadataInstance>> {
        self.read("metadata.get", &item.into(), scope, template)
            .await
    }

    /// [`get`](Self::get) as a type of yours.
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        item: impl Into<ItemId>,
        scope: &str,
        template: &str,
    ) -> Result<Option<T>> {
        let instance = self.get(item, scope, template).await?;
        instance.map(|instance| instance.to()).transpose()
    }

    /// The values of all templates on a file or folder.
    ///
    /// Vendor: <https://developer.box.com/reference/get-folders-id-metadata/>
    pub async fn list(&self, item: impl Into<ItemId>) -> Result<Vec<MetadataInstance>> {
        let item = item.into();
        let path = [item.collection(), item.as_str(), "metadata"];
        let call = Call::new("metadata.list", Method::GET, path);
        let all: All = self.transport.json(&call).await?;
        Ok(all.entries.unwrap_or_default())
    }

    /// Applies a template with these values: a map or a struct of yours. What is `null`, and what
    /// begins with `$`, is left out.
    ///
    /// Vendor: <https://developer.box.com/reference/post-folders-id-metadata-id-id/>
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) with code `tuple_already_exists` when the template is
    /// applied already; [`set`](Self::set) deals with that.
    pub async fn create(
        &self,
        item: impl Into<ItemId>,
        scope: &str,
        template: &str,
        values: &impl Serialize,
    ) -> Result<MetadataInstance> {
        let values = own_values("metadata.create", values)?;
        let call = creation("metadata.create", &item.into(), scope, template, &values)?;
        self.transport.json(&call).await
    }

    /// Changes values of a template that is applied.
    ///
    /// Vendor: <https://developer.box.com/reference/put-folders-id-metadata-id-id/>
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) with code `failed_json_patch_application` when a
    /// [`test`](MetadataPatch::test) fails. A patch that could not be made twice is sent once;
    /// see [`Error::may_have_happened`].
    pub async fn update(
        &self,
        item: impl Into<ItemId>,
        scope: &str,
        template: &str,
        patch: &MetadataPatch,
    ) -> Result<MetadataInstance> {
        let call = change("metadata.update", &item.into(), scope, template, patch)?;
        self.transport.json(&call).await
    }

    /// Makes sure that the template is applied with these values, whether it was or not and
    /// whoever else does so meanwhile. Values that are not named stay as they are, as do those
    /// that are `null`. Safe to repeat.
    pub async fn set(
        &self,
        item: impl Into<ItemId>,
        scope: &str,
        template: &str,
        values: &impl Serialize,
    ) -> Result<MetadataInstance> {
        const OPERATION: &str = "metadata.set";
        let item = item.into();
        let values = own_values(OPERATION, values)?;
        // Safe to repeat here, and only here: what a lost answer made is found by its conflict.
        let create = creation(OPERATION, &item, scope, template, &values)?.repeatable();
        let add =
            |patch: MetadataPatch, (key, value): (&String, &Value)| patch.add(key, value.clone());
        let patch = values.iter().fold(MetadataPatch::new(), add);
        let change = change(OPERATION, &item, scope, template, &patch)?;
        let mut turn = 1;
        loop {
            let conflict = match self.transport.json(&create).await {
                Err(error) if has_code(&error, "tuple_already_exists") => error,
                outcome => return outcome,
            };
            let changed = if patch.is_empty() {
                self.read(OPERATION, &item, scope, template).await?
            } else {
                match self.transport.json(&change).await {
                    Err(error) if is_not_applied(&error) => None,
                    outcome => return outcome,
                }
            };
            match changed {
                Some(instance) => return Ok(instance),
                None if turn == MOST_TURNS => return Err(conflict),
                None => turn += 1,
            }
        }
    }

    /// Takes a template and its values off a file or folder.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-folders-id-metadata-id-id/>
    pub async fn delete(&self, item: impl Into<ItemId>, scope: &str, template: &str) -> Result<()> {
        let call = on(
            "metadata.delete",
            Method::DELETE,
            &item.into(),
            scope,
            template,
        )?;
        self.transport.gone(&call).await
    }

    /// Items below a folder whose values of a template meet a condition. Unlike
    /// [search](crate::Search), it is exact and without delay, but only ten a second are allowed
    /// in an enterprise.
    ///
    /// Vendor: <https://developer.box.com/reference/post-metadata-queries-execute-read/>. The
    /// scope is the full one here.
    ///
    /// ```no_run
    /// use box_client::{BoxClient, FolderId};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn example(client: BoxClient) -> box_client::Result<()> {
    /// let deals = client
    ///     .metadata()
    ///     .query("enterprise_12345", "salesforceMapping", &FolderId::root())
    ///     .condition("opportunity_id = :id")
    ///     .bind("id", "006000000000001AAA");
    /// let mut deals = std::pin::pin!(deals.stream());
    /// while let Some(deal) = deals.try_next().await? {
    ///     println!("{:?}", deal.id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn query(&self, scope: &str, template: &str, below: &FolderId) -> MetadataQuery<'a> {
        MetadataQuery::new(self.transport, scope, template, below)
    }

    async fn read(
        &self,
        operation: &'static str,
        item: &ItemId,
        scope: &str,
        template: &str,
    ) -> Result<Option<MetadataInstance>> {
        let call = on(operation, Method::GET, item, scope, template)?;
        match self.transport.json(&call).await {
            Ok(instance) => Ok(Some(instance)),
            Err(error) if is_not_applied(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[derive(Deserialize)]
struct All {
    entries: Option<Vec<MetadataInstance>>,
}

fn on(
    operation: &'static str,
    method: Method,
    item: &ItemId,
    scope: &str,
    template: &str,
) -> Result<Call> {
    check_names(operation, scope, template)?;
    let path = [
        item.collection(),
        item.as_str(),
        "metadata",
        scope,
        template,
    ];
    Ok(Call::new(operation, method, path))
}

fn creation(
    operation: &'static str,
    item: &ItemId,
    scope: &str,
    template: &str,
    values: &Map<String, Value>,
) -> Result<Call> {
    on(operation, Method::POST, item, scope, template)?.json(values)
}

fn change(
    operation: &'static str,
    item: &ItemId,
    scope: &str,
    template: &str,
    patch: &MetadataPatch,
) -> Result<Call> {
    let call = on(operation, Method::PUT, item, scope, template)?
        .json_as("application/json-patch+json", patch)?;
    Ok(if patch.is_idempotent() {
        call
    } else {
        call.once()
    })
}

/// Text of the caller's makes path segments here: dots would climb.
pub(crate) fn check_names(operation: &'static str, scope: &str, template: &str) -> Result<()> {
    if [scope, template]
        .iter()
        .any(|text| text.is_empty() || text.starts_with('.'))
    {
        return Err(
            Error::new(ErrorKind::Invalid, operation).detail("the scope or template key is none")
        );
    }
    Ok(())
}

/// Without `null`, which no value can be, and without Box's own, which an instance that was read
/// brings along.
fn own_values(operation: &'static str, values: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(values) {
        Ok(Value::Object(mut values)) => {
            values.retain(|key, value| !key.starts_with('$') && !value.is_null());
            Ok(values)
        }
        _ => Err(Error::new(ErrorKind::Invalid, operation)
            .detail("the values cannot be written as a JSON object")),
    }
}

fn has_code(error: &Error, code: &str) -> bool {
    error.api().and_then(|api| api.code()) == Some(code)
}

/// Box has two codes for it: the guides say the first, the OpenAPI document the second.
fn is_not_applied(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
        && error
            .api()
            .and_then(|api| api.code())
            .is_some_and(|code| matches!(code, "instance_not_found" | "instance_tuple_not_found"))
}

/// A template's values on one item.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct MetadataInstance {
    /// Its id.
    #[serde(rename = "$id")]
    pub id: Option<String>,
    /// The template's key.
    #[serde(rename = "$template")]
    pub template: Option<String>,
    /// The template's scope, always in full: `enterprise_12345`.
    #[serde(rename = "$scope")]
    pub scope: Option<String>,
    /// Grows with each change of a value.
    #[serde(rename = "$version")]
    pub version: Option<u64>,
    /// The values, and what else Box adds under names that begin with `$`.
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

impl MetadataInstance {
    /// The values as a type of yours.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(Value::Object(self.values.clone())).map_err(|cause| {
            Error::new(ErrorKind::Decode, "metadata.to")
                .detail("the values do not fit the type")
                .cause(cause)
        })
    }
}
