//! Which request is answered by what.

use super::{
    answer::{Answer, Outcome, Refused},
    authorize, cascades, collaborations, comments, download, event_log, files, folders, groups,
    head::{Head, Host},
    metadata::{self, Place},
    metadata_query, oauth, search, shared_links, sign_requests,
    state::{State, Visit},
    tasks, template_updates, templates, trash, upload,
    upload::Received,
    upload_sessions, users, versions, view, webhooks,
};

/// The effect of a request and its answer. `url` and `download_url` are this fake's own.
pub(super) fn answer(
    state: &mut State,
    head: &Head,
    body: &Received,
    [url, download_url]: [&str; 2],
) -> Outcome {
    if head.host == Host::Download {
        return download::serve(state, head);
    }
    if matches!(body, Received::TooLong) {
        return Err(Refused::new(
            413,
            "request_entity_too_large",
            "Request entity too large",
        ));
    }
    let segments: Vec<&str> = head.segments.iter().map(String::as_str).collect();
    match (head.method.as_str(), &segments[..]) {
        ("POST", ["oauth2", "token"]) => return oauth::token(state, head, body),
        ("GET", ["api", "oauth2", "authorize"]) => return authorize::page(state, head),
        ("POST", ["oauth2", "revoke"]) => return oauth::revoke(state, head, body),
        ("GET", ["realtime", ..]) => return event_log::realtime(state, head),
        _ => {}
    }
    let token = head.bearer().ok_or_else(Refused::invalid_token)?;
    let holder = state.bearer(token)?;
    if let Some(limits) = &holder.limits {
        limits.allow(state, head, &segments)?;
    }
    let actor = match head.header("as-user") {
        None => holder.user,
        Some(id) => {
            let refused = || {
                let code = "access_denied_insufficient_permissions";
                Refused::new(403, code, "Access denied - insufficient permission")
            };
            state.user(id).cloned().ok_or_else(refused)?
        }
    };
    let mut visit = Visit {
        head,
        body,
        url,
        download_url,
        state,
        actor,
        client: holder.client,
    };
    let visit = &mut visit;
    match &segments[..] {
        ["2.0", path @ ..] => api(visit, path),
        ["api", "2.0", path @ ..] => uploads(visit, path),
        _ => Err(nothing_here()),
    }
}

fn api(visit: &mut Visit<'_>, path: &[&str]) -> Outcome {
    shared_links::check(visit)?;
    match (visit.head.method.as_str(), path) {
        ("OPTIONS", ["files", "content"]) => upload::preflight(visit, None),
        ("OPTIONS", ["files", id, "content"]) => upload::preflight(visit, Some(id)),
        ("GET", ["shared_items"]) => shared_links::find(visit),
        ("GET", ["folders", "trash", "items"]) => trash::items(visit),
        ("GET", ["files", id, "trash"]) => trash::get(visit, "file", id),
        ("GET", ["folders", id, "trash"]) => trash::get(visit, "folder", id),
        ("DELETE", ["files", id, "trash"]) => trash::purge(visit, "file", id),
        ("DELETE", ["folders", id, "trash"]) => trash::purge(visit, "folder", id),
        ("POST", ["files", id]) if *id != "content" => trash::restore(visit, "file", id),
        ("POST", ["folders", id]) => trash::restore(visit, "folder", id),
        ("POST", ["files", id, "copy"]) => trash::copy(visit, "file", id),
        ("POST", ["folders", id, "copy"]) => trash::copy(visit, "folder", id),
        ("GET", ["files", id, "versions", version]) => versions::get(visit, id, version),
        ("PUT", ["files", id, "versions", version]) => versions::restore(visit, id, version),
        ("GET", ["files", id]) => files::get(visit, id),
        ("PUT", ["files", id]) => files::update(visit, id),
        ("DELETE", ["files", id]) => files::delete(visit, id),
        ("GET", ["files", id, "content"]) => download::redirect(visit, id),
        ("GET", ["files", id, "versions"]) => versions::list(visit, id),
        ("POST", ["files", id, "versions", "current"]) => versions::promote(visit, id),
        ("DELETE", ["files", id, "versions", version]) => versions::delete(visit, id, version),
        ("POST", ["folders"]) => folders::create(visit),
        ("GET", ["folders", id]) => folders::get(visit, id),
        ("PUT", ["folders", id]) => folders::update(visit, id),
        ("DELETE", ["folders", id]) => folders::delete(visit, id),
        ("GET", ["folders", id, "items"]) => folders::items(visit, id),
        ("GET", ["folders", id, "collaborations"]) => collaborations::list(visit, "folder", id),
        ("GET", ["files", id, "collaborations"]) => collaborations::list(visit, "file", id),
        ("POST", ["metadata_templates", "schema"]) => templates::create(visit),
        ("GET", ["metadata_templates", scope, key, "schema"]) => templates::get(visit, scope, key),
        (_, ["files", id, "metadata", rest @ ..]) => on_item(visit, "file", id, rest),
        (_, ["folders", id, "metadata", rest @ ..]) => on_item(visit, "folder", id, rest),
        ("POST", ["webhooks"]) => webhooks::create(visit),
        ("GET", ["webhooks"]) => webhooks::list(visit),
        ("GET", ["webhooks", id]) => webhooks::get(visit, id),
        ("PUT", ["webhooks", id]) => webhooks::update(visit, id),
        ("DELETE", ["webhooks", id]) => webhooks::delete(visit, id),
        ("POST", ["collaborations"]) => collaborations::create(visit),
        ("GET", ["collaborations", id]) => collaborations::get(visit, id),
        ("PUT", ["collaborations", id]) => collaborations::update(visit, id),
        ("DELETE", ["collaborations", id]) => collaborations::delete(visit, id),
        ("GET", ["users", "me"]) => me(visit),
        _ => more(visit, path),
    }
}

/// What people do beside files and folders.
fn more(visit: &mut Visit<'_>, path: &[&str]) -> Outcome {
    match (visit.head.method.as_str(), path) {
        ("GET", ["collaborations"]) => collaborations::pending(visit),
        ("GET", ["users"]) => users::list(visit),
        ("POST", ["users"]) => users::create(visit),
        ("GET", ["users", id]) => users::get(visit, id),
        ("PUT", ["users", id]) => users::update(visit, id),
        ("DELETE", ["users", id]) => users::delete(visit, id),
        ("GET", ["users", id, "memberships"]) => groups::of_user(visit, id),
        ("GET", ["groups"]) => groups::list(visit),
        ("POST", ["groups"]) => groups::create(visit),
        ("GET", ["groups", id]) => groups::get(visit, id),
        ("PUT", ["groups", id]) => groups::update(visit, id),
        ("DELETE", ["groups", id]) => groups::delete(visit, id),
        ("GET", ["groups", id, "collaborations"]) => collaborations::of_group(visit, id),
        ("GET", ["groups", id, "memberships"]) => groups::members(visit, id),
        ("POST", ["group_memberships"]) => groups::add(visit),
        ("GET", ["group_memberships", id]) => groups::membership(visit, id),
        ("PUT", ["group_memberships", id]) => groups::update_membership(visit, id),
        ("DELETE", ["group_memberships", id]) => groups::remove(visit, id),
        ("GET", ["events"]) => event_log::list(visit),
        ("OPTIONS", ["events"]) => event_log::servers(visit),
        ("GET", ["search"]) => search::find(visit),
        ("POST", ["comments"]) => comments::create(visit),
        ("GET", ["files", id, "comments"]) => comments::list(visit, id),
        ("GET", ["comments", id]) => comments::get(visit, id),
        ("PUT", ["comments", id]) => comments::update(visit, id),
        ("DELETE", ["comments", id]) => comments::delete(visit, id),
        ("POST", ["tasks"]) => tasks::create(visit),
        ("GET", ["files", id, "tasks"]) => tasks::list(visit, id),
        ("GET", ["tasks", id]) => tasks::get(visit, id),
        ("PUT", ["tasks", id]) => tasks::update(visit, id),
        ("DELETE", ["tasks", id]) => tasks::delete(visit, id),
        ("GET", ["tasks", id, "assignments"]) => tasks::assignments(visit, id),
        ("POST", ["task_assignments"]) => tasks::assign(visit),
        ("GET", ["task_assignments", id]) => tasks::assignment(visit, id),
        ("PUT", ["task_assignments", id]) => tasks::resolve(visit, id),
        ("DELETE", ["task_assignments", id]) => tasks::unassign(visit, id),
        ("POST", ["sign_requests"]) => sign_requests::create(visit),
        ("GET", ["sign_requests"]) => sign_requests::list(visit),
        ("GET", ["sign_requests", id]) => sign_requests::get(visit, id),
        ("POST", ["sign_requests", id, "cancel"]) => sign_requests::cancel(visit, id),
        ("POST", ["sign_requests", id, "resend"]) => sign_requests::resend(visit, id),
        ("GET", ["metadata_templates", scope @ ("enterprise" | "global")]) => {
            template_updates::list(visit, scope)
        }
        ("GET", ["metadata_templates", id]) => template_updates::by_id(visit, id),
        ("PUT", ["metadata_templates", scope, key, "schema"]) => {
            template_updates::update(visit, scope, key)
        }
        ("DELETE", ["metadata_templates", scope, key, "schema"]) => {
            template_updates::delete(visit, scope, key)
        }
        ("POST", ["metadata_queries", "execute_read"]) => metadata_query::execute(visit),
        ("POST", ["metadata_cascade_policies"]) => cascades::create(visit),
        ("GET", ["metadata_cascade_policies"]) => cascades::list(visit),
        ("GET", ["metadata_cascade_policies", id]) => cascades::get(visit, id),
        ("DELETE", ["metadata_cascade_policies", id]) => cascades::delete(visit, id),
        ("POST", ["metadata_cascade_policies", id, "apply"]) => cascades::apply(visit, id),
        _ => Err(nothing_here()),
    }
}

fn uploads(visit: &mut Visit<'_>, path: &[&str]) -> Outcome {
    match (visit.head.method.as_str(), path) {
        ("POST", ["files", "content"]) => upload::create(visit),
        ("POST", ["files", "upload_sessions"]) => upload_sessions::create(visit),
        ("POST", ["files", id, "upload_sessions"]) => upload_sessions::create_version(visit, id),
        ("GET", ["files", "upload_sessions", id]) => upload_sessions::get(visit, id),
        ("PUT", ["files", "upload_sessions", id]) => upload_sessions::put(visit, id),
        ("DELETE", ["files", "upload_sessions", id]) => upload_sessions::abort(visit, id),
        ("GET", ["files", "upload_sessions", id, "parts"]) => upload_sessions::parts(visit, id),
        ("POST", ["files", "upload_sessions", id, "commit"]) => upload_sessions::commit(visit, id),
        ("POST", ["files", id, "content"]) => upload::new_version(visit, id),
        _ => Err(nothing_here()),
    }
}

fn on_item(visit: &mut Visit<'_>, type_name: &str, item: &str, rest: &[&str]) -> Outcome {
    match (visit.head.method.as_str(), rest) {
        ("GET", []) => metadata::list(visit, type_name, item),
        (method, [scope, key]) => {
            let place = Place {
                type_name,
                item,
                scope,
                key,
            };
            match method {
                "GET" => metadata::get(visit, place),
                "POST" => metadata::create(visit, place),
                "PUT" => metadata::update(visit, place),
                "DELETE" => metadata::delete(visit, place),
                _ => Err(nothing_here()),
            }
        }
        _ => Err(nothing_here()),
    }
}

/// `GET /users/me`
fn me(visit: &mut Visit<'_>) -> Outcome {
    Ok(Answer::json(
        200,
        &view::user(&visit.actor, &visit.fields()),
    ))
}

fn nothing_here() -> Refused {
    Refused::new(404, "not_found", "Not Found")
}
