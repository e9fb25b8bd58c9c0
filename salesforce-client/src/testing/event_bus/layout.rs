//! The fields of an object as its change events have them.

use std::collections::BTreeSet;

use apache_avro::types::Value as Avro;
use serde_json::{Value, json};

use crate::testing::schema::{FieldDef, FieldType, ObjectDef};
use crate::testing::store::Values;
use crate::testing::values::time_of;

const NAMESPACE: &str = "com.sforce.eventbus";
/// In the header of the event, or in no event at all.
const LEFT_OUT: [&str; 3] = ["Id", "IsDeleted", "SystemModstamp"];
const PERSON: [&str; 3] = ["Salutation", "FirstName", "LastName"];
const ADDRESS: [&str; 5] = ["Street", "City", "State", "PostalCode", "Country"];
const CHANGE_TYPES: [&str; 9] = [
    "CREATE",
    "UPDATE",
    "DELETE",
    "UNDELETE",
    "GAP_CREATE",
    "GAP_UPDATE",
    "GAP_DELETE",
    "GAP_UNDELETE",
    "GAP_OVERFLOW",
];

/// The fields after the header, which is number 0.
pub(super) struct Layout {
    record: String,
    slots: Vec<Slot>,
}

enum Slot {
    Plain(Part),
    /// Such as a name or an address, whose parts are fields of the record.
    Compound {
        name: String,
        kind: &'static str,
        parts: Vec<Part>,
    },
}

struct Part {
    /// Within the event.
    name: String,
    /// Within the record.
    field: String,
    kind: FieldType,
}

impl Layout {
    pub(super) fn of(def: &ObjectDef) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        for field in &def.fields {
            let is_person_name = field.name == "Name" && def.field("LastName").is_some();
            let is_left_out = LEFT_OUT.contains(&field.name.as_str()) || is_person_name;
            if is_left_out || field.kind == FieldType::Base64 {
                continue;
            }
            let Some((compound, kind, name)) = compound(def, field) else {
                slots.push(Slot::Plain(Part::new(&field.name, field)));
                continue;
            };
            let part = Part::new(name, field);
            let known = slots.iter_mut().find_map(|slot| match slot {
                Slot::Compound { name, parts, .. } if *name == compound => Some(parts),
                _ => None,
            });
            match known {
                Some(parts) => parts.push(part),
                None => slots.push(Slot::Compound {
                    name: compound,
                    kind,
                    parts: vec![part],
                }),
            }
        }
        Self {
            record: event_name(&def.name),
            slots,
        }
    }

    /// The Avro schema.
    pub(super) fn schema(&self) -> String {
        let mut fields = vec![json!({ "name": "ChangeEventHeader", "type": header_schema() })];
        let mut defined = BTreeSet::new();
        for slot in &self.slots {
            fields.push(match slot {
                Slot::Plain(part) => part.schema(),
                // A record type is written out once and named from then on.
                Slot::Compound { name, kind, .. } if !defined.insert(*kind) => {
                    json!({ "name": name, "type": ["null", format!("{NAMESPACE}.{kind}")] })
                }
                Slot::Compound { name, kind, .. } => {
                    let parts = self.parts_of(kind);
                    let parts: Vec<Value> = parts.map(Part::schema).collect();
                    let record = json!({ "type": "record", "name": kind, "fields": parts });
                    json!({ "name": name, "type": ["null", record] })
                }
            });
        }
        json!({
            "type": "record", "name": self.record, "namespace": NAMESPACE, "fields": fields,
        })
        .to_string()
    }

    /// All compound fields of one kind have the same parts.
    fn parts_of(&self, wanted: &str) -> impl Iterator<Item = &Part> {
        let first = self.slots.iter().find_map(|slot| match slot {
            Slot::Compound { kind, parts, .. } if *kind == wanted => Some(parts),
            _ => None,
        });
        first.into_iter().flatten()
    }

    /// The event's datum, with these of the record's fields.
    pub(super) fn datum(&self, header: Avro, values: &Values) -> Avro {
        let mut fields = vec![("ChangeEventHeader".to_owned(), header)];
        for slot in &self.slots {
            fields.push(match slot {
                Slot::Plain(part) => (part.name.clone(), part.datum(values)),
                Slot::Compound { name, parts, .. } => {
                    let is_there = parts.iter().any(|part| values.contains_key(&part.field));
                    let parts = parts
                        .iter()
                        .map(|part| (part.name.clone(), part.datum(values)));
                    let value = match is_there {
                        true => Avro::Record(parts.collect()),
                        false => Avro::Null,
                    };
                    (name.clone(), value)
                }
            });
        }
        Avro::Record(fields)
    }

    /// Whether events have this field of the record.
    pub(super) fn has(&self, field: &str) -> bool {
        self.slots.iter().any(|slot| match slot {
            Slot::Plain(part) => part.field == field,
            Slot::Compound { parts, .. } => parts.iter().any(|part| part.field == field),
        })
    }

    /// A set of fields as headers have it: `0x…` for those of the event, `N-0x…` for those within
    /// its compound field N.
    pub(super) fn bitmaps(&self, fields: &BTreeSet<&str>) -> Vec<String> {
        let is_in = |part: &Part| fields.contains(part.field.as_str());
        let numbered = || self.slots.iter().zip(1..);
        let plain = numbered().filter_map(|(slot, number)| match slot {
            Slot::Plain(part) => is_in(part).then_some(number),
            Slot::Compound { .. } => None,
        });
        let nested = numbered().filter_map(|(slot, number)| match slot {
            Slot::Plain(_) => None,
            Slot::Compound { parts, .. } => {
                let parts = parts.iter().enumerate();
                let set = parts.filter(|(_, part)| is_in(part)).map(|(at, _)| at);
                bitmap(set).map(|set| format!("{number}-{set}"))
            }
        });
        bitmap(plain).into_iter().chain(nested).collect()
    }
}

impl Part {
    fn new(name: &str, field: &FieldDef) -> Self {
        Self {
            name: name.to_owned(),
            field: field.name.clone(),
            kind: field.kind,
        }
    }

    fn schema(&self) -> Value {
        json!({ "name": self.name, "type": ["null", type_of(self.kind)] })
    }

    fn datum(&self, values: &Values) -> Avro {
        let value = values.get(&self.field).unwrap_or(&Value::Null);
        datum(self.kind, value)
    }
}

/// The name of an object's change events, and of their topic.
pub(super) fn event_name(object: &str) -> String {
    match object.strip_suffix("__c") {
        Some(stem) => format!("{stem}__ChangeEvent"),
        None => format!("{object}ChangeEvent"),
    }
}

/// Times and days are milliseconds since 1970.
pub(super) fn type_of(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Boolean => "boolean",
        FieldType::Int => "int",
        FieldType::Currency | FieldType::Double | FieldType::Percent => "double",
        FieldType::Date | FieldType::Datetime => "long",
        _ => "string",
    }
}

fn datum(kind: FieldType, value: &Value) -> Avro {
    let found = match type_of(kind) {
        "boolean" => value.as_bool().map(Avro::Boolean),
        "int" => {
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
            number.map(Avro::Int)
        }
        "double" => value.as_f64().map(Avro::Double),
        "long" => {
            let midnight = || {
                let day: jiff::civil::Date = value.as_str()?.parse().ok()?;
                let midnight = day.to_datetime(jiff::civil::Time::midnight());
                jiff::tz::TimeZone::UTC.to_timestamp(midnight).ok()
            };
            let time = time_of(value).or_else(midnight);
            time.map(|time| Avro::Long(time.as_millisecond()))
        }
        _ => value.as_str().map(|text| Avro::String(text.to_owned())),
    };
    found.unwrap_or(Avro::Null)
}

/// Which compound field this one is a part of, of which type, and under what name.
fn compound<'a>(def: &ObjectDef, field: &'a FieldDef) -> Option<(String, &'static str, &'a str)> {
    let name = field.name.as_str();
    if PERSON.contains(&name) && def.field("LastName").is_some() {
        return Some(("Name".to_owned(), "PersonName", name));
    }
    let part = ADDRESS.into_iter().find(|part| name.ends_with(part))?;
    let stem = name.strip_suffix(part).filter(|stem| !stem.is_empty())?;
    let is_address = def.field(&format!("{stem}Street")).is_some();
    is_address.then(|| (format!("{stem}Address"), "Address", &name[stem.len()..]))
}

fn header_schema() -> Value {
    let text = |name: &str| json!({ "name": name, "type": "string" });
    let long = |name: &str| json!({ "name": name, "type": "long" });
    let texts =
        |name: &str| json!({ "name": name, "type": { "type": "array", "items": "string" } });
    let kind = json!({ "type": "enum", "name": "ChangeType", "symbols": CHANGE_TYPES });
    json!({ "type": "record", "name": "ChangeEventHeader", "fields": [
        text("entityName"),
        texts("recordIds"),
        { "name": "changeType", "type": kind },
        text("changeOrigin"),
        text("transactionKey"),
        { "name": "sequenceNumber", "type": "int" },
        long("commitTimestamp"),
        long("commitNumber"),
        text("commitUser"),
        texts("nulledFields"),
        texts("diffFields"),
        texts("changedFields"),
    ]})
}

/// The numbers as the bits of a hexadecimal number, the lowest last; nothing for none.
fn bitmap(numbers: impl Iterator<Item = usize>) -> Option<String> {
    let mut digits: Vec<u8> = Vec::new();
    for number in numbers {
        let place = number / 4;
        if digits.len() <= place {
            digits.resize(place + 1, 0);
        }
        digits[place] |= 1 << (number % 4);
    }
    if digits.is_empty() {
        return None;
    }
    // Whole bytes, as the vendor writes it.
    if digits.len() % 2 == 1 {
        digits.push(0);
    }
    let digits = digits.iter().rev().map(|digit| format!("{digit:X}"));
    Some(format!("0x{}", digits.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_fields_is_written_from_its_lowest_bit() {
        for (numbers, expected) in [
            (&[1, 3][..], Some("0x0A")),
            (&[1, 6, 22], Some("0x400042")),
            (&[68], Some("0x100000000000000000")),
            (&[], None),
        ] {
            let written = bitmap(numbers.iter().copied());
            assert_eq!(written.as_deref(), expected, "{numbers:?}");
        }
    }
}
