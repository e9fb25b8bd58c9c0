use serde::{Deserialize, Serialize};

use crate::testing::refusal::Refusal;

/// A custom field to add to an object of the org.
///
/// ```
/// use salesforce_client::testing::Field;
///
/// let field = Field::text("Box_File_Version_Id__c", 40).unique(true).external_id(true);
/// assert_eq!(field.name, "Box_File_Version_Id__c");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Field {
    /// Name with the ending `__c`.
    pub name: String,
    /// Type; text if absent in JSON, where the member is called `type`.
    #[serde(rename = "type", default = "text_kind")]
    pub kind: FieldType,
    /// Longest text that it takes.
    #[serde(default = "text_length")]
    pub length: u32,
    /// A second record with the same value is refused.
    #[serde(default)]
    pub unique: bool,
    /// Values of a unique field that differ in the case of a letter are two.
    #[serde(default)]
    pub case_sensitive: bool,
    /// Records can be upserted by it.
    #[serde(default)]
    pub external_id: bool,
    /// A record without a value is refused.
    #[serde(default)]
    pub required: bool,
    /// Values of a picklist.
    #[serde(default)]
    pub values: Vec<String>,
    /// Values of a picklist that are not among its own are refused.
    #[serde(default)]
    pub restricted: bool,
}

impl Field {
    /// A text field.
    pub fn text(name: impl Into<String>, length: u32) -> Self {
        Self::new(name, FieldType::String).length(length)
    }

    /// A picklist of which a record has one value.
    pub fn picklist<V: Into<String>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::of_values(name, FieldType::Picklist, values)
    }

    /// A picklist of which a record has any number of values, written `one;other`.
    pub fn multipicklist<V: Into<String>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::of_values(name, FieldType::Multipicklist, values).length(MULTIPICKLIST_LENGTH)
    }

    fn of_values<V: Into<String>>(
        name: impl Into<String>,
        kind: FieldType,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self {
            values,
            ..Self::new(name, kind)
        }
    }

    /// A field of any type.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self {
            name: name.into(),
            kind,
            length: text_length(),
            unique: false,
            case_sensitive: false,
            external_id: false,
            required: false,
            values: Vec::new(),
            restricted: false,
        }
    }

    /// Sets the longest text that it takes.
    #[must_use]
    pub fn length(mut self, length: u32) -> Self {
        self.length = length;
        self
    }

    /// Refuses a second record with the same value.
    #[must_use]
    pub fn unique(mut self, unique: bool) -> Self {
        self.unique = unique;
        self
    }

    /// Takes values of a unique field that differ in the case of a letter for two.
    #[must_use]
    pub fn case_sensitive(mut self, case_sensitive: bool) -> Self {
        self.case_sensitive = case_sensitive;
        self
    }

    /// Lets records be upserted by it.
    #[must_use]
    pub fn external_id(mut self, external_id: bool) -> Self {
        self.external_id = external_id;
        self
    }

    /// Refuses a record without a value.
    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// Refuses values that are not among those of the picklist.
    #[must_use]
    pub fn restricted(mut self, restricted: bool) -> Self {
        self.restricted = restricted;
        self
    }

    pub(in crate::testing) fn check(&self) -> Result<(), Refusal> {
        let kind_fits = !self.kind.is_id() && self.kind != FieldType::Base64;
        let is_list = matches!(self.kind, FieldType::Picklist | FieldType::Multipicklist);
        let list_fits = match is_list {
            true => !self.unique && !self.external_id && self.values.iter().all(|it| is_value(it)),
            false => self.values.is_empty() && !self.restricted,
        };
        if is_custom_name(&self.name) && kind_fits && list_fits {
            return Ok(());
        }
        let text = format!("{} is no custom field that can be added", self.name);
        Err(Refusal::data(
            "FIELD_INTEGRITY_EXCEPTION",
            text,
            &["FullName"],
        ))
    }
}

/// `Name__c`, or `package__Name__c` where a managed package brings it.
pub(super) fn is_custom_name(name: &str) -> bool {
    let part_fits = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && !part.ends_with('_')
            && part
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || it == '_')
    };
    let Some(stem) = name.strip_suffix("__c") else {
        return false;
    };
    match stem.split_once("__") {
        Some((package, own)) => part_fits(package) && part_fits(own) && !own.contains("__"),
        None => part_fits(stem),
    }
}

fn is_value(value: &str) -> bool {
    (1..=255).contains(&value.chars().count()) && !value.contains(';')
}

/// Types of fields, by their names in a describe.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FieldType {
    /// File content.
    Base64,
    /// True or false.
    Boolean,
    /// Free text with suggestions.
    Combobox,
    /// Money.
    Currency,
    /// A day.
    Date,
    /// A point in time.
    Datetime,
    /// A number with decimals.
    Double,
    /// An email address.
    Email,
    /// The id of the record itself.
    Id,
    /// A whole number.
    Int,
    /// Any number of a list.
    Multipicklist,
    /// A percentage.
    Percent,
    /// A telephone number.
    Phone,
    /// One of a list.
    Picklist,
    /// The id of another record.
    Reference,
    /// Text.
    String,
    /// Text of several lines.
    Textarea,
    /// A web address.
    Url,
}

impl FieldType {
    pub(in crate::testing) fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Boolean => "boolean",
            Self::Combobox => "combobox",
            Self::Currency => "currency",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Double => "double",
            Self::Email => "email",
            Self::Id => "id",
            Self::Int => "int",
            Self::Multipicklist => "multipicklist",
            Self::Percent => "percent",
            Self::Phone => "phone",
            Self::Picklist => "picklist",
            Self::Reference => "reference",
            Self::String => "string",
            Self::Textarea => "textarea",
            Self::Url => "url",
        }
    }

    pub(in crate::testing) fn is_id(self) -> bool {
        matches!(self, Self::Id | Self::Reference)
    }

    /// The digits of a number with decimals, in all.
    pub(in crate::testing) fn precision(self) -> u32 {
        match self {
            Self::Currency | Self::Double | Self::Percent => 18,
            _ => 0,
        }
    }

    /// How many of those stand after the point.
    pub(in crate::testing) fn scale(self) -> u32 {
        match self {
            Self::Currency | Self::Double | Self::Percent => 2,
            _ => 0,
        }
    }

    /// The digits of a whole number.
    pub(in crate::testing) fn digits(self) -> u32 {
        match self {
            Self::Int => 9,
            _ => 0,
        }
    }

    pub(in crate::testing) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Currency | Self::Double | Self::Int | Self::Percent
        )
    }
}

fn text_kind() -> FieldType {
    FieldType::String
}

fn text_length() -> u32 {
    255
}

/// What a describe tells of every such field.
const MULTIPICKLIST_LENGTH: u32 = 4099;
