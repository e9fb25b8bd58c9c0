use serde::{Deserialize, Serialize};

use super::define::text;
use super::field::is_custom_name;
use super::{Field, Name, ObjectDef};
use crate::testing::refusal::Refusal;

/// An object to add to the org, as a person makes one or a managed package brings it.
///
/// ```
/// use salesforce_client::testing::{CustomObject, Field};
///
/// let object = CustomObject::new("pkg__Folder__c")
///     .field(Field::text("pkg__Record_Id__c", 18))
///     .field(Field::text("pkg__Folder_Id__c", 40).unique(true));
/// assert_eq!(object.fields.len(), 2);
/// ```
///
/// Besides its own fields it has `Name`, an owner and the fields that the org sets itself. A record
/// that is created without a name takes its id for one.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomObject {
    /// Name with the ending `__c`, and the package's prefix where there is one.
    pub name: String,
    /// Its custom fields.
    #[serde(default)]
    pub fields: Vec<Field>,
}

impl CustomObject {
    /// An object without fields of its own.
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
        if is_custom_name(&self.name) {
            return Ok(());
        }
        let text = format!("{} is no custom object that can be added", self.name);
        Err(Refusal::data(
            "FIELD_INTEGRITY_EXCEPTION",
            text,
            &["FullName"],
        ))
    }
}

impl ObjectDef {
    pub(super) fn custom(object: &CustomObject, prefix: String) -> Self {
        Self::new(object.name.clone(), Name::from(prefix))
            .linkable()
            .with(vec![text("Name", 80)])
    }
}

/// `a00`, `a01`, and so on: the prefixes of custom objects.
pub(super) fn prefix(number: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digit = |place: usize| char::from(DIGITS[place % DIGITS.len()]);
    format!("a{}{}", digit(number / DIGITS.len()), digit(number))
}
