//! Cascade policies: a folder's metadata handed down to what lies in it.

use futures_core::Stream;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::{
    FolderId, MetadataCascadePolicyId, call::Call, error::Result, open_enum::open_enum, paging,
    transport::Transport,
};

/// Calls on metadata cascade policies. From
/// [`BoxClient::metadata_cascade_policies`](crate::BoxClient::metadata_cascade_policies).
///
/// Vendor: <https://developer.box.com/reference/resources/metadata-cascade-policy/>. The
/// enterprise has to have "Cascading Folder Level Metadata". New files get the values after a
/// while: right after an upload, read the folder's.
///
/// ```no_run
/// use box_client::{BoxClient, ConflictResolution, FolderId};
///
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let policies = client.metadata_cascade_policies();
/// let policy = policies.create(&FolderId::new("100")?, "enterprise", "salesforceMapping").await?;
/// policies.apply(&policy.id, &ConflictResolution::Overwrite).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MetadataCascadePolicies<'a> {
    transport: &'a Transport,
}

impl<'a> MetadataCascadePolicies<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Hands a template's values on a folder down from now on. The scope is `enterprise` or
    /// `global`, and the template has to be applied to the folder.
    ///
    /// Vendor: <https://developer.box.com/reference/post-metadata-cascade-policies/>
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) with code `tuple_already_exists` when there is
    /// one, [`Forbidden`](crate::ErrorKind::Forbidden) on the root folder.
    pub async fn create(
        &self,
        folder: &FolderId,
        scope: &str,
        template: &str,
    ) -> Result<MetadataCascadePolicy> {
        let body = json!({ "folder_id": folder, "scope": scope, "templateKey": template });
        let path = ["metadata_cascade_policies"];
        let call = Call::new("metadata_cascade_policies.create", Method::POST, path).json(&body)?;
        self.transport.json(&call).await
    }

    /// The policies on a folder.
    ///
    /// Vendor: <https://developer.box.com/reference/get-metadata-cascade-policies/>
    pub fn list(
        &self,
        folder: &FolderId,
    ) -> impl Stream<Item = Result<MetadataCascadePolicy>> + Send + use<'a> {
        let id = folder.clone();
        paging::by_marker(self.transport, move |marker| {
            let path = ["metadata_cascade_policies"];
            let call = Call::new("metadata_cascade_policies.list", Method::GET, path);
            Ok(call
                .query("folder_id", id.as_str())
                .query_opt("marker", marker))
        })
    }

    /// A policy.
    ///
    /// Vendor: <https://developer.box.com/reference/get-metadata-cascade-policies-id/>
    pub async fn get(&self, id: &MetadataCascadePolicyId) -> Result<MetadataCascadePolicy> {
        let path = ["metadata_cascade_policies", id.as_str()];
        let call = Call::new("metadata_cascade_policies.get", Method::GET, path);
        self.transport.json(&call).await
    }

    /// Ends a policy. The values stay where they are.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-metadata-cascade-policies-id/>
    pub async fn delete(&self, id: &MetadataCascadePolicyId) -> Result<()> {
        let path = ["metadata_cascade_policies", id.as_str()];
        let call = Call::new("metadata_cascade_policies.delete", Method::DELETE, path);
        self.transport.gone(&call).await
    }

    /// Hands the values down to all that lies in the folder already. Box does it later and cannot
    /// be asked whether it is done. Safe to repeat.
    ///
    /// Vendor: <https://developer.box.com/reference/post-metadata-cascade-policies-id-apply/>
    pub async fn apply(
        &self,
        id: &MetadataCascadePolicyId,
        on_conflict: &ConflictResolution,
    ) -> Result<()> {
        let path = ["metadata_cascade_policies", id.as_str(), "apply"];
        let call = Call::new("metadata_cascade_policies.apply", Method::POST, path)
            .json(&json!({ "conflict_resolution": on_conflict }))?
            .repeatable();
        self.transport.empty(&call).await
    }
}

open_enum! {
    /// Whose values win where an item carries the template already.
    ConflictResolution {
        /// The item's.
        None = "none",
        /// The folder's.
        Overwrite = "overwrite",
    }
}

/// A cascade policy.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct MetadataCascadePolicy {
    /// Its id.
    pub id: MetadataCascadePolicyId,
    /// The folder whose values are handed down.
    pub parent: Option<PolicyFolder>,
    /// The template's scope, in full.
    pub scope: Option<String>,
    /// The template's key.
    #[serde(rename = "templateKey")]
    pub template_key: Option<String>,
}

/// The folder of a cascade policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct PolicyFolder {
    /// Its id.
    pub id: Option<FolderId>,
}
