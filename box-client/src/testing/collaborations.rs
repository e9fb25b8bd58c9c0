//! Who may work on an item.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    groups::{Group, Groups},
    items::{ROOT, Tree},
    pages,
    people::User,
    state::{State, Visit, text},
    view,
};

const ROLES: &[&str] = &[
    "editor",
    "viewer",
    "previewer",
    "uploader",
    "previewer uploader",
    "viewer uploader",
    "co-owner",
];

#[derive(Clone, Debug)]
pub(super) struct Collaboration {
    id: u64,
    item: String,
    with: With,
    role: String,
    status: &'static str,
    created_by: User,
    created_at: Timestamp,
    modified_at: Timestamp,
    acknowledged_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
enum With {
    User(User),
    Group(String),
    /// Somebody without an account.
    Invited(String),
}

impl Collaboration {
    /// `tell_item` says whether a pending one names its item.
    pub(super) fn json(&self, tree: &Tree, groups: &Groups, tell_item: bool) -> Value {
        let pending = self.status == "pending";
        let item = tree.get(&self.item).filter(|_| tell_item || !pending);
        let (accessible_by, invite_email) = match &self.with {
            With::User(user) if pending => {
                let mut shown = user.mini();
                shown["name"] = "".into();
                (shown, None)
            }
            With::User(user) => (user.mini(), None),
            With::Group(id) => (groups.get(id).map_or(Value::Null, Group::mini), None),
            With::Invited(login) => (Value::Null, Some(login)),
        };
        json!({
            "type": "collaboration",
            "id": self.id.to_string(),
            "status": self.status,
            "role": self.role,
            "created_by": self.created_by.mini(),
            "created_at": stamp(self.created_at),
            "modified_at": stamp(self.modified_at),
            "expires_at": null,
            "acknowledged_at": self.acknowledged_at.map(stamp),
            "accessible_by": accessible_by,
            "invite_email": invite_email,
            "item": item.map(|item| view::mini(tree, item)),
        })
    }
}

/// `POST /collaborations`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let actor = visit.actor.clone();
    let id = visit.state.collaborate(&actor, &body)?;
    show(visit, 201, id)
}

/// `GET /collaborations/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let id = find(visit, id)?;
    show(visit, 200, id)
}

/// `PUT /collaborations/{id}`: the role, or the answer to an invitation.
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let id = find(visit, id)?;
    let actor = visit.actor.clone();
    match text(&body, "/status") {
        Some("accepted") => visit.state.answer_invitation(&actor, id, true)?,
        Some("rejected") => visit.state.answer_invitation(&actor, id, false)?,
        Some(_) => return Err(Refused::parameter("status", "one of accepted, rejected")),
        None => {}
    }
    if let Some(role) = text(&body, "/role") {
        check_role(role)?;
        if let Some(collaboration) = visit.state.collaborations.get_mut(&id) {
            role.clone_into(&mut collaboration.role);
            collaboration.modified_at = Timestamp::now();
        }
        visit.state.tell("COLLABORATION.UPDATED", &actor, id);
    }
    show(visit, 200, id)
}

/// `DELETE /collaborations/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let id = find(visit, id)?;
    let actor = visit.actor.clone();
    visit.state.tell("COLLABORATION.REMOVED", &actor, id);
    visit.state.collaborations.remove(&id);
    Ok(Answer::empty(204))
}

/// `GET /folders/{id}/collaborations` and the same of files. All on one page.
pub(super) fn list(visit: &mut Visit<'_>, type_name: &str, item: &str) -> Outcome {
    visit.state.tree.live(type_name, item)?;
    let state = &*visit.state;
    let entries: Vec<Value> = state
        .collaborations
        .values()
        .filter(|collaboration| collaboration.item == item)
        .map(|collaboration| collaboration.json(&state.tree, &state.groups, false))
        .collect();
    let body = json!({ "total_count": entries.len(), "entries": entries, "next_marker": null });
    Ok(Answer::json(200, &body))
}

/// `GET /groups/{id}/collaborations`
pub(super) fn of_group(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let state = &*visit.state;
    state.groups.get(id)?;
    let all: Vec<Value> = state
        .collaborations
        .values()
        .filter(|it| it.with == With::Group(id.to_owned()))
        .map(|it| it.json(&state.tree, &state.groups, false))
        .collect();
    pages::by_offset(visit.head, &all, 100, 1000)
}

pub(super) fn forget_group(visit: &mut Visit<'_>, id: &str) {
    let group = With::Group(id.to_owned());
    visit.state.collaborations.retain(|_, it| it.with != group);
}

/// `GET /collaborations?status=pending`: those of the token's user.
pub(super) fn pending(visit: &mut Visit<'_>) -> Outcome {
    if visit.head.query("status") != Some("pending") {
        return Err(Refused::parameter("status", "pending"));
    }
    let state = &*visit.state;
    let own = |with: &With| matches!(with, With::User(user) if *user == visit.actor);
    let all: Vec<Value> = state
        .collaborations
        .values()
        .filter(|it| it.status == "pending" && own(&it.with))
        .map(|it| it.json(&state.tree, &state.groups, false))
        .collect();
    pages::by_offset(visit.head, &all, 100, 1000)
}

impl State {
    /// Invites somebody. Users of the enterprise accept at once, others are pending.
    pub(super) fn collaborate(&mut self, actor: &User, body: &Value) -> Result<u64, Refused> {
        let type_name = text(body, "/item/type").ok_or_else(|| Refused::missing("item.type"))?;
        let item = text(body, "/item/id").ok_or_else(|| Refused::missing("item.id"))?;
        if item == ROOT {
            let code = "collaborations_not_available_on_root_folder";
            return Err(Refused::new(
                400,
                code,
                "Root folder cannot be collaborated",
            ));
        }
        self.tree.live(type_name, item)?;
        let role = text(body, "/role").ok_or_else(|| Refused::missing("role"))?;
        check_role(role)?;
        let with = self.invitee(body)?;
        if self
            .collaborations
            .values()
            .any(|known| known.item == item && known.with == with)
        {
            let message = "User is already a collaborator";
            return Err(Refused::new(400, "user_already_collaborator", message));
        }
        let now = Timestamp::now();
        let at_once = !matches!(with, With::Invited(_));
        let id = self.ids.collaboration();
        let collaboration = Collaboration {
            id,
            item: item.to_owned(),
            with,
            role: role.to_owned(),
            status: if at_once { "accepted" } else { "pending" },
            created_by: actor.clone(),
            created_at: now,
            modified_at: now,
            acknowledged_at: at_once.then_some(now),
        };
        self.collaborations.insert(id, collaboration);
        self.tell("COLLABORATION.CREATED", actor, id);
        if at_once {
            self.tell("COLLABORATION.ACCEPTED", actor, id);
        }
        Ok(id)
    }

    pub(super) fn answer_invitation(
        &mut self,
        actor: &User,
        id: u64,
        accept: bool,
    ) -> Result<(), Refused> {
        let found = self
            .collaborations
            .get_mut(&id)
            .filter(|known| known.status == "pending");
        let collaboration =
            found.ok_or_else(|| Refused::parameter("status", "the invitation is not pending"))?;
        let now = Timestamp::now();
        collaboration.status = if accept { "accepted" } else { "rejected" };
        collaboration.modified_at = now;
        collaboration.acknowledged_at = Some(now);
        let mut who = actor.clone();
        if let (With::Invited(login), true) = (&collaboration.with, accept) {
            let name = login.split('@').next().unwrap_or_default();
            who = User::new(&self.ids.user(), name, login);
            collaboration.with = With::User(who.clone());
            self.users.push(who.clone());
        }
        let trigger = if accept {
            "COLLABORATION.ACCEPTED"
        } else {
            "COLLABORATION.REJECTED"
        };
        self.tell(trigger, &who, id);
        Ok(())
    }

    fn tell(&mut self, trigger: &str, actor: &User, id: u64) {
        let Some(collaboration) = self.collaborations.get(&id) else {
            return;
        };
        let source = collaboration.json(&self.tree, &self.groups, self.config.pending_item);
        let watched = self.tree.chain(&collaboration.item);
        self.raise(&watched, trigger, actor, &source, &Value::Null);
    }

    fn invitee(&self, body: &Value) -> Result<With, Refused> {
        let id = text(body, "/accessible_by/id");
        let login = text(body, "/accessible_by/login");
        match (text(body, "/accessible_by/type"), id, login) {
            (Some("group"), Some(id), _) => {
                self.groups.get(id)?;
                Ok(With::Group(id.to_owned()))
            }
            (Some("user"), Some(id), _) => {
                let user = self
                    .user(id)
                    .ok_or_else(|| Refused::not_found("user", id))?;
                Ok(With::User(user.clone()))
            }
            (Some("user"), None, Some(login)) if login.contains('@') => {
                let mut users = self.users.iter();
                let known = users.find(|user| user.login.eq_ignore_ascii_case(login));
                Ok(known.map_or(With::Invited(login.to_lowercase()), |user| {
                    With::User(user.clone())
                }))
            }
            _ => Err(Refused::parameter(
                "accessible_by",
                "a user's id or login, or a group's id",
            )),
        }
    }
}

fn show(visit: &Visit<'_>, status: u16, id: u64) -> Outcome {
    let collaboration = visit.state.collaborations.get(&id);
    let collaboration =
        collaboration.ok_or_else(|| Refused::not_found("collaboration", &id.to_string()))?;
    Ok(Answer::json(
        status,
        &collaboration.json(&visit.state.tree, &visit.state.groups, false),
    ))
}

fn find(visit: &Visit<'_>, id: &str) -> Result<u64, Refused> {
    let known = id
        .parse()
        .ok()
        .filter(|id| visit.state.collaborations.contains_key(id));
    known.ok_or_else(|| Refused::not_found("collaboration", id))
}

fn check_role(role: &str) -> Result<(), Refused> {
    match ROLES.contains(&role) {
        true => Ok(()),
        false => Err(Refused::parameter(
            "role",
            format!("one of {}", ROLES.join(", ")),
        )),
    }
}
