//! Groups and who is in them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    pages,
    people::User,
    state::{Visit, text},
};

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<String, Group>,
    memberships: BTreeMap<String, Membership>,
}

#[derive(Debug)]
struct Group {
    id: String,
    name: String,
    description: Option<String>,
    created_at: Timestamp,
}

#[derive(Debug)]
struct Membership {
    id: String,
    group: String,
    user: User,
    role: String,
    created_at: Timestamp,
}

impl Groups {
    pub(super) fn forget_user(&mut self, id: &str) {
        self.memberships.retain(|_, it| it.user.id != id);
    }

    pub(super) fn json(&self) -> Value {
        self.groups.values().map(Group::json).collect()
    }

    pub(super) fn memberships_json(&self) -> Value {
        self.memberships(|_| true).into()
    }

    fn get(&self, id: &str) -> Result<&Group, Refused> {
        self.groups
            .get(id)
            .ok_or_else(|| Refused::not_found("group", id))
    }

    fn shown(&self, of: &Membership) -> Value {
        json!({
            "type": "group_membership",
            "id": of.id,
            "user": of.user.mini(),
            "group": self.groups.get(&of.group).map(Group::mini),
            "role": of.role,
            "created_at": stamp(of.created_at),
            "modified_at": stamp(of.created_at),
        })
    }

    fn memberships(&self, wanted: impl Fn(&Membership) -> bool) -> Vec<Value> {
        let found = self.memberships.values().filter(|it| wanted(it));
        found.map(|it| self.shown(it)).collect()
    }
}

impl Group {
    fn mini(&self) -> Value {
        json!({
            "type": "group", "id": self.id, "name": self.name, "group_type": "managed_group",
        })
    }

    fn json(&self) -> Value {
        let mut json = self.mini();
        json["created_at"] = stamp(self.created_at).into();
        json["modified_at"] = stamp(self.created_at).into();
        json
    }
}

/// `GET /groups`
pub(super) fn list(visit: &mut Visit<'_>) -> Outcome {
    let term = visit.head.query("filter_term").unwrap_or_default();
    let term = term.to_lowercase();
    let groups = visit.state.groups.groups.values();
    let all: Vec<Value> = groups
        .filter(|group| group.name.to_lowercase().starts_with(&term))
        .map(Group::json)
        .collect();
    pages::by_offset(visit.head, &all, 100, 1000)
}

/// `POST /groups`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let name = text(&body, "/name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refused::missing("name"))?;
    let groups = &mut visit.state.groups.groups;
    if groups.values().any(|known| known.name == name) {
        let refused = Refused::new(409, "conflict", "A resource with this value already exists");
        return Err(refused.because("invalid_parameter", "name", "the name is taken"));
    }
    let id = visit.state.ids.record();
    let group = Group {
        id: id.clone(),
        name: name.to_owned(),
        description: text(&body, "/description").map(str::to_owned),
        created_at: Timestamp::now(),
    };
    let shown = group.json();
    groups.insert(id, group);
    Ok(Answer::json(201, &shown))
}

/// `GET /groups/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let group = visit.state.groups.get(id)?;
    let mut shown = group.json();
    if visit.fields().names("description") {
        shown["description"] = json!(group.description);
    }
    Ok(Answer::json(200, &shown))
}

/// `DELETE /groups/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let groups = &mut visit.state.groups;
    groups.get(id)?;
    groups.groups.remove(id);
    groups.memberships.retain(|_, it| it.group != id);
    Ok(Answer::empty(204))
}

/// `GET /groups/{id}/memberships`
pub(super) fn members(visit: &mut Visit<'_>, id: &str) -> Outcome {
    visit.state.groups.get(id)?;
    let all = visit.state.groups.memberships(|it| it.group == id);
    pages::by_offset(visit.head, &all, 100, 1000)
}

/// `GET /users/{id}/memberships`
pub(super) fn of_user(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let known = visit.state.user(id);
    known.ok_or_else(|| Refused::not_found("user", id))?;
    let all = visit.state.groups.memberships(|it| it.user.id == id);
    pages::by_offset(visit.head, &all, 100, 1000)
}

/// `POST /group_memberships`
pub(super) fn add(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let user = text(&body, "/user/id").ok_or_else(|| Refused::missing("user.id"))?;
    let group = text(&body, "/group/id").ok_or_else(|| Refused::missing("group.id"))?;
    let role = text(&body, "/role").unwrap_or("member");
    if !["member", "admin"].contains(&role) {
        return Err(Refused::parameter("role", "one of member, admin"));
    }
    let known = visit.state.user(user).cloned();
    let user = known.ok_or_else(|| Refused::not_found("user", user))?;
    let groups = &mut visit.state.groups;
    groups.get(group)?;
    let is_in = |it: &Membership| it.group == group && it.user.id == user.id;
    if groups.memberships.values().any(is_in) {
        let message = "The user is already a member of the group";
        return Err(Refused::new(409, "conflict", message));
    }
    let membership = Membership {
        id: visit.state.ids.record(),
        group: group.to_owned(),
        user,
        role: role.to_owned(),
        created_at: Timestamp::now(),
    };
    let shown = groups.shown(&membership);
    groups.memberships.insert(membership.id.clone(), membership);
    Ok(Answer::json(201, &shown))
}

/// `DELETE /group_memberships/{id}`
pub(super) fn remove(visit: &mut Visit<'_>, id: &str) -> Outcome {
    match visit.state.groups.memberships.remove(id) {
        Some(_) => Ok(Answer::empty(204)),
        None => Err(Refused::not_found("group_membership", id)),
    }
}
