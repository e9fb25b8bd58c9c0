//! Jobs for what no webhook told of, with bodies as a webhook would have them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::port::Happening;
use crate::{
    content::FileState,
    occurrence::{BOX_FOUND, BOX_MISSED, UPLOADED},
    queue::NewJob,
    webhook::{Event, EventError},
};

/// The kind of job that looks for files in a folder.
pub const SCAN: &str = "watch.scan";

/// Body of a [`SCAN`].
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Scan {
    pub(super) folder: String,
    /// Only files changed since then.
    pub(super) since: Option<Timestamp>,
    #[serde(default)]
    pub(super) metadata: Touched,
}

/// What was done to a folder's metadata.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Touched {
    /// That is not why the scan is wanted.
    #[default]
    Unknown,
    /// Applied or changed.
    Set,
    /// Taken away.
    Removed,
}

pub(super) fn missed(happening: &Happening) -> Result<NewJob, EventError> {
    let Happening { id, trigger, .. } = happening;
    let (kind, id) = match happening.is_certain {
        true => (BOX_MISSED, id.clone()),
        // It has a part in more than one event, and each has its own id.
        false => (BOX_FOUND, format!("{id}:{trigger}")),
    };
    let body = json!({
        "type": "webhook_event", "id": id, "trigger": trigger, "created_at": happening.at,
        "created_by": happening.by, "source": happening.source,
        "additional_info": happening.details,
    });
    job(kind, &id, &body)
}

/// A file that lies there, as if it had just been uploaded. `token` tells one look from another, and
/// `only` limits what is done to actions of this name.
pub(super) fn found(
    file: &FileState,
    token: &str,
    only: Option<&str>,
) -> Result<NewJob, EventError> {
    // The same file in another folder is another find.
    let folder = file.folders.last().map(|folder| folder.id.as_str());
    let folder = folder.unwrap_or_default();
    let id = format!("{token}:{folder}:{}:{}", file.id, file.version.id);
    let body = json!({
        "type": "webhook_event", "id": id, "trigger": UPLOADED,
        "created_at": file.version.created_at, "source": source(file), "additional_info": [],
        "only": only,
    });
    job(BOX_FOUND, &id, &body)
}

fn source(file: &FileState) -> Value {
    let folders = file.folders.iter();
    let folders = folders.map(|it| json!({ "type": "folder", "id": it.id, "name": it.name }));
    json!({
        "type": "file", "id": file.id, "name": file.name, "size": file.version.size,
        "modified_at": file.version.created_at,
        "file_version": {
            "type": "file_version", "id": file.version.id, "sha1": file.version.sha1,
        },
        "path_collection": { "entries": folders.collect::<Vec<_>>() },
    })
}

fn job(kind: &str, id: &str, body: &Value) -> Result<NewJob, EventError> {
    let body = body.to_string();
    Ok(NewJob {
        dedupe: format!("{kind}:{id}"),
        key: Event::parse(body.as_bytes())?.ordering_key(),
        kind: kind.to_owned(),
        body: body.into(),
    })
}
