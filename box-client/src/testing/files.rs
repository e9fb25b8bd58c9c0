//! Files: what is known of them, renaming, moving, locking, the trash.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    items::{Item, Kind},
    locks::{Lock, Wish, may_write},
    names,
    people::User,
    shared_links,
    state::{State, Visit, text},
    view,
};

const LONGEST_DESCRIPTION: usize = 256;

/// What a caller changes of a file or folder.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) name: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) description: Option<String>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) lock: Option<Wish>,
    pub(super) shared_link: Option<shared_links::Wish>,
    pub(super) disposition_at: Option<Timestamp>,
}

impl Changes {
    pub(super) fn read(body: &Value) -> Result<Self, Refused> {
        let description = text(body, "/description").map(str::to_owned);
        if description
            .as_ref()
            .is_some_and(|text| text.chars().count() > LONGEST_DESCRIPTION)
        {
            return Err(Refused::parameter("description", "at most 256 characters"));
        }
        let tags = body.get("tags").and_then(Value::as_array).map(|tags| {
            tags.iter()
                .filter_map(|tag| tag.as_str().map(str::to_owned))
                .collect()
        });
        Ok(Self {
            name: text(body, "/name").map(str::to_owned),
            parent: text(body, "/parent/id").map(str::to_owned),
            description,
            tags,
            lock: body.get("lock").map(Wish::read).transpose()?,
            shared_link: body
                .get("shared_link")
                .map(shared_links::Wish::read)
                .transpose()?,
            disposition_at: match text(body, "/disposition_at") {
                Some(at) => Some(
                    at.parse()
                        .map_err(|_| Refused::parameter("disposition_at", "not a date-time"))?,
                ),
                None => None,
            },
        })
    }
}

/// `GET /files/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    visit.state.tree.file(id)?;
    visit.show(200, id)
}

/// `PUT /files/{id}`
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let changes = Changes::read(&visit.json()?)?;
    visit
        .state
        .tree
        .live("file", id)?
        .require(visit.if_match())?;
    let actor = visit.actor.clone();
    visit.state.change(&actor, "file", id, &changes)?;
    visit.show(200, id)
}

/// `DELETE /files/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    visit
        .state
        .tree
        .live("file", id)?
        .require(visit.if_match())?;
    let actor = visit.actor.clone();
    visit.state.trash_file(&actor, id)?;
    Ok(Answer::empty(204))
}

impl State {
    /// All of the changes or none.
    pub(super) fn change(
        &mut self,
        actor: &User,
        type_name: &str,
        id: &str,
        changes: &Changes,
    ) -> Result<(), Refused> {
        let item = self.tree.live(type_name, id)?;
        may_write(item, actor)?;
        let old_name = item.name.clone();
        let old_parent = item.parent.clone().unwrap_or_default();
        let name = changes.name.clone().unwrap_or_else(|| old_name.clone());
        let parent = changes.parent.clone().unwrap_or_else(|| old_parent.clone());
        if name != old_name {
            names::check(&name)?;
        }
        self.tree.live("folder", &parent)?;
        if self
            .tree
            .chain(&parent)
            .iter()
            .any(|ancestor| ancestor == id)
        {
            let message = "Folder cannot be moved into itself";
            return Err(Refused::new(400, "cyclical_folder_structure", message));
        }
        if let Some(other) = self
            .tree
            .named(&parent, &name)
            .filter(|other| other.id != id)
        {
            return Err(self.name_in_use(other, type_name == "folder"));
        }

        let old_chain = self.tree.chain(id);
        self.tree.place(id, &parent, &name);
        let item = self.tree.live_mut(type_name, id)?;
        if let Some(description) = &changes.description {
            item.description.clone_from(description);
        }
        if let Some(tags) = &changes.tags {
            item.tags.clone_from(tags);
        }
        item.disposition_at = changes.disposition_at.or(item.disposition_at);
        item.touch(actor);
        let kind = type_name.to_uppercase();
        if name != old_name {
            let info = json!({ "old_name": old_name });
            self.tell_item(&old_chain, &format!("{kind}.RENAMED"), actor, id, &info);
        }
        if parent != old_parent {
            self.tell_moved(&old_chain, &kind, actor, id, [&old_parent, &parent]);
        }
        if let Some(wish) = &changes.shared_link {
            self.set_link(type_name, id, wish)?;
        }
        match changes.lock {
            Some(wish) => self.set_lock(actor, id, wish),
            None => Ok(()),
        }
    }

    pub(super) fn set_lock(&mut self, actor: &User, id: &str, wish: Wish) -> Result<(), Refused> {
        may_write(self.tree.live("file", id)?, actor)?;
        let lock_id = self.ids.lock();
        let file = self.tree.file_mut(id)?;
        let was_locked = file.lock().is_some();
        let trigger = match wish {
            Wish::Lock {
                expires_at,
                prevents_download,
            } => {
                file.lock = Some(Lock {
                    id: lock_id,
                    created_by: actor.clone(),
                    created_at: Timestamp::now(),
                    expires_at,
                    prevents_download,
                });
                "FILE.LOCKED"
            }
            Wish::Unlock => {
                file.lock = None;
                if !was_locked {
                    return Ok(());
                }
                "FILE.UNLOCKED"
            }
        };
        let chain = self.tree.chain(id);
        self.tell_item(&chain, trigger, actor, id, &Value::Null);
        Ok(())
    }

    pub(super) fn trash_file(&mut self, actor: &User, id: &str) -> Result<Vec<String>, Refused> {
        may_write(self.tree.live("file", id)?, actor)?;
        Ok(self.trash(actor, "FILE.TRASHED", id))
    }

    /// Box says of what is trashed nothing but its id and type.
    pub(super) fn trash(&mut self, actor: &User, trigger: &str, id: &str) -> Vec<String> {
        let chain = self.tree.chain(id);
        let type_name = self.tree.get(id).map_or("file", Item::type_name);
        self.tree.trash(id);
        let source = json!({ "id": id, "type": type_name });
        self.raise(&chain, trigger, actor, &source, &Value::Null)
    }

    /// Tells of something that happened to the item, with all that is known of it.
    pub(super) fn tell_item(
        &mut self,
        watched: &[String],
        trigger: &str,
        actor: &User,
        id: &str,
        info: &Value,
    ) -> Vec<String> {
        let Some(item) = self.tree.get(id) else {
            return Vec::new();
        };
        let source = view::standard(&self.tree, item);
        self.raise(watched, trigger, actor, &source, info)
    }

    /// Uploads name one file that is in the way, new folders a list.
    pub(super) fn name_in_use(&self, other: &Item, as_list: bool) -> Refused {
        let shown = view::mini(&self.tree, other);
        let conflicts = if as_list { json!([shown]) } else { shown };
        Refused::new(
            409,
            "item_name_in_use",
            "Item with the same name already exists",
        )
        .context(json!({ "conflicts": conflicts }))
    }

    /// The watchers of the old and of the new place hear of the move. To those that did not
    /// watch over the file before, it is uploaded as well, as the guide defines that trigger.
    fn tell_moved(
        &mut self,
        old_chain: &[String],
        kind: &str,
        actor: &User,
        id: &str,
        [before, after]: [&str; 2],
    ) {
        let new_chain = self.tree.chain(id);
        let entered: Vec<String> = new_chain
            .iter()
            .filter(|ancestor| !old_chain.contains(ancestor))
            .cloned()
            .collect();
        let mut watched = new_chain;
        watched.extend(old_chain.iter().cloned());
        let info = json!({
            "after": { "id": after, "type": "folder" },
            "before": { "id": before, "type": "folder" },
        });
        self.tell_item(&watched, &format!("{kind}.MOVED"), actor, id, &info);
        let is_file = matches!(
            self.tree.get(id).map(|item| &item.kind),
            Some(Kind::File(_))
        );
        if is_file {
            let source = self
                .tree
                .get(id)
                .map(|item| view::standard(&self.tree, item));
            let source = source.unwrap_or_default();
            self.tell_webhooks(&entered, "FILE.UPLOADED", actor, &source, &Value::Null);
        }
    }
}
