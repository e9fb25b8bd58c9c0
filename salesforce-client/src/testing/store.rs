use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::blob::Blob;
use super::checks::{self, Write};
use super::convert::cannot_reference_converted_lead;
#[cfg(feature = "pubsub")]
use super::event_bus::{Capture, Kind};
use super::refusal::Refusal;
use super::schema::{Name, ObjectDef, Schema};
use super::values::stamp;
use super::{files, ids, rules};

pub(super) type Values = Map<String, Value>;

/// Who writes: the API may set less than a person with all rights in the browser.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) user: String,
    pub(super) is_person: bool,
    /// By which API and which program, as change events tell it.
    #[cfg_attr(not(feature = "pubsub"), allow(dead_code))]
    pub(super) origin: String,
    pub(super) now: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) values: Values,
    pub(super) deleted: bool,
    /// The record that took it to the bin.
    buried_with: Option<String>,
}

impl Record {
    pub(super) fn value(&self, field: &str) -> &Value {
        self.values.get(field).unwrap_or(&Value::Null)
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.value(field).as_str()
    }

    pub(super) fn flag(&self, field: &str) -> bool {
        self.value(field).as_bool().unwrap_or_default()
    }

    /// Whether it can be brought back.
    pub(super) fn is_in_bin(&self) -> bool {
        self.deleted && self.buried_with.is_some()
    }
}

/// All that a rollback brings back: objects, records and file contents.
#[derive(Clone, Debug)]
pub(super) struct Org {
    pub(super) schema: Schema,
    pub(super) blobs: BTreeMap<String, Blob>,
    #[cfg(feature = "pubsub")]
    pub(super) capture: Capture,
    tables: BTreeMap<Name, BTreeMap<String, Record>>,
    counters: BTreeMap<Name, u64>,
}

impl Org {
    pub(super) fn new(schema: Schema) -> Self {
        Self {
            schema,
            blobs: BTreeMap::new(),
            #[cfg(feature = "pubsub")]
            capture: Capture::default(),
            tables: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<&ObjectDef, Refusal> {
        self.schema.object(name).ok_or_else(Refusal::not_found)
    }

    /// All records of an object, deleted ones too, in the order of their ids.
    pub(super) fn table(&self, object: &str) -> impl Iterator<Item = &Record> {
        self.tables
            .get(object)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    pub(super) fn living(&self, object: &str) -> impl Iterator<Item = &Record> {
        self.table(object).filter(|record| !record.deleted)
    }

    /// The record with this 18-character id, be it deleted or not.
    pub(super) fn get(&self, id: &str) -> Option<(&ObjectDef, &Record)> {
        let def = self.schema.by_id(id)?;
        let record = self.tables.get(&def.name)?.get(id)?;
        Some((def, record))
    }

    pub(super) fn get_living(&self, id: &str) -> Option<&Record> {
        self.get(id)
            .map(|(_, record)| record)
            .filter(|record| !record.deleted)
    }

    /// The living record that a path names, or the error for a bad path.
    pub(super) fn find(&self, def: &ObjectDef, id: &str) -> Result<&Record, Refusal> {
        let Some(id) = ids::normalise(id) else {
            return Err(Refusal::bad("MALFORMED_ID", format!("malformed id {id}")));
        };
        if !id.starts_with(&*def.prefix) {
            return Err(Refusal::bad(
                "INVALID_CROSS_REFERENCE_KEY",
                "invalid cross reference id",
            ));
        }
        match self.get(&id) {
            Some((_, record)) if record.deleted => {
                Err(Refusal::new(404, "ENTITY_IS_DELETED", "entity is deleted"))
            }
            Some((_, record)) => Ok(record),
            None => Err(Refusal::not_found()),
        }
    }

    pub(super) fn create(
        &mut self,
        object: &str,
        body: &Values,
        blob: Option<Blob>,
        actor: &Actor,
    ) -> Result<String, Refusal> {
        let def = self.object(object)?;
        // A document comes to be by its first version only, whoever asks.
        if !def.createable && (!actor.is_person || def.name == "ContentDocument") {
            return Err(entity_type_cannot_be("inserted", def));
        }
        let name = def.name.clone();
        let values = checks::prepare(self, def, body, Write::Create, actor)?;
        match &*name {
            "ContentVersion" => files::create_version(self, values, blob, actor),
            "ContentDocumentLink" => files::create_link(self, values, actor),
            _ => self.insert(&name, values, actor),
        }
    }

    pub(super) fn update(
        &mut self,
        object: &str,
        id: &str,
        body: &Values,
        actor: &Actor,
    ) -> Result<(), Refusal> {
        let def = self.object(object)?;
        let record = self.find(def, id)?;
        if !def.updateable && !actor.is_person {
            return Err(entity_type_cannot_be("updated", def));
        }
        if def.name == "Lead" && record.flag("IsConverted") && !actor.is_person {
            return Err(cannot_reference_converted_lead(&[]));
        }
        let changes = checks::prepare(self, def, body, Write::Update, actor)?;
        checks::unique(self, def, &changes, Some(&record.id))?;
        files::check_update(def, record)?;
        let (name, id, before) = (def.name.clone(), record.id.clone(), record.values.clone());
        let mut after = before.clone();
        touch(&mut after, actor);
        after.extend(changes);
        rules::derive(self, &name, &mut after, Some(&before), actor)?;
        #[cfg(feature = "pubsub")]
        self.capture
            .note(Kind::Update, (&name, &id), (Some(&before), &after), actor);
        self.put(name.clone(), &id, after);
        if name == "ContentVersion" {
            files::follow_version(self, &id, actor);
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, object: &str, id: &str, actor: &Actor) -> Result<(), Refusal> {
        let def = self.object(object)?;
        let record = self.find(def, id)?;
        // Versions go with their document only, whoever asks.
        if !def.deletable && (!actor.is_person || def.name == "ContentVersion") {
            return Err(entity_type_cannot_be("deleted", def));
        }
        files::check_delete(self, def, record)?;
        let id = record.id.clone();
        self.bury(&id, &id, actor);
        Ok(())
    }

    /// Deletes a record past the bin, with what would have gone there together with it.
    pub(super) fn erase(&mut self, object: &str, id: &str, actor: &Actor) -> Result<(), Refusal> {
        let id = self.find(self.object(object)?, id)?.id.clone();
        self.delete(object, &id, actor)?;
        let records = self.tables.values_mut().flat_map(BTreeMap::values_mut);
        for record in records.filter(|it| it.buried_with.as_deref() == Some(&id)) {
            record.buried_with = None;
        }
        Ok(())
    }

    /// Takes a record out of the bin, with what went there together with it.
    pub(super) fn undelete(&mut self, id: &str, actor: &Actor) -> Result<(), Refusal> {
        let id = ids::normalise(id).ok_or_else(Refusal::not_found)?;
        let (def, record) = self.get(&id).ok_or_else(Refusal::not_found)?;
        // The bytes of files do not outlive them here.
        let is_file = matches!(&*def.name, "ContentVersion" | "ContentDocument");
        if is_file || record.buried_with.as_deref() != Some(&id) {
            let text = "entity is not in the recycle bin";
            return Err(Refusal::bad("UNDELETE_FAILED", text));
        }
        checks::unique(self, def, &record.values, None)?;
        let now = Value::String(stamp(actor.now));
        for (_object, table) in &mut self.tables {
            let own = table.values_mut();
            for record in own.filter(|it| it.buried_with.as_deref() == Some(&id)) {
                record.deleted = false;
                record.buried_with = None;
                record
                    .values
                    .insert("IsDeleted".to_owned(), Value::Bool(false));
                record
                    .values
                    .insert("SystemModstamp".to_owned(), now.clone());
                #[cfg(feature = "pubsub")]
                self.capture.note(
                    Kind::Undelete,
                    (_object, &record.id),
                    (None, &record.values),
                    actor,
                );
            }
        }
        Ok(())
    }

    /// Stores a new record whose values were checked.
    pub(super) fn insert(
        &mut self,
        object: &str,
        mut values: Values,
        actor: &Actor,
    ) -> Result<String, Refusal> {
        let def = self.object(object)?;
        checks::unique(self, def, &values, None)?;
        fill(def, &mut values, actor);
        rules::derive(self, object, &mut values, None, actor)?;
        let (object, prefix) = (def.name.clone(), def.prefix.clone());
        let number = self.counters.entry(object.clone()).or_default();
        *number += 1;
        let id = ids::make(&prefix, *number);
        rules::number_record(&object, *number, &id, &mut values);
        values.insert("Id".to_owned(), json!(id));
        #[cfg(feature = "pubsub")]
        self.capture
            .note(Kind::Create, (&object, &id), (None, &values), actor);
        self.put(object.clone(), &id, values);
        rules::after_create(self, &object, &id, actor)?;
        Ok(id)
    }

    /// Overwrites single values of a record, past all checks.
    #[cfg_attr(not(feature = "pubsub"), allow(unused_variables))]
    pub(super) fn set(&mut self, id: &str, changes: &[(&str, Value)], actor: &Actor) {
        let Some(def) = self.schema.by_id(id) else {
            return;
        };
        let table = self.tables.get_mut(&def.name);
        if let Some(record) = table.and_then(|table| table.get_mut(id)) {
            #[cfg(feature = "pubsub")]
            let before = record.values.clone();
            for (field, value) in changes {
                record.values.insert((*field).to_owned(), value.clone());
            }
            #[cfg(feature = "pubsub")]
            self.capture.note(
                Kind::Update,
                (&def.name, id),
                (Some(&before), &record.values),
                actor,
            );
        }
    }

    /// Puts a record in the bin together with what cannot live without it.
    fn bury(&mut self, id: &str, with: &str, actor: &Actor) {
        let Some(name) = self.schema.by_id(id).map(|def| def.name.clone()) else {
            return;
        };
        let Some(record) = self
            .tables
            .get_mut(&name)
            .and_then(|table| table.get_mut(id))
        else {
            return;
        };
        if std::mem::replace(&mut record.deleted, true) {
            return;
        }
        record.buried_with = Some(with.to_owned());
        record
            .values
            .insert("IsDeleted".to_owned(), Value::Bool(true));
        record
            .values
            .insert("SystemModstamp".to_owned(), Value::String(stamp(actor.now)));
        #[cfg(feature = "pubsub")]
        self.capture
            .note(Kind::Delete, (&name, id), (None, &record.values), actor);
        self.blobs.remove(id);
        for child in rules::children(self, &name, id) {
            self.bury(&child, with, actor);
        }
    }

    /// Takes a record as it is, past all checks.
    pub(super) fn keep(&mut self, object: &'static str, id: &str, values: Values) {
        self.put(Name::Borrowed(object), id, values);
    }

    fn put(&mut self, object: Name, id: &str, values: Values) {
        let record = Record {
            id: id.to_owned(),
            values,
            deleted: false,
            buried_with: None,
        };
        self.tables
            .entry(object)
            .or_default()
            .insert(id.to_owned(), record);
    }
}

fn entity_type_cannot_be(done: &str, def: &ObjectDef) -> Refusal {
    let text = format!("entity type cannot be {done}: {}", def.label());
    Refusal::bad("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", text)
}

fn fill(def: &ObjectDef, values: &mut Values, actor: &Actor) {
    let now = Value::String(stamp(actor.now));
    for field in &def.fields {
        let value = match field.name.as_str() {
            "CreatedDate" | "LastModifiedDate" | "SystemModstamp" => now.clone(),
            "CreatedById" | "LastModifiedById" | "OwnerId" => json!(actor.user),
            _ => field.default.clone().unwrap_or_default(),
        };
        let slot = values.entry(field.name.clone()).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value;
        }
    }
}

fn touch(values: &mut Values, actor: &Actor) {
    let now = Value::String(stamp(actor.now));
    for (field, value) in [
        ("LastModifiedDate", now.clone()),
        ("SystemModstamp", now),
        ("LastModifiedById", json!(actor.user)),
    ] {
        if let Some(slot) = values.get_mut(field) {
            *slot = value;
        }
    }
}
