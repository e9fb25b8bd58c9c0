//! What an action would really do, told before it is done.

use std::{fmt, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    clock::Clock, content::ContentSource, crm::Crm, ledger::Ledger, pipeline::PipelineOptions,
};

/// What an action can look at to tell what it would do. Nothing of it is written to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Looks {
    /// The side with the documents.
    pub content: Arc<dyn ContentSource>,
    /// The side with the records.
    pub crm: Arc<dyn Crm>,
    /// What was done before.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    pub(crate) options: PipelineOptions,
}

/// One thing that an action would do, or would find done.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Deed {
    /// A word for scripts, such as `make_folder`.
    pub what: &'static str,
    /// A line for people.
    pub does: String,
    /// Whether something is written for it; what is already as it should be is told too.
    pub writes: bool,
    /// What it is about, by names.
    #[serde(flatten)]
    pub about: Map<String, Value>,
}

/// What one step would do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Foresight {
    /// The rule that asks for it.
    pub rule: String,
    /// The action's name.
    pub action: String,
    /// What it would do; `None` where the action tells no more than its plan does.
    pub deeds: Option<Vec<Deed>>,
}

impl Deed {
    /// Something that is to be written.
    pub fn write(what: &'static str, does: impl Into<String>) -> Self {
        Self {
            what,
            does: does.into(),
            writes: true,
            about: Map::new(),
        }
    }

    /// Something that is already there.
    pub fn there(what: &'static str, does: impl Into<String>) -> Self {
        Self {
            writes: false,
            ..Self::write(what, does)
        }
    }

    /// With one thing more that it is about.
    #[must_use]
    pub fn about(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.about.insert(name.to_owned(), value.into());
        self
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.does)
    }
}
