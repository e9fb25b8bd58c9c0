//! Groups and who is in them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    collaborations, pages,
    people::User,
    state::{Visit, text},
    view::Fields,
};

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<String, Group>,
    memberships: BTreeMap<String, Membership>,
}

#[derive(Debug)]
pub(super) struct Group {
    id: String,
    name: String,
    /// Shown only when asked for.
    about: Map<String, Value>,
    created_at: Timestamp,
    modified_at: Timestamp,
}

const ABOUT: &[&str] = &[
    "description",
    "external_sync_identifier",
    "invitability_level",
    "member_viewability_level",
    "provenance",
];
const LEVELS: &[&str] = &["admins_only", "admins_and_members", "all_managed_users"];
const ROLES: &[&str] = &["member", "admin"];

#[derive(Debug)]
struct Membership {
    id: String,
    group: String,
    user: User,
    role: String,
    created_at: Timestamp,
    modified_at: Timestamp,
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

    pub(super) fn get(&self, id: &str) -> Result<&Group, Refused> {
        self.groups
            .get(id)
            .ok_or_else(|| Refused::not_found("group", id))
    }

    pub(super) fn add(&mut self, id: &str, name: &str) -> Result<(), Refused> {
        self.is_free(name, None)?;
        self.groups.insert(id.to_owned(), Group::new(id, name));
        Ok(())
    }

    /// Whether no other group than this has the name.
    fn is_free(&self, name: &str, this: Option<&str>) -> Result<(), Refused> {
        let is_taken = |it: &Group| it.name == name && this != Some(it.id.as_str());
        if !self.groups.values().any(is_taken) {
            return Ok(());
        }
        let refused = Refused::new(409, "conflict", "A resource with this value already exists");
        Err(refused.because("invalid_parameter", "name", "the name is taken"))
    }

    fn shown(&self, of: &Membership) -> Value {
        json!({
            "type": "group_membership",
            "id": of.id,
            "user": of.user.mini(),
            "group": self.groups.get(&of.group).map(Group::mini),
            "role": of.role,
            "created_at": stamp(of.created_at),
            "modified_at": stamp(of.modified_at),
        })
    }

    fn memberships(&self, wanted: impl Fn(&Membership) -> bool) -> Vec<Value> {
        let found = self.memberships.values().filter(|it| wanted(it));
        found.map(|it| self.shown(it)).collect()
    }
}

impl Group {
    fn new(id: &str, name: &str) -> Self {
        let now = Timestamp::now();
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            about: Map::new(),
            created_at: now,
            modified_at: now,
        }
    }

    pub(super) fn mini(&self) -> Value {
        json!({
            "type": "group", "id": self.id, "name": self.name, "group_type": "managed_group",
        })
    }

    fn json(&self) -> Value {
        let mut json = self.mini();
        json["created_at"] = stamp(self.created_at).into();
        json["modified_at"] = stamp(self.modified_at).into();
        json
    }

    fn shown(&self, fields: &Fields) -> Value {
        let mut json = self.json();
        for name in ABOUT.iter().filter(|name| fields.names(name)) {
            json[*name] = self.about.get(*name).cloned().unwrap_or_default();
        }
        json
    }

    fn take(&mut self, body: &Value) -> Result<(), Refused> {
        for level in ["invitability_level", "member_viewability_level"] {
            if text(body, &format!("/{level}")).is_some_and(|it| !LEVELS.contains(&it)) {
                return Err(Refused::parameter(
                    level,
                    format!("one of {}", LEVELS.join(", ")),
                ));
            }
        }
        for name in ABOUT {
            if let Some(value) = body.get(*name) {
                self.about.insert((*name).to_owned(), value.clone());
            }
        }
        Ok(())
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
    visit.state.groups.is_free(name, None)?;
    let id = visit.state.ids.record();
    let mut group = Group::new(&id, name);
    group.take(&body)?;
    let shown = group.shown(&visit.fields());
    visit.state.groups.groups.insert(id, group);
    Ok(Answer::json(201, &shown))
}

/// `GET /groups/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let group = visit.state.groups.get(id)?;
    Ok(Answer::json(200, &group.shown(&visit.fields())))
}

/// `PUT /groups/{id}`
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let fields = visit.fields();
    let groups = &mut visit.state.groups;
    groups.get(id)?;
    let name = text(&body, "/name");
    match name {
        Some("") => return Err(Refused::parameter("name", "not empty")),
        Some(name) => groups.is_free(name, Some(id))?,
        None => {}
    }
    let group = groups.groups.get_mut(id);
    let group = group.ok_or_else(|| Refused::not_found("group", id))?;
    group.take(&body)?;
    if let Some(name) = name {
        name.clone_into(&mut group.name);
    }
    group.modified_at = Timestamp::now();
    Ok(Answer::json(200, &group.shown(&fields)))
}

/// `DELETE /groups/{id}`: it works on nothing any more.
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let groups = &mut visit.state.groups;
    groups.get(id)?;
    groups.groups.remove(id);
    groups.memberships.retain(|_, it| it.group != id);
    collaborations::forget_group(visit, id);
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
    check_role(role)?;
    let known = visit.state.user(user).cloned();
    let user = known.ok_or_else(|| Refused::not_found("user", user))?;
    let groups = &mut visit.state.groups;
    groups.get(group)?;
    let is_in = |it: &Membership| it.group == group && it.user.id == user.id;
    if groups.memberships.values().any(is_in) {
        let message = "The user is already a member of the group";
        return Err(Refused::new(409, "conflict", message));
    }
    let now = Timestamp::now();
    let membership = Membership {
        id: visit.state.ids.record(),
        group: group.to_owned(),
        user,
        role: role.to_owned(),
        created_at: now,
        modified_at: now,
    };
    let shown = groups.shown(&membership);
    groups.memberships.insert(membership.id.clone(), membership);
    Ok(Answer::json(201, &shown))
}

/// `GET /group_memberships/{id}`
pub(super) fn membership(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let groups = &visit.state.groups;
    let found = groups.memberships.get(id);
    let found = found.ok_or_else(|| Refused::not_found("group_membership", id))?;
    Ok(Answer::json(200, &groups.shown(found)))
}

/// `PUT /group_memberships/{id}`
pub(super) fn update_membership(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let role = text(&body, "/role");
    role.map_or(Ok(()), check_role)?;
    let found = visit.state.groups.memberships.get_mut(id);
    let found = found.ok_or_else(|| Refused::not_found("group_membership", id))?;
    if let Some(role) = role {
        role.clone_into(&mut found.role);
    }
    found.modified_at = Timestamp::now();
    membership(visit, id)
}

/// `DELETE /group_memberships/{id}`
pub(super) fn remove(visit: &mut Visit<'_>, id: &str) -> Outcome {
    match visit.state.groups.memberships.remove(id) {
        Some(_) => Ok(Answer::empty(204)),
        None => Err(Refused::not_found("group_membership", id)),
    }
}

fn check_role(role: &str) -> Result<(), Refused> {
    match ROLES.contains(&role) {
        true => Ok(()),
        false => Err(Refused::parameter("role", "one of member, admin")),
    }
}
