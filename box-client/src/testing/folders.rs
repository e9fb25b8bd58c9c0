//! Folders.

use serde_json::Value;

use super::{
    answer::{Answer, Outcome, Refused},
    files::Changes,
    items::{Item, Kind, ROOT},
    listing,
    people::User,
    state::{State, Visit, text},
};

/// `POST /folders`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let name = text(&body, "/name").ok_or_else(|| Refused::missing("name"))?;
    let parent = text(&body, "/parent/id").ok_or_else(|| Refused::missing("parent.id"))?;
    let actor = visit.actor.clone();
    let id = visit.state.add_folder(&actor, parent, name)?;
    visit.show(201, &id)
}

/// `GET /folders/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    visit.state.tree.live("folder", id)?;
    visit.show(200, id)
}

/// `PUT /folders/{id}`
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let changes = Changes::read(&visit.json()?)?;
    not_root(id)?;
    visit
        .state
        .tree
        .live("folder", id)?
        .require(visit.if_match())?;
    let actor = visit.actor.clone();
    visit.state.change(&actor, "folder", id, &changes)?;
    visit.show(200, id)
}

/// `DELETE /folders/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    not_root(id)?;
    visit
        .state
        .tree
        .live("folder", id)?
        .require(visit.if_match())?;
    let recursive = visit.head.query("recursive") == Some("true");
    if !recursive && !visit.state.tree.children(id).is_empty() {
        let message = "Cannot delete - folder not empty";
        return Err(Refused::new(400, "folder_not_empty", message));
    }
    let actor = visit.actor.clone();
    visit.state.trash(&actor, "FOLDER.TRASHED", id);
    Ok(Answer::empty(204))
}

/// `GET /folders/{id}/items`
pub(super) fn items(visit: &mut Visit<'_>, id: &str) -> Outcome {
    visit.state.tree.live("folder", id)?;
    Ok(Answer::json(
        200,
        &listing::items(&visit.state.tree, id, visit.head)?,
    ))
}

impl State {
    pub(super) fn add_folder(
        &mut self,
        actor: &User,
        parent: &str,
        name: &str,
    ) -> Result<String, Refused> {
        self.check_new_name(parent, name, true)?;
        let kind = Kind::Folder(Default::default());
        let item = Item::new(self.ids.folder(), name, parent, actor, kind);
        let id = item.id.clone();
        self.tree.insert(item);
        let chain = self.tree.chain(&id);
        self.tell_item(&chain, "FOLDER.CREATED", actor, &id, &Value::Null);
        Ok(id)
    }
}

fn not_root(id: &str) -> Result<(), Refused> {
    if id != ROOT {
        return Ok(());
    }
    let code = "access_denied_insufficient_permissions";
    Err(Refused::new(
        403,
        code,
        "Access denied - insufficient permission",
    ))
}
