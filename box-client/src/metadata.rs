//! Metadata instances: a template's values on a folder.

use http::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    FolderId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// Calls on metadata. From [`BoxClient::metadata`](crate::BoxClient::metadata).
#[derive(Clone, Copy)]
pub struct Metadata<'a> {
    transport: &'a Transport,
}

impl std::fmt::Debug for Metadata<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}

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
        let path = ["folders", folder.as_str(), "metadata", scope, template];
        // The one place where text of the caller's makes a path segment: dots would climb.
        if [scope, template]
            .iter()
            .any(|text| text.is_empty() || text.starts_with('.'))
        {
            return Err(Error::new(ErrorKind::Invalid, "metadata.on_folder")
                .detail("the scope or template key is none"));
        }
        let call = Call::new("metadata.on_folder", Method::GET, path);
        match self.transport.json(&call).await {
            Ok(instance) => Ok(Some(instance)),
            Err(error) if is_not_applied(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
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
