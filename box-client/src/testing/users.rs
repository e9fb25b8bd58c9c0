//! Users of the enterprise. All that this Box knows are managed ones.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    pages,
    people::User,
    state::{State, Visit, text},
    view,
};

/// What is known of users besides their names, by id.
pub(super) type Profiles = BTreeMap<String, Map<String, Value>>;

/// What can be set. The first ones are shown only when they are asked for.
const SETTABLE: &[&str] = &[
    "external_app_user_id",
    "is_external_collab_restricted",
    "is_platform_access_only",
    "role",
    "job_title",
    "language",
    "space_amount",
    "status",
    "timezone",
];
const BY_NAME_ONLY: usize = 4;

/// `GET /users`
pub(super) fn list(visit: &mut Visit<'_>) -> Outcome {
    let head = visit.head;
    let term = head.query("filter_term").unwrap_or_default().to_lowercase();
    let app_id = head.query("external_app_user_id");
    let external_only = match head.query("user_type") {
        None | Some("all" | "managed") => false,
        Some("external") => true,
        Some(_) => {
            return Err(Refused::parameter(
                "user_type",
                "one of all, managed, external",
            ));
        }
    };
    let state = &*visit.state;
    let found = state.users.iter().filter(|user| {
        let named = [&user.name, &user.login]
            .iter()
            .any(|text| text.to_lowercase().starts_with(&term));
        let has_app_id = app_id.is_none_or(|id| {
            let profile = state.profiles.get(&user.id);
            profile.and_then(|it| it.get("external_app_user_id")) == Some(&id.into())
        });
        named && has_app_id && !external_only
    });
    let all: Vec<Value> = found.map(|user| shown(visit, user)).collect();
    if head.query("usemarker") == Some("true") {
        pages::by_marker(head, &all, 100, 1000)
    } else {
        pages::by_offset(head, &all, 100, 1000)
    }
}

/// `GET /users/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    show(visit, 200, id)
}

/// `POST /users`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let name = text(&body, "/name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refused::missing("name"))?;
    let id = visit.state.ids.user();
    let app_user = body["is_platform_access_only"] == true;
    let login = match text(&body, "/login") {
        Some(login) if app_user => {
            let message = format!("an app user has no login of its own, not '{login}'");
            return Err(Refused::parameter("login", message));
        }
        Some(login) if login.contains('@') => login.to_owned(),
        None if app_user => format!("AppUser_fake_{id}@boxdevedition.com"),
        _ => return Err(Refused::missing("login")),
    };
    let taken = |user: &User| user.login.eq_ignore_ascii_case(&login);
    if visit.state.users.iter().any(taken) {
        let message = "User with the specified login already exists";
        return Err(Refused::new(409, "user_login_already_used", message));
    }
    visit.state.users.push(User::new(&id, name, &login));
    keep(visit.state, &id, &body);
    show(visit, 201, &id)
}

/// `PUT /users/{id}`
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let mut users = visit.state.users.iter_mut();
    let user = users.find(|user| user.id == id);
    let user = user.ok_or_else(|| Refused::not_found("user", id))?;
    if let Some(name) = text(&body, "/name") {
        name.clone_into(&mut user.name);
    }
    keep(visit.state, id, &body);
    show(visit, 200, id)
}

/// `DELETE /users/{id}`. Who owns something goes by `force` only.
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let state = &mut *visit.state;
    if state.user(id).is_none() {
        return Err(Refused::not_found("user", id));
    }
    let owns = state
        .tree
        .all()
        .any(|item| item.parent.is_some() && item.created_by.id == id);
    if owns && visit.head.query("force") != Some("true") {
        let message = "User owns content: use force";
        return Err(Refused::new(400, "user_has_content", message));
    }
    state.users.retain(|user| user.id != id);
    state.profiles.remove(id);
    state.groups.forget_user(id);
    Ok(Answer::empty(204))
}

fn keep(state: &mut State, id: &str, body: &Value) {
    let profile = state.profiles.entry(id.to_owned()).or_default();
    for name in SETTABLE {
        if let Some(value) = body.get(*name) {
            profile.insert((*name).to_owned(), value.clone());
        }
    }
}

fn show(visit: &Visit<'_>, status: u16, id: &str) -> Outcome {
    let user = visit.state.user(id);
    let user = user.ok_or_else(|| Refused::not_found("user", id))?;
    Ok(Answer::json(status, &shown(visit, user)))
}

fn shown(visit: &Visit<'_>, user: &User) -> Value {
    let fields = visit.fields();
    let mut shown = view::user(user, &fields);
    let empty = Map::new();
    let profile = visit.state.profiles.get(&user.id).unwrap_or(&empty);
    for (place, name) in SETTABLE.iter().enumerate() {
        let wanted = match fields.are_named() {
            true => fields.names(name),
            false => place >= BY_NAME_ONLY,
        };
        if let Some(value) = profile.get(*name).filter(|_| wanted) {
            shown[*name] = value.clone();
        }
    }
    if !fields.are_named() {
        shown["notification_email"] = json!([]);
    }
    shown
}
