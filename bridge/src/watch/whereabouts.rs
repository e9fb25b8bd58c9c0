//! Whether an event lies below a watched folder.

use std::{collections::HashMap, sync::PoisonError, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::{error::WatchError, port::Happening, service::Watch};
use crate::{port_error::PortErrorKind, rules::one_spelling};

/// Folders are moved now and then.
const REMEMBER: Duration = Duration::from_secs(600);
const MOST_REMEMBERED: usize = 10_000;

/// The folders above an item, and itself where it is one, as they were read.
pub(super) type Paths = HashMap<(Kind, String), (Instant, Vec<String>)>;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Kind {
    File,
    Folder,
}

/// Where an event happened.
#[derive(Debug, Default)]
struct Place {
    /// As far as the event itself says.
    ids: Vec<String>,
    /// What has to be asked for the rest.
    ask: Option<(Kind, String)>,
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
        let Place { mut ids, ask } = place(&event.source);
        let is_watched = |id: &String| self.options.folders.contains(id);
        let mut is_whole = !ids.is_empty();
        if let Some((kind, id)) = ask
            && !ids.iter().any(is_watched)
        {
            match self.path(kind, &id).await? {
                Some(path) => {
                    ids.extend(path);
                    is_whole = true;
                }
                None => is_whole = false,
            }
        }
        ids.retain(is_watched);
        // Whoever works on the event finds out where it is.
        Ok((!ids.is_empty() || !is_whole).then_some(ids))
    }

    /// A stream of a whole enterprise tells of far more than we watch, so what was asked for is
    /// remembered. `None` without a side to ask.
    pub(super) async fn path(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Vec<String>>, WatchError> {
        let Some((content, _)) = &self.mappings else {
            return Ok(None);
        };
        let paths = || self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, id.to_owned());
        let known = paths().get(&key).cloned();
        if let Some((read, path)) = known
            && read.elapsed() < REMEMBER
        {
            return Ok(Some(path));
        }
        let read = match kind {
            Kind::File => content.file(id).await.map(|file| file.folders),
            Kind::Folder => content.folder(id).await.map(|folder| folder.with_itself()),
        };
        let path: Vec<_> = match read {
            Ok(path) => path.into_iter().map(|folder| folder.id).collect(),
            // Nobody shows us what lies there, and no webhook of ours did.
            Err(error) if error.kind() == PortErrorKind::Gone => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut paths = paths();
        if paths.len() >= MOST_REMEMBERED {
            paths.clear();
        }
        paths.insert(key, (Instant::now(), path.clone()));
        Ok(Some(path))
    }
}

fn place(source: &Value) -> Place {
    let own = |value: &Value| value.get("id")?.as_str().map(str::to_owned);
    let path = source.pointer("/path_collection/entries");
    if let Some(path) = path.and_then(Value::as_array) {
        let ids = path.iter().filter_map(own).chain(own(source)).collect();
        return Place { ids, ask: None };
    }
    // A comment or the like hangs on what lies somewhere.
    let item = source.get("item").unwrap_or(source);
    let Some(id) = own(item) else {
        return Place::default();
    };
    let parent = item.get("parent").and_then(own);
    match (item.get("type").and_then(Value::as_str), parent) {
        // What is deleted cannot be asked for, but where it was can.
        (Some("folder"), Some(parent)) => Place {
            ids: vec![id],
            ask: Some((Kind::Folder, parent)),
        },
        (Some("file"), Some(parent)) => Place {
            ids: Vec::new(),
            ask: Some((Kind::Folder, parent)),
        },
        (Some("folder"), None) => Place {
            ids: Vec::new(),
            ask: Some((Kind::Folder, id)),
        },
        (Some("file"), None) => Place {
            ids: Vec::new(),
            ask: Some((Kind::File, id)),
        },
        _ => Place::default(),
    }
}
