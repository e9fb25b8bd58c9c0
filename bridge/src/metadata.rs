//! Metadata on the content side: values of one template on files and folders.

use std::fmt::Debug;

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

    /// Changes values that are still as they were seen, all of them or none; `null` takes a value
    /// away. Tells whether they were still so.
    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError>;

    /// Makes sure that the template exists and has these fields; what it lacks is added, and
    /// nothing else of it changes. A field of another type is
    /// [`Refused`](crate::PortErrorKind::Refused).
    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError>;

    /// The fields that the template has, as far as they are of a kind that we know.
    async fn shape(&self) -> Result<Vec<TemplateField>, PortError>;

    /// The folders anywhere below `under` with this text in `key`.
    async fn find(&self, under: &str, key: &str, text: &str) -> Result<Vec<String>, PortError>;
}

/// Finds the folders that say which record they belong to.
pub trait MappedFolders: Debug + Send + Sync + 'static {
    /// All folders that have a value in this key, as they are found.
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
    /// The values by key; what has none is not there.
    pub values: Map<String, Value>,
    /// Grows with every change.
    pub version: Option<u64>,
}

impl Instance {
    /// An instance with these values.
    pub fn new(values: Map<String, Value>, version: Option<u64>) -> Self {
        Self { values, version }
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
pub struct TemplateField {
    /// Its key.
    pub key: String,
    /// Its type.
    pub kind: ValueKind,
    /// The options of an `enum` or `multi_select`.
    #[serde(default)]
    pub options: Vec<String>,
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
