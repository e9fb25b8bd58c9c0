//! Metadata instances on files and folders.

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    items::{Item, ROOT},
    patch,
    people::User,
    state::{State, Visit},
    view,
};

const MOST_INSTANCES: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct Instance {
    id: String,
    template_id: String,
    scope: String,
    template: String,
    version: u64,
    values: Map<String, Value>,
}

impl Instance {
    pub(super) fn json(&self, on: &Item) -> Value {
        let mut shown = self.values.clone();
        for (name, value) in [
            ("$id", json!(self.id)),
            (
                "$type",
                json!(format!("{}-{}", self.template, self.template_id)),
            ),
            ("$parent", json!(format!("{}_{}", on.type_name(), on.id))),
            ("$template", json!(self.template)),
            ("$scope", json!(self.scope)),
            ("$version", json!(self.version)),
            ("$typeVersion", json!(0)),
            ("$canEdit", json!(true)),
        ] {
            shown.insert(name.to_owned(), value);
        }
        shown.into()
    }
}

impl Instance {
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The same values as another instance.
    pub(super) fn copied(&self, id: String) -> Self {
        Self { id, ..self.clone() }
    }
}

/// Where an instance is: the item and the template.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) type_name: &'a str,
    pub(super) item: &'a str,
    pub(super) scope: &'a str,
    pub(super) key: &'a str,
}

/// `GET …/metadata`
pub(super) fn list(visit: &mut Visit<'_>, type_name: &str, id: &str) -> Outcome {
    let item = holder(visit.state, type_name, id)?;
    let entries: Vec<Value> = item
        .metadata
        .values()
        .map(|instance| instance.json(item))
        .collect();
    Ok(Answer::json(
        200,
        &json!({ "entries": entries, "limit": 100 }),
    ))
}

/// `GET …/metadata/{scope}/{key}`
pub(super) fn get(visit: &mut Visit<'_>, place: Place<'_>) -> Outcome {
    let item = holder(visit.state, place.type_name, place.item)?;
    let instance = item.metadata.get(&visit.state.slot(place));
    let instance = instance.ok_or_else(|| visit.state.not_applied(place))?;
    Ok(Answer::json(
        visit.state.config.metadata_get_status,
        &instance.json(item),
    ))
}

/// `POST …/metadata/{scope}/{key}`
pub(super) fn create(visit: &mut Visit<'_>, place: Place<'_>) -> Outcome {
    let body = visit.json()?;
    let values = body
        .as_object()
        .ok_or_else(|| Refused::metadata(400, "bad_request", "the body is not an object"))?;
    let actor = visit.actor.clone();
    visit.state.apply_metadata(&actor, place, values)?;
    show(visit, 201, place)
}

/// `PUT …/metadata/{scope}/{key}`
pub(super) fn update(visit: &mut Visit<'_>, place: Place<'_>) -> Outcome {
    holder(visit.state, place.type_name, place.item)?;
    if visit.head.content_type().as_deref() != Some("application/json-patch+json") {
        let message = "Content-Type must be application/json-patch+json";
        return Err(Refused::metadata(415, "unsupported_media_type", message));
    }
    let patch = visit.json()?;
    let actor = visit.actor.clone();
    visit.state.patch_metadata(&actor, place, &patch)?;
    show(visit, 200, place)
}

/// `DELETE …/metadata/{scope}/{key}`
pub(super) fn delete(visit: &mut Visit<'_>, place: Place<'_>) -> Outcome {
    holder(visit.state, place.type_name, place.item)?;
    let slot = visit.state.slot(place);
    let item = visit.state.tree.live_mut(place.type_name, place.item)?;
    if item.metadata.remove(&slot).is_none() {
        return Err(visit.state.not_applied(place));
    }
    let actor = visit.actor.clone();
    visit
        .state
        .tell_metadata("METADATA_INSTANCE.DELETED", &actor, place.item);
    Ok(Answer::empty(204))
}

impl State {
    pub(super) fn apply_metadata(
        &mut self,
        actor: &User,
        place: Place<'_>,
        values: &Map<String, Value>,
    ) -> Result<(), Refused> {
        let item = holder(self, place.type_name, place.item)?;
        let template = self.template(place.scope, place.key)?.clone();
        template.check(values)?;
        let slot = self.slot(place);
        if item.metadata.contains_key(&slot) {
            let message = "tuple already exists";
            return Err(Refused::metadata(409, "tuple_already_exists", message));
        }
        if item.metadata.len() >= MOST_INSTANCES {
            return Err(Refused::metadata(
                400,
                "bad_request",
                "too many instances on the item",
            ));
        }
        let instance = Instance {
            id: self.ids.uuid(),
            template_id: template.id().to_owned(),
            scope: template.scope,
            template: template.key,
            version: 0,
            values: values.clone(),
        };
        self.tree
            .live_mut(place.type_name, place.item)?
            .metadata
            .insert(slot, instance);
        self.tell_metadata("METADATA_INSTANCE.CREATED", actor, place.item);
        Ok(())
    }

    pub(super) fn patch_metadata(
        &mut self,
        actor: &User,
        place: Place<'_>,
        patch: &Value,
    ) -> Result<(), Refused> {
        let item = holder(self, place.type_name, place.item)?;
        let slot = self.slot(place);
        let instance = item
            .metadata
            .get(&slot)
            .ok_or_else(|| self.not_applied(place))?;
        let values = patch::apply(&instance.values, patch)?;
        self.template(place.scope, place.key)?.check(&values)?;
        if values == instance.values {
            return Ok(());
        }
        let item = self.tree.live_mut(place.type_name, place.item)?;
        if let Some(instance) = item.metadata.get_mut(&slot) {
            instance.values = values;
            instance.version += 1;
        }
        self.tell_metadata("METADATA_INSTANCE.UPDATED", actor, place.item);
        Ok(())
    }

    fn slot(&self, place: Place<'_>) -> (String, String) {
        (self.full_scope(place.scope), place.key.to_owned())
    }

    fn not_applied(&self, place: Place<'_>) -> Refused {
        let message = format!(
            "instance of '{}.{}' not found on {} {}",
            place.scope, place.key, place.type_name, place.item
        );
        Refused::metadata(404, self.config.missing_instance_code, message)
    }

    fn tell_metadata(&mut self, trigger: &str, actor: &User, id: &str) {
        let Some(item) = self.tree.get(id) else {
            return;
        };
        let source = view::standard(&self.tree, item);
        let watched = self.tree.chain(id);
        self.raise(&watched, trigger, actor, &source, &Value::Null);
    }
}

/// The item, which the root folder cannot be.
fn holder<'a>(state: &'a State, type_name: &str, id: &str) -> Result<&'a Item, Refused> {
    if type_name == "folder" && id == ROOT {
        let message = "metadata is not allowed on the root folder";
        return Err(Refused::metadata(405, "method_not_allowed", message));
    }
    state.tree.live(type_name, id)
}

fn show(visit: &Visit<'_>, status: u16, place: Place<'_>) -> Outcome {
    let item = visit.state.tree.live(place.type_name, place.item)?;
    let instance = item.metadata.get(&visit.state.slot(place));
    let instance = instance.ok_or_else(|| visit.state.not_applied(place))?;
    Ok(Answer::json(status, &instance.json(item)))
}
