//! Changes to metadata templates, and their lists.

use serde_json::Value;

use super::{
    answer::{Answer, Outcome, Refused},
    ids::Ids,
    pages,
    state::{Visit, text},
    templates::{Field, Template},
};

/// `GET /metadata_templates/enterprise` and `…/global`
pub(super) fn list(visit: &mut Visit<'_>, scope: &str) -> Outcome {
    let scope = visit.state.full_scope(scope);
    let templates = visit.state.templates.iter();
    let all: Vec<Value> = templates
        .filter(|template| template.scope == scope)
        .map(Template::json)
        .collect();
    pages::by_marker(visit.head, &all, 100, 1000)
}

/// `GET /metadata_templates/{id}`
pub(super) fn by_id(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let found = visit.state.templates.iter().find(|it| it.id() == id);
    let found = found.ok_or_else(|| Refused::metadata(404, "not_found", "no such template"))?;
    Ok(Answer::json(200, &found.json()))
}

/// `PUT /metadata_templates/{scope}/{key}/schema`
pub(super) fn update(visit: &mut Visit<'_>, scope: &str, key: &str) -> Outcome {
    if visit.head.content_type().as_deref() != Some("application/json-patch+json") {
        let message = "Content-Type must be application/json-patch+json";
        return Err(Refused::metadata(415, "unsupported_media_type", message));
    }
    let body = visit.json()?;
    let changes = body
        .as_array()
        .ok_or_else(|| invalid("an array of operations"))?;
    let state = &mut *visit.state;
    let mut template = state.template(scope, key)?.clone();
    if template.scope != state.scope() {
        let message = "only templates of the own enterprise can be changed";
        return Err(Refused::metadata(403, "forbidden", message));
    }
    for change in changes {
        let op = text(change, "/op").ok_or_else(|| invalid("op"))?;
        template.change(op, change, &mut state.ids)?;
    }
    let shown = template.json();
    let mut templates = state.templates.iter_mut();
    if let Some(known) = templates.find(|it| it.id() == template.id()) {
        *known = template;
    }
    Ok(Answer::json(200, &shown))
}

/// `DELETE /metadata_templates/{scope}/{key}/schema`: its values go with it.
pub(super) fn delete(visit: &mut Visit<'_>, scope: &str, key: &str) -> Outcome {
    let state = &mut *visit.state;
    let template = state.template(scope, key)?;
    let (id, slot) = (
        template.id().to_owned(),
        (template.scope.clone(), template.key.clone()),
    );
    if slot.0 != state.scope() {
        let message = "only templates of the own enterprise can be deleted";
        return Err(Refused::metadata(403, "forbidden", message));
    }
    state.templates.retain(|template| template.id() != id);
    let items: Vec<(String, &'static str)> = state
        .tree
        .all()
        .filter(|item| item.metadata.contains_key(&slot))
        .map(|item| (item.id.clone(), item.type_name()))
        .collect();
    for (id, type_name) in items {
        // What is in the trash has lost it as well: nobody can look.
        if let Ok(item) = state.tree.live_mut(type_name, &id) {
            item.metadata.remove(&slot);
        }
    }
    Ok(Answer::empty(204))
}

impl Template {
    /// One change of a template's update.
    fn change(&mut self, op: &str, change: &Value, ids: &mut Ids) -> Result<(), Refused> {
        let data = &change["data"];
        if op == "editTemplate" {
            if let Some(name) = text(data, "/displayName") {
                name.clone_into(&mut self.display_name);
            }
            self.hidden = data["hidden"].as_bool().unwrap_or(self.hidden);
            return Ok(());
        }
        let fields = self.fields.get_or_insert_default();
        if op == "addField" {
            let field = Field::read(data, ids)?;
            if fields.iter().any(|known| known.key == field.key) {
                return Err(invalid("data.key"));
            }
            fields.push(field);
            return Ok(());
        }
        if op == "reorderFields" {
            let keys: Vec<&str> = change["fieldKeys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let place = |field: &Field| keys.iter().position(|key| *key == field.key);
            if keys.len() != fields.len() || fields.iter().any(|it| place(it).is_none()) {
                return Err(invalid("fieldKeys"));
            }
            fields.sort_by_key(place);
            return Ok(());
        }
        let key = text(change, "/fieldKey").ok_or_else(|| invalid("fieldKey"))?;
        let place = fields.iter().position(|field| field.key == key);
        let place = place.ok_or_else(|| invalid("fieldKey"))?;
        if op == "removeField" {
            fields.remove(place);
            return Ok(());
        }
        fields[place].change(op, change)
    }
}

impl Field {
    fn change(&mut self, op: &str, change: &Value) -> Result<(), Refused> {
        let data = |name: &str| text(&change["data"], name).map(str::to_owned);
        let (kind, option) = match op {
            "editField" => {
                self.display_name = data("/displayName").unwrap_or(self.display_name.clone());
                self.key = data("/key").unwrap_or(self.key.clone());
                return Ok(());
            }
            "addEnumOption" | "editEnumOption" | "removeEnumOption" => ("enum", "enumOptionKey"),
            "addMultiSelectOption" | "editMultiSelectOption" | "removeMultiSelectOption" => {
                ("multiSelect", "multiSelectOptionKey")
            }
            _ => return Err(invalid("op")),
        };
        if self.type_name != kind {
            return Err(invalid("fieldKey"));
        }
        let old = text(change, &format!("/{option}"));
        let place = self.options.iter().position(|it| Some(it.as_str()) == old);
        let new = data("/key").filter(|key| !self.options.contains(key));
        match (&op[..3], place, new) {
            ("add", _, Some(new)) => self.options.push(new),
            ("edi", Some(place), Some(new)) => self.options[place] = new,
            ("rem", Some(place), _) => {
                self.options.remove(place);
            }
            _ => return Err(invalid("data.key")),
        }
        Ok(())
    }
}

fn invalid(name: &str) -> Refused {
    Refused::metadata(
        400,
        "bad_request",
        format!("'{name}' is missing or invalid"),
    )
}
