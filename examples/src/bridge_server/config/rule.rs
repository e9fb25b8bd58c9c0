//! `[[rules]]`.

use serde::Deserialize;

use super::{Provision, Span, SyncMetadata};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) triggers: Vec<String>,
    pub(crate) folder: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) versions: Option<bridge::Versions>,
    pub(crate) attach: Option<Vec<bridge::Target>>,
    pub(crate) advance_stage: Option<String>,
    pub(crate) log_task: Option<LogTask>,
    pub(crate) provision: Option<Provision>,
    pub(crate) sync_metadata: Option<SyncMetadata>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogTask {
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) contact: Option<bridge::Whom>,
    #[serde(default)]
    pub(crate) several_contacts: bridge::Several,
    pub(crate) digest: Option<Span>,
}
