mod setup;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::query::{self, next_page};
use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::Field;
use super::soql::{self, Asker};
use super::state::{Call, Config, State};
use super::store::{Actor, Org, Values};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CustomField {
    full_name: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    label: String,
    #[serde(rename = "type")]
    kind: String,
    length: u32,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    case_sensitive: bool,
}

const QUERY: &str = "tooling/query";

/// `tooling/query`: what the org is set up with.
pub(super) fn answer_query(
    state: &mut State,
    config: &Config,
    call: &Call,
    locator: Option<&str>,
) -> Result<Reply, Refusal> {
    if call.method != Method::GET {
        return Err(Refusal::not_allowed(&call.method, "HEAD,GET"));
    }
    if let Some(locator) = locator {
        return next_page(state, config, call, locator);
    }
    let Some(text) = call.query.get("q") else {
        return Err(Refusal::bad("MALFORMED_QUERY", "SOQL statement is missing"));
    };
    let asker = Asker {
        user: &call.user,
        version: call.version,
        with_deleted: false,
    };
    let mut selection = soql::select(&setup::of(&state.org), text, asker)?;
    setup::check_full_names(&selection.rows)?;
    setup::name_places(&mut selection.rows);
    Ok(query::selected(state, config, call, selection, QUERY))
}

/// `tooling/sobjects/CustomField`: a text field, which nobody may see until it is granted.
pub(super) fn create_field(state: &mut State, call: &mut Call) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "POST"));
    }
    let sent: CustomField = call.json()?;
    let metadata = sent.metadata;
    let invalid = |text: &str| {
        Err(Refusal::data(
            "FIELD_INTEGRITY_EXCEPTION",
            text,
            &["Metadata"],
        ))
    };
    if metadata.kind != "Text" || metadata.label.is_empty() {
        return invalid("this fake creates text fields with a label");
    }
    if !(1..=255).contains(&metadata.length) {
        return invalid("Text field length must be between 1 and 255");
    }
    let Some((object, name)) = sent.full_name.split_once('.') else {
        return invalid("FullName must be Object.Field__c");
    };
    let field = Field::text(name, metadata.length)
        .unique(metadata.unique)
        .case_sensitive(metadata.case_sensitive)
        .external_id(metadata.external_id);
    state.org.schema.add_hidden_field(object, field)?;
    let id = setup::field_id(state.org.schema.custom.len());
    Ok(Reply::json(
        201,
        &json!({ "id": id, "success": true, "errors": [] }),
    ))
}

/// Refuses what there is already, and rights to what there is not.
pub(super) fn check(org: &Org, object: &str, values: &Values) -> Result<(), Refusal> {
    let text = |name: &str| {
        values
            .get(name)
            .and_then(|it| it.as_str())
            .unwrap_or_default()
    };
    let keys: &[&str] = match object {
        "PermissionSet" => &["Name"],
        "FieldPermissions" => &["ParentId", "Field"],
        "PermissionSetAssignment" => &["PermissionSetId", "AssigneeId"],
        _ => return Ok(()),
    };
    let is_twice = org
        .living(object)
        .any(|record| keys.iter().all(|key| record.text(key) == Some(text(key))));
    if is_twice {
        let code = match object {
            "PermissionSet" => "DUPLICATE_DEVELOPER_NAME",
            _ => "DUPLICATE_VALUE",
        };
        return Err(Refusal::data(code, "duplicate value found", keys));
    }
    if object == "FieldPermissions" {
        let known = text("Field").split_once('.').is_some_and(|(holder, name)| {
            let is_open = org
                .schema
                .object(holder)
                .is_some_and(|it| it.field(name).is_some());
            text("SobjectType") == holder && (is_open || org.schema.hides(holder, name))
        });
        if !known {
            let text = "Entity Enumeration Or ID: bad value for restricted picklist field";
            let code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST";
            return Err(Refusal::data(code, text, &["Field"]));
        }
    }
    Ok(())
}

/// Shows the fields that somebody has been given the right to.
pub(super) fn show_granted(org: &mut Org, actor: &Actor) {
    let mut granted = Vec::new();
    for permission in org.living("FieldPermissions") {
        let set = permission.text("ParentId");
        let assigned = org
            .living("PermissionSetAssignment")
            .any(|it| it.text("PermissionSetId") == set);
        let field = permission.text("Field").and_then(|it| it.split_once('.'));
        if let Some((holder, name)) =
            field.filter(|_| assigned && permission.flag("PermissionsRead"))
        {
            granted.push((holder.to_owned(), name.to_owned()));
        }
    }
    for (holder, name) in granted {
        org.schema.show(&holder, &name, actor.now);
    }
}
