//! Cascade policies. What lies in the folder gets the values at once when a policy is applied,
//! and new items get none.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    items::ROOT,
    pages,
    state::{State, Visit, text},
};

pub(super) type Policies = BTreeMap<String, Policy>;

#[derive(Clone, Debug)]
pub(super) struct Policy {
    id: String,
    folder: String,
    scope: String,
    template: String,
}

impl Policy {
    pub(super) fn json(&self, enterprise: &str) -> Value {
        json!({
            "type": "metadata_cascade_policy",
            "id": self.id,
            "owner_enterprise": { "type": "enterprise", "id": enterprise },
            "parent": { "type": "folder", "id": self.folder },
            "scope": self.scope,
            "templateKey": self.template,
        })
    }
}

/// `POST /metadata_cascade_policies`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let missing = |name: &str| Refused::metadata(400, "bad_request", format!("{name} is missing"));
    let member = |name: &str| text(&body, &format!("/{name}")).ok_or_else(|| missing(name));
    let (folder, template) = (member("folder_id")?, member("templateKey")?);
    let state = &mut *visit.state;
    let scope = state.full_scope(member("scope")?);
    if folder == ROOT {
        let message = "not on the root folder";
        return Err(Refused::metadata(403, "forbidden", message));
    }
    state.template(&scope, template)?;
    let slot = (scope.clone(), template.to_owned());
    if !state
        .tree
        .live("folder", folder)?
        .metadata
        .contains_key(&slot)
    {
        let message = "the template is not applied to the folder";
        return Err(Refused::metadata(404, "instance_not_found", message));
    }
    let same = |it: &Policy| it.folder == folder && it.scope == scope && it.template == template;
    if state.policies.values().any(same) {
        let message = "a policy for this folder and template is in place";
        return Err(Refused::metadata(409, "tuple_already_exists", message));
    }
    let policy = Policy {
        id: state.ids.uuid(),
        folder: folder.to_owned(),
        scope,
        template: template.to_owned(),
    };
    let shown = policy.json(&state.config.enterprise);
    state.policies.insert(policy.id.clone(), policy);
    Ok(Answer::json(201, &shown))
}

/// `GET /metadata_cascade_policies`
pub(super) fn list(visit: &mut Visit<'_>) -> Outcome {
    let folder = visit.head.query("folder_id");
    let folder =
        folder.ok_or_else(|| Refused::metadata(400, "bad_request", "folder_id is missing"))?;
    if folder == ROOT {
        return Err(Refused::metadata(
            403,
            "forbidden",
            "not on the root folder",
        ));
    }
    let state = &*visit.state;
    state.tree.live("folder", folder)?;
    let policies = state.policies.values().filter(|it| it.folder == folder);
    let all: Vec<Value> = policies
        .map(|it| it.json(&state.config.enterprise))
        .collect();
    pages::by_marker(visit.head, &all, 100, 100)
}

/// `GET /metadata_cascade_policies/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let policy = find(visit.state, id)?;
    Ok(Answer::json(
        200,
        &policy.json(&visit.state.config.enterprise),
    ))
}

/// `DELETE /metadata_cascade_policies/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    find(visit.state, id)?;
    visit.state.policies.remove(id);
    Ok(Answer::empty(204))
}

/// `POST /metadata_cascade_policies/{id}/apply`
pub(super) fn apply(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let overwrite = match text(&body, "/conflict_resolution") {
        Some("none") => false,
        Some("overwrite") => true,
        _ => {
            let message = "conflict_resolution is none or overwrite";
            return Err(Refused::metadata(400, "bad_request", message));
        }
    };
    let policy = find(visit.state, id)?.clone();
    let tree = &mut visit.state.tree;
    let slot = (policy.scope, policy.template);
    let instance = tree
        .live("folder", &policy.folder)?
        .metadata
        .get(&slot)
        .cloned();
    let instance = instance
        .ok_or_else(|| Refused::metadata(404, "instance_not_found", "the folder has no values"))?;
    let mut below = tree.children(&policy.folder);
    while let Some(id) = below.pop() {
        below.extend(tree.children(&id));
        let Some(type_name) = tree.get(&id).map(|item| item.type_name()) else {
            continue;
        };
        let copy = instance.copied(visit.state.ids.uuid());
        let item = tree.live_mut(type_name, &id)?;
        if overwrite || !item.metadata.contains_key(&slot) {
            item.metadata.insert(slot.clone(), copy);
        }
    }
    Ok(Answer::empty(202))
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Policy, Refused> {
    let policy = state.policies.get(id);
    policy.ok_or_else(|| Refused::metadata(404, "instance_not_found", "no such policy"))
}
