mod custom;
mod define;
mod field;
mod setup;
mod standard;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use super::refusal::Refusal;

pub(super) use standard::CONVERTED;

pub use custom::CustomObject;
pub use field::{Field, FieldType};

/// A name that the fake knows, or that was given to it.
pub(super) type Name = Cow<'static, str>;

#[derive(Clone, Debug)]
pub(super) struct FieldDef {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) kind: FieldType,
    pub(super) length: u32,
    pub(super) createable: bool,
    pub(super) updateable: bool,
    pub(super) nillable: bool,
    pub(super) unique: bool,
    /// Its values are compared with their case.
    pub(super) case_sensitive: bool,
    pub(super) external_id: bool,
    pub(super) id_lookup: bool,
    pub(super) filterable: bool,
    pub(super) restricted: bool,
    /// Set by the server where the caller leaves it out.
    pub(super) defaulted: bool,
    pub(super) default: Option<Value>,
    pub(super) picklist: Vec<Name>,
    /// Objects that a reference may point to; empty for any.
    pub(super) targets: &'static [&'static str],
    pub(super) relationship: Option<&'static str>,
}

impl FieldDef {
    pub(super) fn is_required(&self) -> bool {
        self.createable && !self.nillable && !self.defaulted
    }

    pub(super) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    /// Records can be found by it in a path.
    pub(super) fn is_key(&self) -> bool {
        self.external_id || self.id_lookup
    }

    /// Queries can be ordered by it.
    pub(super) fn is_sortable(&self) -> bool {
        self.filterable && self.kind != FieldType::Multipicklist
    }

    pub(super) fn custom(field: Field) -> Self {
        let is_long = field.kind == FieldType::Textarea && field.length > 255;
        let is_boolean = field.kind == FieldType::Boolean;
        Self {
            label: label_of(&field.name),
            name: field.name,
            kind: field.kind,
            length: field.length,
            createable: true,
            updateable: true,
            nillable: !field.required && !is_boolean,
            unique: field.unique,
            case_sensitive: field.unique && field.case_sensitive,
            external_id: field.external_id,
            id_lookup: field.external_id,
            filterable: !is_long,
            restricted: field.restricted,
            defaulted: is_boolean,
            default: is_boolean.then_some(Value::Bool(false)),
            picklist: field.values.into_iter().map(Name::from).collect(),
            targets: &[],
            relationship: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ObjectDef {
    pub(super) name: Name,
    pub(super) prefix: Name,
    pub(super) createable: bool,
    pub(super) updateable: bool,
    pub(super) deletable: bool,
    /// Files can be put on its records.
    pub(super) linkable: bool,
    pub(super) fields: Vec<FieldDef>,
}

impl ObjectDef {
    pub(super) fn field(&self, name: &str) -> Option<&FieldDef> {
        self.fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The reference field that a path like `Account.Name` goes through.
    pub(super) fn relationship(&self, name: &str) -> Option<&FieldDef> {
        self.fields.iter().find(|field| {
            field
                .relationship
                .is_some_and(|known| known.eq_ignore_ascii_case(name))
        })
    }

    pub(super) fn label(&self) -> String {
        label_of(&self.name)
    }

    /// Whether searches look at its records.
    pub(super) fn is_searchable(&self) -> bool {
        self.linkable || self.name == "ContentVersion"
    }

    /// The field that a record is known by.
    pub(super) fn title(&self) -> Option<&FieldDef> {
        let names = ["Name", "Subject", "Title"].into_iter();
        names.filter_map(|name| self.field(name)).next()
    }

    pub(super) fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }
}

/// The objects of the org and their fields.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) objects: Vec<ObjectDef>,
    /// Fields that were created and that nobody may see yet, with the objects that hold them.
    hidden: Vec<(String, Field)>,
    /// All custom fields in the order in which they were created, with the object that they were
    /// created for.
    pub(super) custom: Vec<(String, Field)>,
    pub(super) modified: Timestamp,
}

impl Schema {
    pub(super) fn standard(now: Timestamp) -> Self {
        Self {
            objects: standard::objects(),
            hidden: Vec::new(),
            custom: Vec::new(),
            modified: now,
        }
    }

    pub(super) fn object(&self, name: &str) -> Option<&ObjectDef> {
        self.objects
            .iter()
            .find(|object| object.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&ObjectDef> {
        let prefix = id.get(..3)?;
        self.objects.iter().find(|object| object.prefix == prefix)
    }

    /// Adds an object and its fields, with a key prefix of its own.
    pub(super) fn add_custom_object(
        &mut self,
        object: CustomObject,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        object.check()?;
        if self.object(&object.name).is_some() {
            let text = format!("There is already an object named {}.", object.name);
            return Err(Refusal::data(
                "DUPLICATE_DEVELOPER_NAME",
                text,
                &["FullName"],
            ));
        }
        let mut changed = self.clone();
        let number = self.objects.iter().filter(|def| def.is_custom()).count();
        let prefix = custom::prefix(number);
        changed.objects.push(ObjectDef::custom(&object, prefix));
        for field in object.fields {
            changed.add_custom_field(&object.name, field, now)?;
        }
        *self = changed;
        Ok(())
    }

    /// Child objects, the field that names the parent, and the relationship's name, if it has one.
    pub(super) fn children(&self, def: &ObjectDef) -> Vec<(&ObjectDef, &str, Option<String>)> {
        const AUDIT: [&str; 3] = ["CreatedById", "LastModifiedById", "OwnerId"];
        let mut found = Vec::new();
        for child in &self.objects {
            let fields = child.fields.iter();
            for field in fields.filter(|field| field.targets.contains(&&*def.name)) {
                let is_nameless =
                    AUDIT.contains(&field.name.as_str()) || field.name.starts_with("Converted");
                let name = (!is_nameless).then(|| plural(&child.name));
                found.push((child, field.name.as_str(), name));
            }
        }
        // Its presence is how a program learns that files can be put on the object.
        let links = self.object("ContentDocumentLink");
        if let Some(links) = links.filter(|_| def.linkable) {
            let name = Some("ContentDocumentLinks".to_owned());
            found.push((links, "LinkedEntityId", name));
        }
        found
    }

    /// What stands behind a relationship such as `Contacts` of an account.
    pub(super) fn child(&self, def: &ObjectDef, name: &str) -> Option<(&ObjectDef, &str)> {
        let children = self.children(def).into_iter();
        let is_it = |known: &str| known.eq_ignore_ascii_case(name);
        children
            .filter(|(_, _, known)| known.as_deref().is_some_and(is_it))
            .map(|(child, field, _)| (child, field))
            .next()
    }

    /// Creates a field as the API does: nobody may see it.
    pub(super) fn add_hidden_field(&mut self, object: &str, field: Field) -> Result<(), Refusal> {
        let mut tried = self.clone();
        tried.add_custom_field(object, field.clone(), self.modified)?;
        let holders: &[&str] = match object.eq_ignore_ascii_case("Activity") {
            true => &["Task", "Event"],
            false => &[object],
        };
        for holder in holders {
            if self.hides(holder, &field.name) {
                let text = format!("There is already a field named {} on {object}.", field.name);
                return Err(Refusal::data(
                    "DUPLICATE_DEVELOPER_NAME",
                    text,
                    &["FullName"],
                ));
            }
            self.hidden.push(((*holder).to_owned(), field.clone()));
        }
        self.custom.push((object.to_owned(), field));
        Ok(())
    }

    pub(super) fn hides(&self, holder: &str, name: &str) -> bool {
        self.hidden.iter().any(|(object, field)| {
            object.eq_ignore_ascii_case(holder) && field.name.eq_ignore_ascii_case(name)
        })
    }

    /// Lets a field that was hidden be seen.
    pub(super) fn show(&mut self, holder: &str, name: &str, now: Timestamp) {
        let is_it = |(object, field): &(String, Field)| {
            object.eq_ignore_ascii_case(holder) && field.name.eq_ignore_ascii_case(name)
        };
        let Some(place) = self.hidden.iter().position(is_it) else {
            return;
        };
        let (object, field) = self.hidden.swap_remove(place);
        let mut objects = self.objects.iter_mut();
        if let Some(def) = objects.find(|def| def.name.eq_ignore_ascii_case(&object)) {
            def.fields.push(FieldDef::custom(field));
            self.modified = now;
        }
    }

    pub(super) fn add_custom_field(
        &mut self,
        object: &str,
        field: Field,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        field.check()?;
        let is = |name: &str| object.eq_ignore_ascii_case(name);
        // Fields of Task and Event are defined once, on the object Activity.
        let holders: &[&str] = if is("Activity") {
            &["Task", "Event"]
        } else {
            &[object]
        };
        if is("Task") || is("Event") {
            let text = "custom fields of Task and Event are defined on Activity";
            return Err(Refusal::bad("INVALID_TYPE", text));
        }
        for holder in holders {
            let Some(def) = self.object(holder) else {
                let text = format!("sObject type '{object}' is not supported.");
                return Err(Refusal::bad("INVALID_TYPE", text));
            };
            if def.field(&field.name).is_some() {
                let text = format!("There is already a field named {} on {object}.", field.name);
                return Err(Refusal::data(
                    "DUPLICATE_DEVELOPER_NAME",
                    text,
                    &["FullName"],
                ));
            }
        }
        let is_full = |holder: &&str| {
            let def = self.object(holder);
            let keys = def.map(|def| def.fields.iter().filter(|it| it.external_id).count());
            keys.is_some_and(|keys| keys >= EXTERNAL_IDS_AT_MOST)
        };
        if field.external_id && holders.iter().any(is_full) {
            let text = format!("{object} has {EXTERNAL_IDS_AT_MOST} external ids already");
            return Err(Refusal::data("LIMIT_EXCEEDED", text, &["FullName"]));
        }
        for def in &mut self.objects {
            if holders
                .iter()
                .any(|holder| def.name.eq_ignore_ascii_case(holder))
            {
                def.fields.push(FieldDef::custom(field.clone()));
            }
        }
        self.custom.push((object.to_owned(), field));
        self.modified = now;
        Ok(())
    }
}

const EXTERNAL_IDS_AT_MOST: usize = 25;

fn plural(name: &str) -> String {
    match name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{name}s"),
    }
}

/// `StageName` reads "Stage Name", `Box_Id__c` reads "Box Id".
fn label_of(name: &str) -> String {
    if let Some(stem) = name.strip_suffix("__c") {
        let own = stem.split_once("__").map_or(stem, |(_, own)| own);
        return own.replace('_', " ");
    }
    let mut label = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            label.push(' ');
        }
        after_lower = letter.is_ascii_lowercase();
        label.push(letter);
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_fields_show_on_task_and_event() {
        let now = Timestamp::UNIX_EPOCH;
        let mut schema = Schema::standard(now);
        let field = |name: &str| Field::text(name, 40);
        assert!(
            schema
                .add_custom_field("Activity", field("Box_Id__c"), now)
                .is_ok()
        );
        for object in ["Task", "Event"] {
            assert!(
                schema
                    .object(object)
                    .is_some_and(|def| def.field("box_id__C").is_some())
            );
        }
        assert!(
            schema
                .add_custom_field("Task", field("Other__c"), now)
                .is_err()
        );
        assert!(
            schema
                .add_custom_field("Activity", field("Box_Id__c"), now)
                .is_err()
        );
        assert!(
            schema
                .add_custom_field("Account", field("Box_Id"), now)
                .is_err()
        );
        assert!(
            schema
                .add_custom_field("Nothing", field("Box_Id__c"), now)
                .is_err()
        );
    }

    #[test]
    fn names_and_prefixes_are_unique() {
        let schema = Schema::standard(Timestamp::UNIX_EPOCH);
        for (place, object) in schema.objects.iter().enumerate() {
            for other in &schema.objects[place + 1..] {
                assert_ne!(object.name, other.name);
                assert_ne!(object.prefix, other.prefix);
            }
            for (place, field) in object.fields.iter().enumerate() {
                let again = object.fields[place + 1..]
                    .iter()
                    .any(|f| f.name == field.name);
                assert!(!again, "{}.{}", object.name, field.name);
                for target in field.targets {
                    assert!(schema.object(target).is_some(), "{target}");
                }
            }
        }
    }
}
