use serde_json::{Value, json};

use super::schema::{FieldDef, FieldType, ObjectDef, Schema};
use super::store::Org;

/// `sobjects`: all objects in short.
pub(super) fn global(schema: &Schema, version: u32) -> Value {
    let objects: Value = schema
        .objects
        .iter()
        .map(|def| brief(def, version))
        .collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects })
}

/// `sobjects/{X}`, the part that tells about the object.
pub(super) fn brief(def: &ObjectDef, version: u32) -> Value {
    let url = format!("/services/data/v{version}.0/sobjects/{}", def.name);
    json!({
        "activateable": false,
        "createable": def.createable,
        "custom": def.is_custom(),
        "customSetting": false,
        "deletable": def.deletable,
        "deprecatedAndHidden": false,
        "feedEnabled": def.linkable,
        "keyPrefix": def.prefix,
        "label": def.label(),
        "labelPlural": def.label(),
        "layoutable": true,
        "mergeable": false,
        "mruEnabled": def.linkable,
        "name": def.name,
        "queryable": true,
        "replicateable": true,
        "retrieveable": true,
        "searchable": def.is_searchable(),
        "triggerable": true,
        "undeletable": def.deletable,
        "updateable": def.updateable,
        "urls": {
            "sobject": url,
            "describe": format!("{url}/describe"),
            "rowTemplate": format!("{url}/{{ID}}"),
        },
    })
}

/// `sobjects/{X}/describe`.
pub(super) fn full(schema: &Schema, def: &ObjectDef, version: u32) -> Value {
    let mut described = brief(def, version);
    described["childRelationships"] = children(schema, def);
    described["fields"] = def.fields.iter().map(field).collect();
    described["recordTypeInfos"] = json!([{
        "active": true,
        "available": true,
        "defaultRecordTypeMapping": true,
        "developerName": "Master",
        "master": true,
        "name": "Master",
        "recordTypeId": "012000000000000AAA",
    }]);
    described
}

/// The stages are records of their own, and a picklist in the describe of a deal.
pub(super) fn add_stages(described: &mut Value, org: &Org) {
    let mut stages: Vec<_> = org.living("OpportunityStage").collect();
    stages.sort_by_key(|stage| stage.value("SortOrder").as_i64());
    let stages = stages.into_iter().map(|stage| {
        json!({
            "active": stage.value("IsActive"),
            "defaultValue": false,
            "label": stage.value("MasterLabel"),
            "value": stage.value("ApiName"),
        })
    });
    let stages: Value = stages.collect();
    let fields = described["fields"].as_array_mut().into_iter().flatten();
    for field in fields.filter(|field| field["name"] == "StageName") {
        field["picklistValues"] = stages.clone();
    }
}

fn children(schema: &Schema, def: &ObjectDef) -> Value {
    let relation = |child: &str, field: &str, name: Option<String>| {
        json!({
            "cascadeDelete": false,
            "childSObject": child,
            "deprecatedAndHidden": false,
            "field": field,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": name,
            "restrictedDelete": false,
        })
    };
    let children = schema.children(def).into_iter();
    children
        .map(|(child, field, name)| relation(&child.name, field, name))
        .collect()
}

fn field(def: &FieldDef) -> Value {
    let values = def.picklist.iter().map(|value| {
        let is_default = def.default.as_ref().and_then(Value::as_str) == Some(value);
        json!({ "active": true, "defaultValue": is_default, "label": value, "value": value })
    });
    let is_reference = def.kind == FieldType::Reference;
    json!({
        "autoNumber": false,
        "byteLength": def.length.saturating_mul(3),
        "calculated": false,
        "caseSensitive": def.case_sensitive,
        "createable": def.createable,
        "custom": def.is_custom(),
        "defaultValue": def.default,
        "defaultedOnCreate": def.defaulted,
        "deprecatedAndHidden": false,
        "digits": def.kind.digits(),
        "externalId": def.external_id,
        "filterable": def.filterable,
        "groupable": def.is_sortable(),
        "idLookup": def.id_lookup,
        "label": def.label,
        "length": def.length,
        "name": def.name,
        "nameField": def.name == "Name",
        "nillable": def.nillable,
        "permissionable": def.createable && def.nillable,
        "picklistValues": values.collect::<Value>(),
        "polymorphicForeignKey": is_reference && def.targets.len() != 1,
        "precision": def.kind.precision(),
        "referenceTo": def.targets,
        "relationshipName": def.relationship,
        "restrictedPicklist": def.restricted,
        "scale": def.kind.scale(),
        "sortable": def.is_sortable(),
        "type": def.kind.name(),
        "unique": def.unique,
        "updateable": def.updateable,
    })
}
