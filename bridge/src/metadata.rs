//! Metadata on the content side: values of one template on files and folders.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::port_error::PortError;

/// Reads and writes the values of one metadata template, the one that maps folders to records.
#[async_trait]
pub trait Metadata: Debug + Send + Sync + 'static {
    /// The values on a folder, or `None` where the template is not applied to it.
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError>;

    /// Sets values on a folder, whether the template is applied to it or not. What is not named
    /// stays as it is. Safe to repeat.
    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError>;

    /// Applies the template with these values to a folder that it is not applied to, and gives what
    /// the folder has then: these, or what was there before. Of several who claim a folder at a
    /// time, all get what the first has written. Safe to repeat.
    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError>;

    /// Changes values that are still as they were seen, all of them or none; `None` takes a value
    /// away, and one that is to be what it was is only looked at. Tells whether they were still so.
    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError>;

    /// Makes sure that the template exists and has these fields; what it lacks is added, and
    /// nothing else of it changes. A field of another type is
    /// [`Refused`](crate::PortErrorKind::Refused).
    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError>;

    /// The fields that the template has, as far as they are of a kind that we know.
    async fn shape(&self) -> Result<Vec<TemplateField>, PortError>;

    /// The folders anywhere below `under` with this text in `key`: none where there is no template.
    async fn find(&self, under: &str, key: &str, text: &str) -> Result<Vec<String>, PortError>;

    /// The folders that a folder lies in, from the root down, as far as they are for us to see. On a
    /// side that hands values down, one of them can be what the folder has its own from; one that
    /// does not has nothing to tell.
    async fn above(&self, _folder: &str) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }
}

/// Finds the folders that say which record they belong to.
pub trait MappedFolders: Debug + Send + Sync + 'static {
    /// All folders that have a value in this key, as they are found: none where there is no template.
    fn mapped(&self, key: &str) -> BoxStream<'_, Result<MappedFolder, PortError>>;
}

/// A folder that says which record it belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MappedFolder {
    /// Its id.
    pub folder: String,
    /// What it says.
    pub record: String,
}

/// A template's values on one folder.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Instance {
    /// Names it among all that were ever applied to the folder, where the content side tells: the
    /// template taken off and applied again is another instance.
    pub id: Option<String>,
    /// The values by key; what has none is not there.
    pub values: Map<String, Value>,
    /// Grows with every change.
    pub version: Option<u64>,
}

impl Instance {
    /// An instance with these values.
    pub fn new(values: Map<String, Value>, version: Option<u64>) -> Self {
        Self {
            id: None,
            values,
            version,
        }
    }

    /// With this id.
    #[must_use]
    pub fn with_id(mut self, id: Option<String>) -> Self {
        self.id = id;
        self
    }
}

/// What a folder has after a [claim](Metadata::claim).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claimed {
    /// Its values.
    pub instance: Instance,
    /// Whether this call has written them. A call whose first answer was lost may not know.
    pub is_new: bool,
}

/// A value to be changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValueChange {
    /// Its key.
    pub key: String,
    /// What it was when it was seen; `None` when there was none.
    pub seen: Option<Value>,
    /// What it is to be; `None` for no value.
    pub to: Option<Value>,
}

/// A field that a template is to have.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TemplateField {
    /// Names it among all that the template ever had, where the content side tells: one that was
    /// deleted took all its values along, and one made anew under the same key has none of them.
    #[serde(default)]
    pub id: Option<String>,
    /// Its key.
    pub key: String,
    /// Its type.
    pub kind: ValueKind,
    /// The options of an `enum` or `multi_select`.
    #[serde(default)]
    pub options: Vec<String>,
}

impl TemplateField {
    /// A field without options.
    pub fn new(key: impl Into<String>, kind: ValueKind) -> Self {
        Self {
            id: None,
            key: key.into(),
            kind,
            options: Vec::new(),
        }
    }

    /// With this id.
    #[must_use]
    pub fn with_id(mut self, id: Option<String>) -> Self {
        self.id = id;
        self
    }

    /// With these options.
    #[must_use]
    pub fn with_options(mut self, options: Vec<String>) -> Self {
        self.options = options;
        self
    }
}

/// What a template's field holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// Text.
    String,
    /// A number.
    Float,
    /// A day.
    Date,
    /// One of its options.
    Enum,
    /// Some of its options.
    MultiSelect,
}

impl ValueKind {
    /// Whether a field of it takes its options and nothing else.
    pub(crate) fn has_options(self) -> bool {
        matches!(self, Self::Enum | Self::MultiSelect)
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Float => "float",
            Self::Date => "date",
            Self::Enum => "enum",
            Self::MultiSelect => "multi_select",
        })
    }
}
