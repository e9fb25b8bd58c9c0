use std::fmt;

use serde::Serialize;

/// One of the two vendors that the bridge stands between.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where the documents are.
    Content,
    /// Where the records are.
    Crm,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Content, Self::Crm];

    /// A word for logs, metrics and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Crm => "crm",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
