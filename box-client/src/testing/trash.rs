//! The trash, and copies.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    items::{File, Item, Kind, ROOT},
    listing,
    people::User,
    state::{State, Visit, text},
};

/// `GET /files/{id}/trash` and `GET /folders/{id}/trash`
pub(super) fn get(visit: &mut Visit<'_>, type_name: &str, id: &str) -> Outcome {
    visit.state.tree.trashed(type_name, id)?;
    visit.show(200, id)
}

/// `DELETE /files/{id}/trash` and `DELETE /folders/{id}/trash`
pub(super) fn purge(visit: &mut Visit<'_>, type_name: &str, id: &str) -> Outcome {
    visit.state.tree.trashed(type_name, id)?;
    visit.state.tree.purge(id);
    Ok(Answer::empty(204))
}

/// `GET /folders/trash/items`
pub(super) fn items(visit: &mut Visit<'_>) -> Outcome {
    Ok(Answer::json(
        200,
        &listing::trash(&visit.state.tree, visit.head)?,
    ))
}

/// `POST /files/{id}` and `POST /folders/{id}`
pub(super) fn restore(visit: &mut Visit<'_>, type_name: &str, id: &str) -> Outcome {
    let body = if visit.has_body() {
        visit.json()?
    } else {
        json!({})
    };
    let item = visit.state.tree.trashed(type_name, id)?;
    let (old_name, old_parent) = (item.name.clone(), item.parent.clone().unwrap_or_default());
    // The new name and place are for when the old ones are gone.
    let parent = match visit.state.tree.live("folder", &old_parent) {
        Ok(_) => old_parent,
        Err(gone) => text(&body, "/parent/id").ok_or(gone)?.to_owned(),
    };
    let is_taken = visit.state.tree.named(&parent, &old_name).is_some();
    let name = match text(&body, "/name").filter(|_| is_taken) {
        Some(name) => name.to_owned(),
        None => old_name,
    };
    visit
        .state
        .check_new_name(&parent, &name, type_name == "folder")?;
    let actor = visit.actor.clone();
    visit.state.tree.restore(id, &parent, &name);
    let chain = visit.state.tree.chain(id);
    let trigger = format!("{}.RESTORED", type_name.to_uppercase());
    visit
        .state
        .tell_item(&chain, &trigger, &actor, id, &Value::Null);
    visit.show(201, id)
}

/// `POST /files/{id}/copy` and `POST /folders/{id}/copy`
pub(super) fn copy(visit: &mut Visit<'_>, type_name: &str, id: &str) -> Outcome {
    let body = visit.json()?;
    let parent = text(&body, "/parent/id").ok_or_else(|| Refused::missing("parent.id"))?;
    let item = visit.state.tree.live(type_name, id)?;
    if id == ROOT {
        let code = "access_denied_insufficient_permissions";
        return Err(Refused::new(
            403,
            code,
            "Access denied - insufficient permission",
        ));
    }
    let name = text(&body, "/name").unwrap_or(&item.name).to_owned();
    let version = match (text(&body, "/version"), item.as_file()) {
        (Some(wanted), Some(file)) => {
            let known = file.version(wanted);
            let known = known.ok_or_else(|| Refused::not_found("file_version", wanted))?;
            Some(known.stored.clone())
        }
        _ => None,
    };
    visit
        .state
        .check_new_name(parent, &name, type_name == "folder")?;
    if visit
        .state
        .tree
        .chain(parent)
        .iter()
        .any(|ancestor| ancestor == id)
    {
        let message = "Folder cannot be copied into itself";
        return Err(Refused::new(400, "cyclical_folder_structure", message));
    }
    let actor = visit.actor.clone();
    let made = visit.state.copy(&actor, id, parent, &name);
    if let (Some(stored), Ok(file)) = (version, visit.state.tree.file_mut(&made)) {
        file.current.stored = stored;
    }
    let chain = visit.state.tree.chain(&made);
    let trigger = format!("{}.COPIED", type_name.to_uppercase());
    visit
        .state
        .tell_item(&chain, &trigger, &actor, &made, &Value::Null);
    if type_name == "file" {
        visit
            .state
            .tell_item(&chain, "FILE.UPLOADED", &actor, &made, &Value::Null);
    }
    visit.show(201, &made)
}

impl State {
    /// With all that is in it. The caller has made sure that the name is free.
    fn copy(&mut self, actor: &User, id: &str, parent: &str, name: &str) -> String {
        let Some(item) = self.tree.get(id).cloned() else {
            return String::new();
        };
        let (new_id, kind) = match &item.kind {
            Kind::Folder(_) => (self.ids.folder(), Kind::Folder(Default::default())),
            Kind::File(file) => {
                let mut current = file.current.clone();
                current.id = self.ids.version();
                current.number = 1;
                name.clone_into(&mut current.name);
                let file = File {
                    current,
                    past: Vec::new(),
                    deleted: Vec::new(),
                    lock: None,
                    settling: false,
                };
                (self.ids.file(), Kind::File(Box::new(file)))
            }
        };
        let mut made = Item::new(new_id, name, parent, actor, kind);
        made.description.clone_from(&item.description);
        let made_id = made.id.clone();
        self.tree.insert(made);
        for child in self.tree.children(id) {
            if let Some(name) = self.tree.get(&child).map(|child| child.name.clone()) {
                self.copy(actor, &child, &made_id, &name);
            }
        }
        made_id
    }
}
