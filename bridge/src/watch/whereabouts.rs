//! Whether an event lies below a watched folder.

use std::{collections::HashMap, sync::PoisonError, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::{error::WatchError, port::Happening, service::Watch};
use crate::{port_error::PortErrorKind, rules::one_spelling};

/// Folders are moved now and then.
const REMEMBER: Duration = Duration::from_secs(600);
const MOST_REMEMBERED: usize = 10_000;

/// The folders above a folder, and itself, as they were read.
pub(super) type Paths = HashMap<String, (Instant, Vec<String>)>;

/// Where an event happened.
enum Place {
    /// Below these, as the event itself says.
    Path(Vec<String>),
    /// In this folder, wherever that is.
    Folder(String),
    Unsaid,
}

impl Watch {
    /// Whether a webhook of ours would have told of it; and which folders' webhooks, as far as that
    /// can be said.
    pub(super) async fn concerns(
        &self,
        event: &Happening,
    ) -> Result<Option<Vec<String>>, WatchError> {
        let trigger = one_spelling(&event.trigger);
        let mut wanted = self.options.triggers.iter();
        if !wanted.any(|it| one_spelling(it) == trigger) {
            return Ok(None);
        }
        let path = match place(&event.source) {
            Place::Path(path) => path,
            Place::Folder(folder) if self.options.folders.contains(&folder) => vec![folder],
            Place::Folder(folder) => match self.path(&folder).await? {
                Some(path) => path,
                None => return Ok(Some(Vec::new())),
            },
            Place::Unsaid => return Ok(Some(Vec::new())),
        };
        let watched: Vec<_> = path
            .into_iter()
            .filter(|id| self.options.folders.contains(id))
            .collect();
        Ok((!watched.is_empty()).then_some(watched))
    }

    /// A stream of a whole enterprise tells of far more than we watch, so the folders are
    /// remembered. `None` without a side to ask.
    pub(super) async fn path(&self, folder: &str) -> Result<Option<Vec<String>>, WatchError> {
        let Some((content, _)) = &self.mappings else {
            return Ok(None);
        };
        let paths = || self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let known = paths().get(folder).cloned();
        if let Some((read, path)) = known
            && read.elapsed() < REMEMBER
        {
            return Ok(Some(path));
        }
        let path = match content.folder(folder).await {
            Ok(folder) => folder.with_itself().into_iter().map(|it| it.id).collect(),
            // Nobody shows us what lies there, and no webhook of ours did.
            Err(error) if error.kind() == PortErrorKind::Gone => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut paths = paths();
        if paths.len() >= MOST_REMEMBERED {
            paths.clear();
        }
        paths.insert(folder.to_owned(), (Instant::now(), Vec::clone(&path)));
        Ok(Some(path))
    }
}

fn place(source: &Value) -> Place {
    let text = |pointer| source.pointer(pointer).and_then(Value::as_str);
    let own = text("/id");
    let path = source.pointer("/path_collection/entries");
    if let Some(path) = path.and_then(Value::as_array) {
        let ids = path.iter().filter_map(|folder| folder.get("id")?.as_str());
        return Place::Path(ids.chain(own).map(str::to_owned).collect());
    }
    let folder = match (text("/type"), text("/item/type")) {
        (_, Some("folder")) => text("/item/id"),
        (Some("file"), _) => text("/parent/id"),
        // One that was deleted has no path any more, but its parent may.
        (Some("folder"), _) => text("/parent/id").or(own),
        _ => None,
    };
    folder.map_or(Place::Unsaid, |folder| Place::Folder(folder.to_owned()))
}
