//! What an integration needs in an org: fields of its own, and the right to them.

use std::sync::Arc;

use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    ErrorCode, Query, Record, RecordId, SObjects, Soql,
    error::{Error, ErrorKind, Result},
    sobjects::check_name,
    soql,
    transport::Transport,
};

const OPERATION: &str = "tooling.create_field";

/// Calls that set up an org. From [`SalesforceClient::tooling`](crate::SalesforceClient::tooling).
///
/// The user needs "Customize Application" and, for permission sets, "Manage Profiles and
/// Permission Sets".
#[derive(Clone, Copy)]
pub struct Tooling<'a> {
    transport: &'a Arc<Transport>,
}

impl std::fmt::Debug for Tooling<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tooling").finish_non_exhaustive()
    }
}

/// A text field to create, such as one that holds the ids of another system.
#[derive(Clone, Debug)]
#[must_use]
pub struct NewTextField {
    object: String,
    name: String,
    metadata: Metadata,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    label: String,
    #[serde(rename = "type")]
    kind: &'static str,
    length: u16,
    external_id: bool,
    unique: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    case_sensitive: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl NewTextField {
    /// A field of this object with this name, which ends with `__c`. Those of Task and Event
    /// belong to `Activity`.
    pub fn new(object: impl Into<String>, name: impl Into<String>, length: u16) -> Self {
        let name = name.into();
        let label = name.strip_suffix("__c").unwrap_or(&name).replace('_', " ");
        Self {
            object: object.into(),
            name,
            metadata: Metadata {
                label,
                kind: "Text",
                length,
                external_id: false,
                unique: false,
                case_sensitive: None,
                description: None,
            },
        }
    }

    /// Another label than the name.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.metadata.label = label.into();
        self
    }

    /// What it is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.metadata.description = Some(description.into());
        self
    }

    /// Makes it a key: an external id of which no two records have the same. Values that differ in
    /// the case of a letter are two.
    pub fn key(mut self) -> Self {
        self.metadata.external_id = true;
        self.metadata.unique = true;
        self.metadata.case_sensitive = Some(true);
        self
    }

    /// The objects that show it.
    fn holders(&self) -> Vec<&str> {
        match self.object.as_str() {
            "Activity" => vec!["Task", "Event"],
            object => vec![object],
        }
    }

    fn check(&self) -> Result<()> {
        check_name(OPERATION, &self.object)?;
        check_name(OPERATION, &self.name)?;
        let invalid = |detail| Err(Error::new(ErrorKind::Invalid, OPERATION).detail(detail));
        if !self.name.ends_with("__c") {
            return invalid("a custom field's name ends with __c");
        }
        if !(1..=255).contains(&self.metadata.length) {
            return invalid("a text field has between 1 and 255 characters");
        }
        if matches!(self.object.as_str(), "Task" | "Event") {
            return invalid("custom fields of Task and Event belong to Activity");
        }
        Ok(())
    }
}

impl<'a> Tooling<'a> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
        Self { transport }
    }

    /// Creates a field, which nobody may see yet. False when there is one of that name, whatever
    /// it is like: [`ObjectDescribe::check_key`](crate::ObjectDescribe::check_key) tells.
    ///
    /// Vendor: Tooling API, "CustomField".
    pub async fn create_field(&self, field: &NewTextField) -> Result<bool> {
        field.check()?;
        let name = format!("{}.{}", field.object, field.name);
        let call = self
            .transport
            .call(
                OPERATION,
                Method::POST,
                &["tooling", "sobjects", "CustomField"],
            )
            .json(&json!({ "FullName": name, "Metadata": field.metadata }))?
            // A second field of the name is refused, so a lost answer is asked for again.
            .repeatable();
        match self.transport.empty(&call).await {
            Err(error) if error.has_code(&ErrorCode::DUPLICATE_DEVELOPER_NAME) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// A query on the org's setup, such as on `ApexClass` or `CustomField`.
    pub fn query<T: DeserializeOwned>(&self, soql: impl Into<Soql>) -> Query<T> {
        let call = soql.into().text().map(|text| {
            self.transport
                .call("tooling.query", Method::GET, &["tooling", "query"])
                .query("q", text)
        });
        Query::answering(self.transport, call)
    }

    /// The permission set of this name, created if there is none.
    pub async fn permission_set(&self, name: &str, label: &str) -> Result<RecordId> {
        if let Some(id) = self.find_permission_set(name).await? {
            return Ok(id);
        }
        let sets = self.records("PermissionSet");
        match sets.create(&json!({ "Name": name, "Label": label })).await {
            // Somebody else was faster, or the answer to a first try was lost.
            Err(error) => match self.find_permission_set(name).await? {
                Some(id) => Ok(id),
                None => Err(error),
            },
            created => created,
        }
    }

    /// Lets who has the permission set read and write a field. False when that was so already.
    pub async fn grant_field(
        &self,
        permission_set: &RecordId,
        object: &str,
        field: &str,
    ) -> Result<bool> {
        check_name("tooling.grant_field", object)?;
        check_name("tooling.grant_field", field)?;
        let permission = json!({
            "ParentId": permission_set,
            "SobjectType": object,
            "Field": format!("{object}.{field}"),
            "PermissionsRead": true,
            "PermissionsEdit": true,
        });
        self.once("FieldPermissions", &permission).await
    }

    /// Gives a permission set to a user. False when the user had it already.
    pub async fn assign(&self, permission_set: &RecordId, user: &RecordId) -> Result<bool> {
        let assignment = json!({ "PermissionSetId": permission_set, "AssigneeId": user });
        self.once("PermissionSetAssignment", &assignment).await
    }

    /// Makes sure that a field is there and that the user may use it, through a permission set of
    /// this name. Each step is done only if it is not done yet, so the whole can be repeated.
    ///
    /// ```no_run
    /// # use salesforce_client::{NewTextField, RecordId, SalesforceClient};
    /// # async fn example(client: SalesforceClient, user: RecordId) -> salesforce_client::Result<()> {
    /// let field = NewTextField::new("ContentVersion", "Box_File_Version_Id__c", 40).key();
    /// client.tooling().ensure_field(&field, "Box_Bridge", &user).await?;
    /// let described = client.sobject("ContentVersion").describe().await?;
    /// described.check_key("Box_File_Version_Id__c")?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ensure_field(
        &self,
        field: &NewTextField,
        permission_set: &str,
        user: &RecordId,
    ) -> Result<()> {
        self.create_field(field).await?;
        let label = permission_set.replace('_', " ");
        let set = self.permission_set(permission_set, &label).await?;
        for object in field.holders() {
            self.grant_field(&set, object, &field.name).await?;
        }
        self.assign(&set, user).await.map(drop)
    }

    async fn find_permission_set(&self, name: &str) -> Result<Option<RecordId>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            id: RecordId,
        }
        let soql = soql("SELECT Id FROM PermissionSet WHERE Name = :name").bind("name", name);
        let found: Option<Found> = Query::new(self.transport, soql).first().await?;
        Ok(found.map(|found| found.id))
    }

    async fn once(&self, object: &str, fields: &serde_json::Value) -> Result<bool> {
        match self.records(object).create(fields).await {
            Err(error) if error.kind() == ErrorKind::Duplicate => Ok(false),
            result => result.map(|_| true),
        }
    }

    fn records<'n>(&self, object: &'n str) -> SObjects<'n, Record>
    where
        'a: 'n,
    {
        SObjects::new(self.transport, object)
    }
}
