//! Metadata templates: which values an item can carry.

use futures_core::Stream;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    MetadataTemplateId, call::Call, error::Result, metadata::check_names, open_enum::open_enum,
    paging, transport::Transport,
};

/// Calls on metadata templates. From
/// [`BoxClient::metadata_templates`](crate::BoxClient::metadata_templates).
///
/// Vendor: <https://developer.box.com/reference/resources/metadata-template/>. Making and changing
/// them needs an administrator's right of the user. A scope is `enterprise`, `enterprise_12345` or
/// `global`.
///
/// ```no_run
/// use box_client::{BoxClient, TemplateField, TemplateUpdate};
///
/// # async fn example(client: BoxClient) -> box_client::Result<()> {
/// let templates = client.metadata_templates();
/// templates
///     .create("Salesforce Mapping")
///     .key("salesforceMapping")
///     .field(TemplateField::string("opportunity_id", "Opportunity ID"))
///     .field(TemplateField::one_of("stage", "Stage", ["Open", "Closed Won"]))
///     .send()
///     .await?;
/// let contact = TemplateField::string("contact_id", "Contact ID");
/// let update = TemplateUpdate::new().add_field(contact).add_option("stage", "Closed Lost");
/// templates.update("enterprise", "salesforceMapping", &update).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MetadataTemplates<'a> {
    transport: &'a Transport,
}

const LIST_LIMIT: &str = "1000";

impl<'a> MetadataTemplates<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Makes a template of the enterprise. A key that is taken is a
    /// [`Conflict`](crate::ErrorKind::Conflict).
    ///
    /// Vendor: <https://developer.box.com/reference/post-metadata-templates-schema/>
    pub fn create(&self, display_name: &str) -> CreateTemplate<'a> {
        CreateTemplate {
            transport: self.transport,
            body: Map::new(),
            fields: Vec::new(),
        }
        .set("scope", "enterprise")
        .set("displayName", display_name)
    }

    /// A template by its key.
    ///
    /// Vendor: <https://developer.box.com/reference/get-metadata-templates-id-id-schema/>
    pub async fn get(&self, scope: &str, key: &str) -> Result<MetadataTemplate> {
        let call = schema("metadata_templates.get", Method::GET, scope, key)?;
        self.transport.json(&call).await
    }

    /// A template by its id.
    ///
    /// Vendor: <https://developer.box.com/reference/get-metadata-templates-id/>
    pub async fn get_by_id(&self, id: &MetadataTemplateId) -> Result<MetadataTemplate> {
        let path = ["metadata_templates", id.as_str()];
        let call = Call::new("metadata_templates.get_by_id", Method::GET, path);
        self.transport.json(&call).await
    }

    /// The templates of the enterprise.
    ///
    /// Vendor: <https://developer.box.com/reference/get-metadata-templates-enterprise/>
    pub fn list(&self) -> impl Stream<Item = Result<MetadataTemplate>> + Send + use<'a> {
        self.list_in("metadata_templates.list", "enterprise")
    }

    /// The templates that Box gives to all.
    ///
    /// Vendor: <https://developer.box.com/reference/get-metadata-templates-global/>
    pub fn list_global(&self) -> impl Stream<Item = Result<MetadataTemplate>> + Send + use<'a> {
        self.list_in("metadata_templates.list_global", "global")
    }

    /// Changes a template, all or nothing, and with it the values on items.
    ///
    /// Vendor: <https://developer.box.com/reference/put-metadata-templates-id-id-schema/>
    pub async fn update(
        &self,
        scope: &str,
        key: &str,
        update: &TemplateUpdate,
    ) -> Result<MetadataTemplate> {
        // A field cannot be added twice.
        let call = schema("metadata_templates.update", Method::PUT, scope, key)?
            .json_as("application/json-patch+json", update)?
            .once();
        self.transport.json(&call).await
    }

    /// Deletes a template and its values on all items, for good.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-metadata-templates-id-id-schema/>
    pub async fn delete(&self, scope: &str, key: &str) -> Result<()> {
        let call = schema("metadata_templates.delete", Method::DELETE, scope, key)?;
        self.transport.gone(&call).await
    }

    fn list_in(
        &self,
        operation: &'static str,
        scope: &'static str,
    ) -> impl Stream<Item = Result<MetadataTemplate>> + Send + use<'a> {
        paging::by_marker(self.transport, move |marker| {
            let call = Call::new(operation, Method::GET, ["metadata_templates", scope]);
            Ok(call.query("limit", LIST_LIMIT).query_opt("marker", marker))
        })
    }
}

fn schema(operation: &'static str, method: Method, scope: &str, key: &str) -> Result<Call> {
    check_names(operation, scope, key)?;
    let path = ["metadata_templates", scope, key, "schema"];
    Ok(Call::new(operation, method, path))
}

/// Makes a template. From [`MetadataTemplates::create`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct CreateTemplate<'a> {
    transport: &'a Transport,
    body: Map<String, Value>,
    fields: Vec<TemplateField>,
}

impl CreateTemplate<'_> {
    /// The key: a letter or `_`, then letters, digits, `-` and `_`, 64 at most. Made from the
    /// display name unless given.
    pub fn key(self, key: &str) -> Self {
        self.set("templateKey", key)
    }

    /// Whether people do not see it in the web app.
    pub fn hidden(self, on: bool) -> Self {
        self.set("hidden", on)
    }

    /// Whether the values go along when an item is copied.
    pub fn copy_instance_on_item_copy(self, on: bool) -> Self {
        self.set("copyInstanceOnItemCopy", on)
    }

    /// One more field.
    pub fn field(mut self, field: TemplateField) -> Self {
        self.fields.push(field);
        self
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it.
    pub async fn send(mut self) -> Result<MetadataTemplate> {
        if !self.fields.is_empty() {
            self.body.insert("fields".to_owned(), json!(self.fields));
        }
        let path = ["metadata_templates", "schema"];
        let call = Call::new("metadata_templates.create", Method::POST, path).json(&self.body)?;
        self.transport.json(&call).await
    }
}

/// Changes to a template, made in order, all or none.
///
/// Vendor: <https://developer.box.com/guides/metadata/templates/update/>. Despite the content
/// type it is no JSON Patch.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
#[must_use = "goes into an update"]
pub struct TemplateUpdate(Vec<Value>);

impl TemplateUpdate {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another display name.
    pub fn display_name(self, name: &str) -> Self {
        self.push(json!({ "op": "editTemplate", "data": { "displayName": name } }))
    }

    /// Whether people do not see it in the web app.
    pub fn hidden(self, on: bool) -> Self {
        self.push(json!({ "op": "editTemplate", "data": { "hidden": on } }))
    }

    /// Whether the values go along when an item is copied.
    pub fn copy_instance_on_item_copy(self, on: bool) -> Self {
        self.push(json!({ "op": "editTemplate", "data": { "copyInstanceOnItemCopy": on } }))
    }

    /// One more field.
    pub fn add_field(self, field: TemplateField) -> Self {
        self.push(json!({ "op": "addField", "data": field }))
    }

    /// Another display name for a field.
    pub fn field_display_name(self, field: &str, name: &str) -> Self {
        let data = json!({ "displayName": name });
        self.push(json!({ "op": "editField", "fieldKey": field, "data": data }))
    }

    /// Another key for a field; the values on items go along.
    pub fn field_key(self, field: &str, key: &str) -> Self {
        let data = json!({ "key": key });
        self.push(json!({ "op": "editField", "fieldKey": field, "data": data }))
    }

    /// Removes a field and its values on all items.
    pub fn remove_field(self, field: &str) -> Self {
        self.push(json!({ "op": "removeField", "fieldKey": field }))
    }

    /// In which order people see the fields: all of them.
    pub fn reorder_fields<S: Into<String>>(self, fields: impl IntoIterator<Item = S>) -> Self {
        let fields: Vec<String> = fields.into_iter().map(Into::into).collect();
        self.push(json!({ "op": "reorderFields", "fieldKeys": fields }))
    }

    /// One more option of a field with one choice.
    pub fn add_option(self, field: &str, option: &str) -> Self {
        let data = json!({ "key": option });
        self.push(json!({ "op": "addEnumOption", "fieldKey": field, "data": data }))
    }

    /// Another key for an option of a field with one choice; the values on items go along.
    pub fn edit_option(self, field: &str, option: &str, key: &str) -> Self {
        self.push(json!({
            "op": "editEnumOption", "fieldKey": field, "enumOptionKey": option,
            "data": { "key": key },
        }))
    }

    /// Removes an option of a field with one choice, and it from all items.
    pub fn remove_option(self, field: &str, option: &str) -> Self {
        self.push(json!({
            "op": "removeEnumOption", "fieldKey": field, "enumOptionKey": option,
        }))
    }

    /// One more option of a field with several choices.
    pub fn add_multi_select_option(self, field: &str, option: &str) -> Self {
        let data = json!({ "key": option });
        self.push(json!({ "op": "addMultiSelectOption", "fieldKey": field, "data": data }))
    }

    /// Removes an option of a field with several choices, and it from all items.
    pub fn remove_multi_select_option(self, field: &str, option: &str) -> Self {
        self.push(json!({
            "op": "removeMultiSelectOption", "fieldKey": field, "multiSelectOptionKey": option,
        }))
    }

    fn push(mut self, change: Value) -> Self {
        self.0.push(change);
        self
    }
}

open_enum! {
    /// What values a field takes.
    FieldType {
        /// Text.
        String = "string",
        /// Numbers.
        Float = "float",
        /// Dates, with the time `T00:00:00.000Z`.
        Date = "date",
        /// One of the options.
        Enum = "enum",
        /// Several of the options.
        MultiSelect = "multiSelect",
        /// Places in a taxonomy.
        Taxonomy = "taxonomy",
        /// Whole numbers, in old templates only.
        Integer = "integer",
    }
}

/// A field of a template.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct TemplateField {
    /// Its id, when Box has given one.
    #[serde(skip_serializing)]
    pub id: Option<String>,
    /// What values it takes.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Its key in the values.
    pub key: String,
    /// Its name for people.
    #[serde(
        rename = "displayName",
        default,
        deserialize_with = "crate::lenient::null_to_default"
    )]
    pub display_name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether people do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// What can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<FieldOption>>,
}

/// One of the values that can be chosen.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct FieldOption {
    /// Its id, when Box has given one.
    #[serde(skip_serializing)]
    pub id: Option<String>,
    /// The value.
    pub key: String,
}

impl TemplateField {
    /// A field for text.
    pub fn string(key: &str, display_name: &str) -> Self {
        Self::new(FieldType::String, key, display_name)
    }

    /// A field for numbers.
    pub fn float(key: &str, display_name: &str) -> Self {
        Self::new(FieldType::Float, key, display_name)
    }

    /// A field for dates.
    pub fn date(key: &str, display_name: &str) -> Self {
        Self::new(FieldType::Date, key, display_name)
    }

    /// A field for one of these.
    pub fn one_of<S: Into<String>>(
        key: &str,
        display_name: &str,
        options: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::new(FieldType::Enum, key, display_name).with_options(options)
    }

    /// A field for several of these.
    pub fn several_of<S: Into<String>>(
        key: &str,
        display_name: &str,
        options: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::new(FieldType::MultiSelect, key, display_name).with_options(options)
    }

    /// With words on what it is for.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }

    /// Out of people's sight or not.
    #[must_use]
    pub fn hidden(mut self, on: bool) -> Self {
        self.hidden = Some(on);
        self
    }

    fn new(kind: FieldType, key: &str, display_name: &str) -> Self {
        Self {
            id: None,
            kind,
            key: key.to_owned(),
            display_name: display_name.to_owned(),
            description: None,
            hidden: None,
            options: None,
        }
    }

    fn with_options<S: Into<String>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        let option = |key: S| FieldOption {
            id: None,
            key: key.into(),
        };
        self.options = Some(options.into_iter().map(option).collect());
        self
    }
}

/// A template.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MetadataTemplate {
    /// Its id.
    pub id: MetadataTemplateId,
    /// Its scope, always in full: `enterprise_12345` or `global`.
    pub scope: Option<String>,
    /// Its key.
    pub template_key: Option<String>,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Whether people do not see it in the web app.
    pub hidden: Option<bool>,
    /// Whether the values go along when an item is copied.
    pub copy_instance_on_item_copy: Option<bool>,
    /// The fields.
    pub fields: Option<Vec<TemplateField>>,
}

impl MetadataTemplate {
    /// A field by its key.
    pub fn field(&self, key: &str) -> Option<&TemplateField> {
        self.fields.iter().flatten().find(|field| field.key == key)
    }
}
