//! What a change event says of the change.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The first field of every change event.
///
/// Vendor: Change Data Capture Developer Guide, "Change Event Fields".
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ChangeEventHeader {
    /// The object, such as `Opportunity`.
    pub entity_name: String,
    /// The records: more than one where equal changes came in one transaction, and a wildcard such
    /// as `001*` after an overflow.
    pub record_ids: Vec<String>,
    /// What happened.
    pub change_type: ChangeType,
    /// By which API and which client; see
    /// [`client_name`](crate::SalesforceClientBuilder::client_name).
    pub change_origin: String,
    /// The same for all changes of one transaction.
    pub transaction_key: String,
    /// The order within the transaction.
    pub sequence_number: i64,
    /// When the transaction was done.
    pub commit_timestamp: Option<Timestamp>,
    /// The order of transactions. Not unique after an org has moved.
    pub commit_number: i64,
    /// Who did it.
    pub commit_user: String,
    /// The fields that an update changed, those of a compound one as `Name.FirstName`. Empty where
    /// a record is created.
    pub changed_fields: Vec<String>,
    /// The fields that an update cleared. A field without a value that is not among them did not
    /// change.
    pub nulled_fields: Vec<String>,
    /// The long texts of which only a difference was sent.
    pub diff_fields: Vec<String>,
}

/// What happened to a record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum ChangeType {
    /// It was created.
    Create,
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
    /// It came back from the recycle bin.
    Undelete,
    /// It was created, and the event has no fields: read it.
    GapCreate,
    /// It was changed, and the event has no fields: read it.
    GapUpdate,
    /// It was deleted, and more is not known.
    GapDelete,
    /// It came back, and the event has no fields: read it.
    GapUndelete,
    /// More changed than events can tell: look through the whole object.
    GapOverflow,
    /// One that this crate does not know.
    #[serde(untagged)]
    Unknown(String),
}

impl ChangeType {
    /// Whether the event has no fields, so that the record has to be read.
    pub fn is_gap(&self) -> bool {
        matches!(
            self,
            Self::GapCreate
                | Self::GapUpdate
                | Self::GapDelete
                | Self::GapUndelete
                | Self::GapOverflow
        )
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    entity_name: String,
    record_ids: Vec<String>,
    change_type: ChangeType,
    change_origin: String,
    transaction_key: String,
    sequence_number: i64,
    commit_timestamp: i64,
    commit_number: i64,
    commit_user: String,
    changed_fields: Vec<String>,
    nulled_fields: Vec<String>,
    diff_fields: Vec<String>,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            entity_name: String::new(),
            record_ids: Vec::new(),
            change_type: ChangeType::Unknown(String::new()),
            change_origin: String::new(),
            transaction_key: String::new(),
            sequence_number: 0,
            commit_timestamp: 0,
            commit_number: 0,
            commit_user: String::new(),
            changed_fields: Vec::new(),
            nulled_fields: Vec::new(),
            diff_fields: Vec::new(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BadChange {
    #[error("the header of the change cannot be read")]
    Header(#[from] serde_json::Error),
    #[error("a set of fields is no hexadecimal number: {0:?}")]
    Bitmap(String),
}

pub(super) fn read(header: &Value, schema: &Value) -> Result<ChangeEventHeader, BadChange> {
    let header = Header::deserialize(header)?;
    let layout = Layout::new(schema);
    Ok(ChangeEventHeader {
        changed_fields: layout.names(&header.changed_fields)?,
        nulled_fields: layout.names(&header.nulled_fields)?,
        diff_fields: layout.names(&header.diff_fields)?,
        entity_name: header.entity_name,
        record_ids: header.record_ids,
        change_type: header.change_type,
        change_origin: header.change_origin,
        transaction_key: header.transaction_key,
        sequence_number: header.sequence_number,
        commit_timestamp: Timestamp::from_millisecond(header.commit_timestamp).ok(),
        commit_number: header.commit_number,
        commit_user: header.commit_user,
    })
}

/// The fields of a schema, by their numbers.
struct Layout<'a> {
    fields: &'a [Value],
    /// Records that are only named where they are used a second time.
    records: HashMap<&'a str, &'a Value>,
}

impl<'a> Layout<'a> {
    fn new(schema: &'a Value) -> Self {
        let mut records = HashMap::new();
        collect(schema, &mut records);
        Self {
            fields: fields(schema),
            records,
        }
    }

    /// `0x…` is a set of fields, `N-0x…` one of those within field number N.
    fn names(&self, bitmaps: &[String]) -> Result<Vec<String>, BadChange> {
        let mut names = Vec::new();
        for bitmap in bitmaps {
            let bad = || BadChange::Bitmap(bitmap.clone());
            let (parent, bits) = match bitmap.split_once('-') {
                Some((number, bits)) => {
                    let number: usize = number.parse().map_err(|_| bad())?;
                    (self.fields.get(number), bits)
                }
                None => (None, bitmap.as_str()),
            };
            let is_nested = bitmap.contains('-');
            let numbers = numbers(bits).ok_or_else(bad)?;
            let own = match parent {
                Some(parent) => self.within(parent),
                None if is_nested => &[],
                None => self.fields,
            };
            // A field that a later schema has is not named by this one.
            let known = numbers.into_iter().filter_map(|number| own.get(number));
            names.extend(known.filter_map(|field| {
                let name = field["name"].as_str()?;
                Some(match parent.and_then(|parent| parent["name"].as_str()) {
                    Some(parent) => format!("{parent}.{name}"),
                    None => name.to_owned(),
                })
            }));
        }
        Ok(names)
    }

    /// The fields of a compound one: the record among the types of its union.
    fn within(&self, field: &'a Value) -> &'a [Value] {
        let kind = &field["type"];
        let options = match kind {
            Value::Array(options) => options.as_slice(),
            single => std::slice::from_ref(single),
        };
        options
            .iter()
            .find_map(|option| match option {
                // In full or not, the last word is the name.
                Value::String(name) => {
                    let name = name.rsplit('.').next().unwrap_or(name);
                    self.records.get(name).copied()
                }
                record => is_record(record).then_some(record),
            })
            .map(fields)
            .unwrap_or_default()
    }
}

fn collect<'a>(schema: &'a Value, records: &mut HashMap<&'a str, &'a Value>) {
    match schema {
        Value::Array(options) => options.iter().for_each(|option| collect(option, records)),
        Value::Object(members) => {
            if let (true, Some(name)) = (is_record(schema), schema["name"].as_str()) {
                records.insert(name, schema);
            }
            members.values().for_each(|member| collect(member, records));
        }
        _ => {}
    }
}

fn is_record(schema: &Value) -> bool {
    schema["type"] == "record"
}

fn fields(record: &Value) -> &[Value] {
    record["fields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The numbers of the bits that are set, however many digits there are.
fn numbers(bits: &str) -> Option<Vec<usize>> {
    let digits = bits
        .strip_prefix("0x")
        .or_else(|| bits.strip_prefix("0X"))?;
    let mut numbers = Vec::new();
    for (place, digit) in digits.bytes().rev().enumerate() {
        let digit = char::from(digit).to_digit(16)?;
        numbers.extend(
            (0..4)
                .filter(|bit| digit & (1 << bit) != 0)
                .map(|bit| place * 4 + bit),
        );
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_of_fields_is_read_from_its_lowest_bit() {
        for (bits, expected) in [
            ("0x0A", &[1, 3][..]),
            ("0x400042", &[1, 6, 22]),
            ("0x0", &[]),
            ("0x100000000000000000", &[68]),
        ] {
            assert_eq!(numbers(bits).unwrap(), expected, "{bits}");
        }
        assert_eq!(numbers("0xZ"), None);
        assert_eq!(numbers("12"), None);
    }

    fn names(bitmaps: &[&str]) -> Result<Vec<String>, BadChange> {
        let person = json!({ "type": "record", "name": "PersonName", "fields": [
            { "name": "Salutation", "type": ["null", "string"] },
            { "name": "FirstName", "type": ["null", "string"] },
            { "name": "LastName", "type": ["null", "string"] },
        ]});
        let schema = json!({ "type": "record", "name": "ContactChangeEvent", "fields": [
            { "name": "ChangeEventHeader", "type": { "type": "record", "name": "ChangeEventHeader", "fields": [] } },
            { "name": "Name", "type": ["null", "string", person] },
            { "name": "Email", "type": ["null", "string"] },
            { "name": "Other", "type": ["null", "PersonName"] },
        ]});
        let bitmaps: Vec<_> = bitmaps.iter().map(|&bitmap| bitmap.to_owned()).collect();
        Layout::new(&schema).names(&bitmaps)
    }

    #[test]
    fn fields_are_named_within_compound_ones_as_well() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&["0x04"], &["Email"]),
            (
                &["0x04", "1-0x06"],
                &["Email", "Name.FirstName", "Name.LastName"],
            ),
            (&["3-0x1"], &["Other.Salutation"]),
            (&["0xF0", "2-0x1", "9-0x1"], &[]),
            (&[], &[]),
        ];
        for (bitmaps, expected) in cases {
            assert_eq!(names(bitmaps).unwrap(), expected, "{bitmaps:?}");
        }
        assert!(names(&["x-0x1"]).is_err());
        assert!(names(&["0xno"]).is_err());
    }

    proptest! {
        #[test]
        fn each_number_that_is_set_is_found(set in proptest::collection::btree_set(0..300usize, 0..20)) {
            let mut digits = [0u8; 75];
            for number in &set {
                digits[number / 4] |= 1 << (number % 4);
            }
            let bits: String = digits.iter().rev().map(|digit| format!("{digit:X}")).collect();
            let found = numbers(&format!("0x{bits}")).unwrap();
            prop_assert_eq!(found, set.into_iter().collect::<Vec<_>>());
        }
    }
}
