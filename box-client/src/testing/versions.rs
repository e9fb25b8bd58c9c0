//! The versions of a file, and where new ones come from.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    items::{File, Item, Kind, Stored, Version},
    listing::number,
    locks::may_write,
    names,
    people::User,
    state::{State, Visit, text},
    view::{self, Fields},
};

/// When the file's content was made, according to its uploader.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ContentTimes {
    pub(super) created_at: Option<Timestamp>,
    pub(super) modified_at: Option<Timestamp>,
}

/// `GET /files/{id}/versions`: past versions only, the newest first.
pub(super) fn list(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let limit = number(visit.head, "limit", 1000, 1000)?;
    let offset = number(visit.head, "offset", 0, u64::MAX)?;
    let (_, file) = visit.state.tree.file(id)?;
    let fields = visit.fields();
    let page = file
        .past
        .iter()
        .rev()
        .skip(offset as usize)
        .take(limit as usize);
    let entries: Vec<Value> = page
        .map(|version| view::version(version, &fields))
        .collect();
    let body = json!({
        "total_count": file.past.len(),
        "entries": entries,
        "limit": limit,
        "offset": offset,
    });
    Ok(Answer::json(200, &body))
}

/// `POST /files/{id}/versions/current`: a copy of an old version becomes the current one.
pub(super) fn promote(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let wanted = text(&body, "/id").ok_or_else(|| Refused::missing("id"))?;
    let (item, file) = visit.state.tree.file(id)?;
    may_write(item, &visit.actor)?;
    let old = file.past.iter().find(|version| version.id == wanted);
    let old = old
        .ok_or_else(|| Refused::not_found("file_version", wanted))?
        .stored
        .clone();
    let actor = visit.actor.clone();
    visit.state.replace_content(&actor, id, old)?;
    let (_, file) = visit.state.tree.file(id)?;
    Ok(Answer::json(
        201,
        &view::version(&file.current, &visit.fields()),
    ))
}

/// `GET /files/{id}/versions/{version_id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str, version: &str) -> Outcome {
    let (_, file) = visit.state.tree.file(id)?;
    let found = file.version(version);
    let found = found.ok_or_else(|| Refused::not_found("file_version", version))?;
    Ok(Answer::json(200, &view::version(found, &visit.fields())))
}

/// `PUT /files/{id}/versions/{version_id}`: out of the trash.
pub(super) fn restore(visit: &mut Visit<'_>, id: &str, version: &str) -> Outcome {
    if visit.json()?.get("trashed_at") != Some(&Value::Null) {
        return Err(Refused::parameter("trashed_at", "must be null"));
    }
    let file = visit.state.tree.file_mut(id)?;
    let found = file.deleted.iter().position(|gone| gone.id == version);
    let found = found.ok_or_else(|| Refused::not_found("file_version", version))?;
    let restored = file.deleted.remove(found);
    let shown = view::version(&restored, &Fields::STANDARD);
    let later = |past: &Version| past.number > restored.number;
    let at = file.past.iter().position(later).unwrap_or(file.past.len());
    file.past.insert(at, restored);
    Ok(Answer::json(200, &shown))
}

/// `DELETE /files/{id}/versions/{version_id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str, version: &str) -> Outcome {
    let item = visit.state.tree.live("file", id)?;
    item.require(visit.if_match())?;
    may_write(item, &visit.actor)?;
    visit.state.delete_version(id, version)?;
    Ok(Answer::empty(204))
}

impl State {
    pub(super) fn add_file(
        &mut self,
        actor: &User,
        folder: &str,
        name: &str,
        stored: Stored,
        times: ContentTimes,
    ) -> Result<(String, Vec<String>), Refused> {
        self.check_new_name(folder, name, false)?;
        let now = Timestamp::now();
        let current = Version {
            id: self.ids.version(),
            number: 1,
            name: name.to_owned(),
            stored,
            created_at: now,
            modified_at: now,
            modified_by: actor.clone(),
        };
        let settling = self.config.not_ready_once;
        let file = File {
            current,
            past: Vec::new(),
            deleted: Vec::new(),
            lock: None,
            settling,
        };
        let mut item = Item::new(
            self.ids.file(),
            name,
            folder,
            actor,
            Kind::File(Box::new(file)),
        );
        item.set_times(times);
        let id = item.id.clone();
        self.tree.insert(item);
        let events = self.tell_uploaded(actor, &id);
        Ok((id, events))
    }

    /// A new version, which webhooks are told of as of any upload.
    pub(super) fn add_version(
        &mut self,
        actor: &User,
        id: &str,
        new_name: Option<&str>,
        stored: Stored,
        times: ContentTimes,
    ) -> Result<Vec<String>, Refused> {
        let item = self.tree.live("file", id)?;
        may_write(item, actor)?;
        let parent = item.parent.clone().unwrap_or_default();
        if let Some(name) = new_name.filter(|name| *name != item.name) {
            names::check(name)?;
            if let Some(other) = self
                .tree
                .named(&parent, name)
                .filter(|other| other.id != id)
            {
                return Err(self.name_in_use(other, false));
            }
            self.tree.place(id, &parent, name);
        }
        self.replace_content(actor, id, stored)?;
        self.tree.live_mut("file", id)?.set_times(times);
        Ok(self.tell_uploaded(actor, id))
    }

    /// The current version goes to the past.
    fn replace_content(&mut self, actor: &User, id: &str, stored: Stored) -> Result<(), Refused> {
        let (version_id, settling) = (self.ids.version(), self.config.not_ready_once);
        let now = Timestamp::now();
        let item = self.tree.live_mut("file", id)?;
        item.touch(actor);
        let name = item.name.clone();
        let file = self.tree.file_mut(id)?;
        let next = Version {
            id: version_id,
            number: file.current.number + 1,
            name,
            stored,
            created_at: now,
            modified_at: now,
            modified_by: actor.clone(),
        };
        file.past.push(std::mem::replace(&mut file.current, next));
        file.settling = settling;
        Ok(())
    }

    /// Only past versions can go.
    pub(super) fn delete_version(&mut self, id: &str, version: &str) -> Result<(), Refused> {
        let file = self.tree.file_mut(id)?;
        if file.current.id == version {
            let message = "The current version cannot be deleted";
            return Err(Refused::new(403, "forbidden", message));
        }
        let found = file.past.iter().position(|past| past.id == version);
        let gone = file
            .past
            .remove(found.ok_or_else(|| Refused::not_found("file_version", version))?);
        file.deleted.push(gone);
        Ok(())
    }

    /// Whether something new may have the name there.
    pub(super) fn check_new_name(
        &self,
        folder: &str,
        name: &str,
        conflicts_as_list: bool,
    ) -> Result<(), Refused> {
        self.tree.live("folder", folder)?;
        names::check(name)?;
        match self.tree.named(folder, name) {
            Some(other) => Err(self.name_in_use(other, conflicts_as_list)),
            None => Ok(()),
        }
    }

    fn tell_uploaded(&mut self, actor: &User, id: &str) -> Vec<String> {
        let chain = self.tree.chain(id);
        self.tell_item(&chain, "FILE.UPLOADED", actor, id, &Value::Null)
    }
}

impl File {
    pub(super) fn version(&self, id: &str) -> Option<&Version> {
        self.past
            .iter()
            .chain([&self.current])
            .find(|version| version.id == id)
    }
}

impl Item {
    fn set_times(&mut self, times: ContentTimes) {
        self.content_created_at = times.created_at.unwrap_or(self.content_created_at);
        self.content_modified_at = times.modified_at.unwrap_or_else(Timestamp::now);
    }
}
