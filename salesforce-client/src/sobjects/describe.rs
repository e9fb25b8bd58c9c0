use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use http::{Method, StatusCode, header::IF_MODIFIED_SINCE};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{SObjects, http_date};
use crate::{
    RecordId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::{JSON_LIMIT, Transport},
};

/// Describes an object. From [`SObjects::describe`]; it can be awaited as it is.
#[must_use = "nothing is sent before send() or .await"]
pub struct Describe<'a> {
    transport: &'a Arc<Transport>,
    call: Result<Call>,
}

impl fmt::Debug for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Describe").finish_non_exhaustive()
    }
}

impl<'a, T> SObjects<'a, T> {
    /// What the object is like: its fields, as far as the user may see them, and its
    /// relationships. The answer has some hundred KB; let it be kept.
    ///
    /// Vendor: REST API Developer Guide, "sObject Describe".
    pub fn describe(&self) -> Describe<'a> {
        Describe {
            transport: self.transport,
            call: self.call("sobjects.describe", Method::GET, &["describe"]),
        }
    }
}

impl<'a> Describe<'a> {
    /// Sends it.
    pub async fn send(self) -> Result<ObjectDescribe> {
        self.transport.json(&self.call?).await
    }

    /// Sends it; `None` when nothing was changed after this time, in whole seconds.
    pub async fn if_modified_since(self, at: Timestamp) -> Result<Option<ObjectDescribe>> {
        if_modified_since(self.transport, self.call?, at).await
    }
}

pub(crate) async fn if_modified_since<T: DeserializeOwned>(
    transport: &Transport,
    call: Call,
    at: Timestamp,
) -> Result<Option<T>> {
    let call = call.text_header(IF_MODIFIED_SINCE, http_date(at))?;
    let reply = transport.whole(&call, JSON_LIMIT).await?;
    if reply.status == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    reply.json().map(Some)
}

impl<'a> IntoFuture for Describe<'a> {
    type Output = Result<ObjectDescribe>;
    type IntoFuture = BoxFuture<'a, Result<ObjectDescribe>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// All objects that the user may see. From
/// [`SalesforceClient::describe_global`](crate::SalesforceClient::describe_global).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DescribeGlobal {
    /// The objects.
    pub sobjects: Vec<ObjectSummary>,
}

/// An object in short.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ObjectSummary {
    /// Its name in the API.
    pub name: String,
    /// What people call it.
    pub label: Option<String>,
    /// What its ids begin with.
    pub key_prefix: Option<String>,
    /// Whether it was made in the org.
    #[serde(default)]
    pub custom: bool,
    /// Whether the user may create records.
    #[serde(default)]
    pub createable: bool,
    /// Whether the user may change records.
    #[serde(default)]
    pub updateable: bool,
    /// Whether the user may delete records.
    #[serde(default)]
    pub deletable: bool,
    /// Whether it can be asked for in SOQL.
    #[serde(default)]
    pub queryable: bool,
    /// Whether [`updated`](SObjects::updated) and [`deleted`](SObjects::deleted) work on it.
    #[serde(default)]
    pub replicateable: bool,
}

/// An object. From [`SObjects::describe`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ObjectDescribe {
    /// What stands in the list of all objects too.
    #[serde(flatten)]
    pub summary: ObjectSummary,
    /// The fields that the user may see; others are as if they did not exist.
    pub fields: Vec<FieldDescribe>,
    /// What points to records of this object.
    #[serde(default)]
    pub child_relationships: Vec<ChildRelationship>,
    /// The object's record types.
    #[serde(default)]
    pub record_type_infos: Vec<RecordTypeInfo>,
}

/// A field.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FieldDescribe {
    /// Its name in the API.
    pub name: String,
    /// What people call it.
    pub label: Option<String>,
    /// Salesforce's name of its type, such as `string` or `reference`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The longest text that it takes.
    #[serde(default)]
    pub length: u32,
    /// The digits that a number with decimals has in all.
    #[serde(default)]
    pub precision: u32,
    /// How many of those stand after the point.
    #[serde(default)]
    pub scale: u32,
    /// The digits that a whole number has.
    #[serde(default)]
    pub digits: u32,
    /// Whether it may be empty.
    #[serde(default)]
    pub nillable: bool,
    /// Whether the user may set it in a new record.
    #[serde(default)]
    pub createable: bool,
    /// Whether the user may change it.
    #[serde(default)]
    pub updateable: bool,
    /// Whether Salesforce sets it where it is left out.
    #[serde(default)]
    pub defaulted_on_create: bool,
    /// Whether a query can filter by it.
    #[serde(default)]
    pub filterable: bool,
    /// Whether records can be upserted by it because somebody marked it so.
    #[serde(default)]
    pub external_id: bool,
    /// Whether records can be upserted by it because Salesforce lets it be so. It need not be
    /// unique.
    #[serde(default)]
    pub id_lookup: bool,
    /// Whether no two records have the same value.
    #[serde(default)]
    pub unique: bool,
    /// Whether values that differ in case differ.
    #[serde(default)]
    pub case_sensitive: bool,
    /// Whether only the listed values are taken.
    #[serde(default)]
    pub restricted_picklist: bool,
    /// The listed values.
    #[serde(default)]
    pub picklist_values: Vec<PicklistValue>,
    /// The objects that it may point to.
    #[serde(default)]
    pub reference_to: Vec<String>,
    /// Its name in paths, such as `Account` for `AccountId`.
    pub relationship_name: Option<String>,
}

/// A listed value.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PicklistValue {
    /// What the API takes and gives.
    pub value: String,
    /// What people see.
    pub label: Option<String>,
    /// Whether it can still be chosen.
    #[serde(default)]
    pub active: bool,
    /// Whether it is the default.
    #[serde(default)]
    pub default_value: bool,
}

/// What points to records of an object.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChildRelationship {
    /// The object that points.
    #[serde(rename = "childSObject")]
    pub child_sobject: String,
    /// Its field that does.
    pub field: String,
    /// The name to use in sub-queries, if there is one.
    pub relationship_name: Option<String>,
}

/// A record type.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RecordTypeInfo {
    /// Its id.
    pub record_type_id: Option<RecordId>,
    /// Its name for programs.
    pub developer_name: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
    /// Whether the user may use it.
    #[serde(default)]
    pub available: bool,
    /// Whether records have it unless told otherwise.
    #[serde(default)]
    pub default_record_type_mapping: bool,
}

impl ObjectDescribe {
    /// A field by its name, in any case of its letters. `None` also when the user may not see it.
    pub fn field(&self, name: &str) -> Option<&FieldDescribe> {
        self.fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Whether files can be put on records of the object.
    pub fn takes_files(&self) -> bool {
        let mut children = self.child_relationships.iter();
        children.any(|child| {
            child.child_sobject == "ContentDocumentLink" && child.field == "LinkedEntityId"
        })
    }

    /// A field that records can be upserted by without hitting a wrong one: there, settable,
    /// marked as external id and unique. What is missing is told as an error of kind
    /// [`Config`](ErrorKind::Config).
    pub fn check_key(&self, name: &str) -> Result<&FieldDescribe> {
        let bad = |detail| Error::new(ErrorKind::Config, "sobjects.describe").detail(detail);
        let field = self
            .field(name)
            .ok_or_else(|| bad("there is no such field, or the user may not see it"))?;
        match field {
            it if !it.external_id => Err(bad("the field is not marked as external id")),
            it if !it.unique => Err(bad("the field is not unique")),
            it if !it.createable => Err(bad("the user may not set the field")),
            it => Ok(it),
        }
    }
}

impl FieldDescribe {
    /// Whether a new record needs a value from the caller.
    pub fn is_required(&self) -> bool {
        self.createable && !self.nillable && !self.defaulted_on_create
    }
}
