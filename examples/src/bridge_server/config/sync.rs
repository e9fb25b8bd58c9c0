//! `sync_metadata` of a rule.

use bridge::sync::{ConflictPolicy, FieldMap, FieldPair, MapError};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncMetadata {
    #[serde(default = "opportunity")]
    pub(crate) object: String,
    #[serde(default)]
    pub(crate) on_conflict: ConflictPolicy,
    pub(crate) fields: Vec<FieldPair>,
}

impl SyncMetadata {
    pub(crate) fn map(&self) -> Result<FieldMap, MapError> {
        let map = FieldMap::new(&self.object, self.fields.clone())?;
        Ok(map.on_conflict(self.on_conflict))
    }
}

fn opportunity() -> String {
    "Opportunity".into()
}
