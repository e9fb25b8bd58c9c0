use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::layout::type_of;
use crate::testing::refusal::Refusal;
use crate::testing::schema::{Field, FieldDef, FieldType};
use crate::testing::values::coerce;

/// A platform event that can be published and subscribed to, as `/event/Name__e`.
///
/// ```
/// use salesforce_client::testing::{Field, PlatformEvent};
///
/// let signed = PlatformEvent::new("Signed__e").field(Field::text("Document__c", 80));
/// assert_eq!(signed.fields.len(), 1);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformEvent {
    /// Name with the ending `__e`.
    pub name: String,
    /// Its fields besides `CreatedDate` and `CreatedById`.
    #[serde(default)]
    pub fields: Vec<Field>,
}

impl PlatformEvent {
    /// An event without fields of its own.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fields: Vec::new(),
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        let stem = self.name.strip_suffix("__e");
        let as_field = stem.map(|stem| Field::text(format!("{stem}__c"), 1));
        let wrong = || {
            let text = format!("{} is no platform event that can be added", self.name);
            Refusal::data("FIELD_INTEGRITY_EXCEPTION", text, &["FullName"])
        };
        as_field.ok_or_else(wrong)?.check().map_err(|_| wrong())?;
        self.fields.iter().try_for_each(Field::check)
    }

    /// The Avro schema.
    pub(super) fn schema(&self) -> String {
        let mut fields = vec![
            json!({ "name": "CreatedDate", "type": "long" }),
            json!({ "name": "CreatedById", "type": "string" }),
        ];
        let own = self.fields.iter();
        fields.extend(
            own.map(|field| json!({ "name": field.name, "type": ["null", type_of(field.kind)] })),
        );
        json!({
            "type": "record", "name": self.name, "namespace": "com.sforce.eventbus",
            "fields": fields,
        })
        .to_string()
    }

    /// Refuses values that do not fit the fields.
    pub(super) fn check_values(&self, values: &Map<String, Value>) -> Result<(), Refusal> {
        for field in &self.fields {
            let value = values.get(&field.name).unwrap_or(&Value::Null);
            if field.required && value.is_null() {
                return Err(crate::testing::checks::required(&[&field.name]));
            }
            // Times are numbers here.
            if !matches!(field.kind, FieldType::Date | FieldType::Datetime) {
                coerce(&FieldDef::custom(field.clone()), value)?;
            }
        }
        Ok(())
    }
}
