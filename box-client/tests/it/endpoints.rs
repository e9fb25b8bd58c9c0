//! Keeps `ENDPOINTS.md` complete and true: every endpoint of Box's document, and the call of this
//! crate that sends it. `UPDATE_ENDPOINTS=1 cargo test -p box-client endpoints` writes it anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::desk::document;

/// Method, path, and the operations that send it, as errors name them. To be extended with each
/// typed call; all else is sent by `BoxClient::request`.
#[rustfmt::skip]
pub(crate) const TYPED: &[(&str, &str, &[&str])] = &[
    ("POST", "/oauth2/token", &["token"]),
    ("POST", "/oauth2/revoke", &["revoke"]),
    ("GET", "/files/{file_id}", &["files.get", "shared_links.get"]),
    ("PUT", "/files/{file_id}", &["files.update", "files.rename", "files.move", "files.lock", "files.unlock", "shared_links.set", "shared_links.remove"]),
    ("DELETE", "/files/{file_id}", &["files.delete"]),
    ("POST", "/files/{file_id}", &["files.restore"]),
    ("POST", "/files/{file_id}/copy", &["files.copy"]),
    ("GET", "/files/{file_id}/trash", &["files.trashed"]),
    ("DELETE", "/files/{file_id}/trash", &["files.delete_permanently"]),
    ("OPTIONS", "/files/content", &["files.preflight", "files.preflight_version"]),
    ("POST", "/files/content", &["files.upload"]),
    ("POST", "/files/{file_id}/content", &["files.upload"]),
    ("POST", "/files/upload_sessions", &["upload_sessions.create"]),
    ("POST", "/files/{file_id}/upload_sessions", &["upload_sessions.create_version"]),
    ("GET", "/files/upload_sessions/{upload_session_id}", &["upload_sessions.get"]),
    ("PUT", "/files/upload_sessions/{upload_session_id}", &["upload_sessions.part"]),
    ("DELETE", "/files/upload_sessions/{upload_session_id}", &["upload_sessions.abort"]),
    ("GET", "/files/upload_sessions/{upload_session_id}/parts", &["upload_sessions.parts"]),
    ("POST", "/files/upload_sessions/{upload_session_id}/commit", &["upload_sessions.commit"]),
    ("GET", "/files/{file_id}/content", &["files.download"]),
    ("GET", "/files/{file_id}/versions", &["files.versions"]),
    ("GET", "/files/{file_id}/versions/{file_version_id}", &["files.version"]),
    ("DELETE", "/files/{file_id}/versions/{file_version_id}", &["files.delete_version"]),
    ("PUT", "/files/{file_id}/versions/{file_version_id}", &["files.restore_version"]),
    ("POST", "/files/{file_id}/versions/current", &["files.promote"]),
    ("GET", "/folders/{folder_id}", &["folders.get", "shared_links.get"]),
    ("PUT", "/folders/{folder_id}", &["folders.update", "folders.rename", "folders.move", "shared_links.set", "shared_links.remove"]),
    ("DELETE", "/folders/{folder_id}", &["folders.delete"]),
    ("POST", "/folders/{folder_id}", &["folders.restore"]),
    ("POST", "/folders", &["folders.create", "folders.ensure"]),
    ("POST", "/folders/{folder_id}/copy", &["folders.copy"]),
    ("GET", "/folders/{folder_id}/items", &["folders.items"]),
    ("GET", "/folders/{folder_id}/trash", &["folders.trashed"]),
    ("DELETE", "/folders/{folder_id}/trash", &["folders.delete_permanently"]),
    ("GET", "/folders/trash/items", &["folders.trash_items"]),
    ("GET", "/shared_items", &["shared_links.find"]),
    ("POST", "/webhooks", &["webhooks.create"]),
    ("GET", "/webhooks", &["webhooks.list"]),
    ("GET", "/webhooks/{webhook_id}", &["webhooks.get"]),
    ("PUT", "/webhooks/{webhook_id}", &["webhooks.update"]),
    ("DELETE", "/webhooks/{webhook_id}", &["webhooks.delete"]),
    ("GET", "/files/{file_id}/metadata", &["metadata.list"]),
    ("GET", "/files/{file_id}/metadata/{scope}/{template_key}", &["metadata.get"]),
    ("POST", "/files/{file_id}/metadata/{scope}/{template_key}", &["metadata.create", "metadata.set"]),
    ("PUT", "/files/{file_id}/metadata/{scope}/{template_key}", &["metadata.update", "metadata.set"]),
    ("DELETE", "/files/{file_id}/metadata/{scope}/{template_key}", &["metadata.delete"]),
    ("GET", "/folders/{folder_id}/metadata", &["metadata.list"]),
    ("GET", "/folders/{folder_id}/metadata/{scope}/{template_key}", &["metadata.get", "metadata.on_folder"]),
    ("POST", "/folders/{folder_id}/metadata/{scope}/{template_key}", &["metadata.create", "metadata.set"]),
    ("PUT", "/folders/{folder_id}/metadata/{scope}/{template_key}", &["metadata.update", "metadata.set"]),
    ("DELETE", "/folders/{folder_id}/metadata/{scope}/{template_key}", &["metadata.delete"]),
    ("POST", "/metadata_queries/execute_read", &["metadata.query"]),
    ("POST", "/metadata_templates/schema", &["metadata_templates.create"]),
    ("GET", "/metadata_templates/{scope}/{template_key}/schema", &["metadata_templates.get"]),
    ("PUT", "/metadata_templates/{scope}/{template_key}/schema", &["metadata_templates.update"]),
    ("DELETE", "/metadata_templates/{scope}/{template_key}/schema", &["metadata_templates.delete"]),
    ("GET", "/metadata_templates/{template_id}", &["metadata_templates.get_by_id"]),
    ("GET", "/metadata_templates/enterprise", &["metadata_templates.list"]),
    ("GET", "/metadata_templates/global", &["metadata_templates.list_global"]),
    ("POST", "/metadata_cascade_policies", &["metadata_cascade_policies.create"]),
    ("GET", "/metadata_cascade_policies", &["metadata_cascade_policies.list"]),
    ("GET", "/metadata_cascade_policies/{metadata_cascade_policy_id}", &["metadata_cascade_policies.get"]),
    ("DELETE", "/metadata_cascade_policies/{metadata_cascade_policy_id}", &["metadata_cascade_policies.delete"]),
    ("POST", "/metadata_cascade_policies/{metadata_cascade_policy_id}/apply", &["metadata_cascade_policies.apply"]),
    ("POST", "/collaborations", &["collaborations.create"]),
    ("GET", "/collaborations", &["collaborations.pending"]),
    ("GET", "/collaborations/{collaboration_id}", &["collaborations.get"]),
    ("PUT", "/collaborations/{collaboration_id}", &["collaborations.update"]),
    ("DELETE", "/collaborations/{collaboration_id}", &["collaborations.delete"]),
    ("GET", "/files/{file_id}/collaborations", &["collaborations.list"]),
    ("GET", "/folders/{folder_id}/collaborations", &["collaborations.list"]),
    ("GET", "/users/me", &["users.me"]),
    ("GET", "/users/{user_id}", &["users.get"]),
    ("GET", "/users", &["users.list"]),
    ("POST", "/users", &["users.create"]),
    ("PUT", "/users/{user_id}", &["users.update"]),
    ("DELETE", "/users/{user_id}", &["users.delete"]),
    ("GET", "/users/{user_id}/memberships", &["groups.memberships_of"]),
    ("GET", "/groups", &["groups.list"]),
    ("POST", "/groups", &["groups.create"]),
    ("GET", "/groups/{group_id}", &["groups.get"]),
    ("PUT", "/groups/{group_id}", &["groups.update"]),
    ("DELETE", "/groups/{group_id}", &["groups.delete"]),
    ("GET", "/groups/{group_id}/collaborations", &["collaborations.of_group"]),
    ("GET", "/groups/{group_id}/memberships", &["groups.memberships"]),
    ("POST", "/group_memberships", &["groups.add_member"]),
    ("GET", "/group_memberships/{group_membership_id}", &["groups.membership"]),
    ("PUT", "/group_memberships/{group_membership_id}", &["groups.update_membership"]),
    ("DELETE", "/group_memberships/{group_membership_id}", &["groups.remove_member"]),
    ("GET", "/events", &["events.list"]),
    ("OPTIONS", "/events", &["events.long_poll_server"]),
    ("GET", "/search", &["search"]),
    ("POST", "/comments", &["comments.create"]),
    ("GET", "/files/{file_id}/comments", &["comments.list"]),
    ("GET", "/comments/{comment_id}", &["comments.get"]),
    ("PUT", "/comments/{comment_id}", &["comments.update"]),
    ("DELETE", "/comments/{comment_id}", &["comments.delete"]),
    ("POST", "/tasks", &["tasks.create"]),
    ("GET", "/files/{file_id}/tasks", &["tasks.list"]),
    ("GET", "/tasks/{task_id}", &["tasks.get"]),
    ("PUT", "/tasks/{task_id}", &["tasks.update"]),
    ("DELETE", "/tasks/{task_id}", &["tasks.delete"]),
    ("GET", "/tasks/{task_id}/assignments", &["tasks.assignments"]),
    ("POST", "/task_assignments", &["tasks.assign"]),
    ("GET", "/task_assignments/{task_assignment_id}", &["tasks.assignment"]),
    ("PUT", "/task_assignments/{task_assignment_id}", &["tasks.resolve"]),
    ("DELETE", "/task_assignments/{task_assignment_id}", &["tasks.unassign"]),
    ("POST", "/sign_requests", &["sign_requests.create"]),
    ("GET", "/sign_requests", &["sign_requests.list"]),
    ("GET", "/sign_requests/{sign_request_id}", &["sign_requests.get"]),
    ("POST", "/sign_requests/{sign_request_id}/cancel", &["sign_requests.cancel"]),
    ("POST", "/sign_requests/{sign_request_id}/resend", &["sign_requests.resend"]),
];

/// What a browser is sent to: this crate makes the address and no request.
const BUILT: &[(&str, &str, &str)] = &[("GET", "/authorize", "OAuth::authorize")];

/// Operations that send to no path of the document.
const ELSEWHERE: &[&str] = &["events.long_poll"];

#[test]
fn the_table_of_endpoints_is_complete_and_up_to_date() {
    let Some(path) = document() else { return };
    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (table, used) = table(&document);
    let unknown: Vec<_> = (0..TYPED.len())
        .filter(|row| !used.contains(row))
        .map(|row| (TYPED[row].0, TYPED[row].1))
        .collect();
    assert!(
        unknown.is_empty(),
        "rows that the document does not have: {unknown:?}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("ENDPOINTS.md");
    if std::env::var_os("UPDATE_ENDPOINTS").is_some() {
        fs::write(&file, &table).unwrap();
    }
    assert!(
        fs::read_to_string(&file).is_ok_and(|known| known == table),
        "ENDPOINTS.md is out of date: UPDATE_ENDPOINTS=1 cargo test -p box-client endpoints"
    );
}

#[test]
fn every_operation_of_the_crate_has_its_row() {
    let mut source = String::new();
    read(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut source,
    );
    let rows: BTreeSet<&str> = TYPED
        .iter()
        .flat_map(|(_, _, operations)| *operations)
        .copied()
        .collect();
    for operation in &rows {
        assert!(
            source.contains(&format!("\"{operation}\"")),
            "{operation} is in no code"
        );
    }
    let in_code: BTreeSet<&str> = ["Call::new(", "Call::to(", "Call::upload("]
        .iter()
        .flat_map(|start| source.split(start).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    let without: Vec<_> = in_code
        .iter()
        .filter(|operation| !rows.contains(*operation) && !ELSEWHERE.contains(operation))
        // Unit tests make calls of their own.
        .filter(|operation| operation.len() > 1)
        .collect();
    assert!(
        without.is_empty(),
        "operations to be given a row above: {without:?}"
    );
}

/// The table, and which rows it used.
fn table(document: &Value) -> (String, BTreeSet<usize>) {
    let mut chapters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut used, mut typed) = (BTreeSet::new(), 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let verb = verb.to_ascii_uppercase();
            let found = TYPED
                .iter()
                .position(|(method, template, _)| *method == verb && is(path, template));
            let call = match found {
                Some(row) => {
                    used.insert(row);
                    typed += 1;
                    TYPED[row]
                        .2
                        .iter()
                        .map(|it| format!("`{it}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                }
                None => match BUILT.iter().find(|it| it.0 == verb && it.1 == path) {
                    Some((_, _, method)) => {
                        typed += 1;
                        format!("`{method}`")
                    }
                    None => "raw".to_owned(),
                },
            };
            let summary = operation["summary"]
                .as_str()
                .unwrap_or_default()
                .replace('|', "\\|");
            let chapter = operation["tags"][0].as_str().unwrap_or("Other");
            let row = format!("| `{verb} {path}` | {summary} | {call} |");
            chapters.entry(chapter).or_default().push(row);
        }
    }
    let all: usize = chapters.values().map(Vec::len).sum();
    let paths = document["paths"].as_object().unwrap().len();
    let mut text = format!(
        "# Endpoints\n\n\
         Every endpoint of Box's OpenAPI document (version {}), and the operation of this crate that\n\
         sends it, as errors and spans name it: `folders.get` is `client.folders().get(…)`. What is raw\n\
         goes through `BoxClient::request` with the same token, retries and errors. Of {all} on {paths}\n\
         paths, {typed} are typed. A `#` marks another use of the same endpoint.\n\n\
         This file is written and checked by `tests/it/endpoints.rs`.\n",
        document["info"]["version"].as_str().unwrap_or_default(),
    );
    for (chapter, mut rows) in chapters {
        rows.sort();
        write!(
            text,
            "\n## {chapter}\n\n| endpoint | | operation |\n| --- | --- | --- |\n"
        )
        .unwrap();
        for row in rows {
            writeln!(text, "{row}").unwrap();
        }
    }
    (text, used)
}

/// Variants after a `#` are the same endpoint. Of metadata, paths with a template's key in them
/// are too.
pub(crate) fn is(path: &str, template: &str) -> bool {
    let path = path.split('#').next().unwrap_or_default();
    if path == template {
        return true;
    }
    let (given, wanted): (Vec<_>, Vec<_>) =
        (path.split('/').collect(), template.split('/').collect());
    template.contains("{scope}")
        && given.len() == wanted.len()
        && given.iter().zip(wanted).all(|(given, wanted)| {
            *given == wanted || wanted == "{scope}" || wanted == "{template_key}"
        })
}

pub(crate) fn read(folder: PathBuf, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("testing") {
                read(path, into);
            }
        } else {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
