//! Downscoped tokens: what they are made from, and what they are good for.

use serde_json::{Value, json};

use super::{
    answer::{Outcome, Refused},
    head::Head,
    oauth::{Form, grant},
    state::State,
    view,
};

const RESOURCES: &str = "https://api.box.com/2.0/";

const KNOWN: &[&str] = &[
    "root_readonly",
    "root_readwrite",
    "base_explorer",
    "base_picker",
    "base_preview",
    "base_sidebar",
    "base_upload",
    "item_delete",
    "item_download",
    "item_preview",
    "item_rename",
    "item_share",
    "item_upload",
    "annotation_edit",
    "annotation_view_all",
    "annotation_view_self",
];

/// What a downscoped token is good for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limits {
    scopes: Vec<String>,
    /// Type and id of the item, with all that is in it.
    item: Option<(&'static str, String)>,
}

/// `urn:ietf:params:oauth:grant-type:token-exchange`
pub(super) fn token(state: &mut State, form: &Form) -> Outcome {
    let invalid = |error, description| Refused::oauth(error, description);
    let subject_type = form.value("subject_token_type");
    let (resource, link) = (form.value("resource"), form.value("box_shared_link"));
    if subject_type != "urn:ietf:params:oauth:token-type:access_token"
        || !(resource.is_empty() || link.is_empty())
    {
        return Err(invalid("invalid_request", "Invalid parameter"));
    }
    let subject = form.value("subject_token");
    let mut holder = state
        .bearer(subject)
        .map_err(|_| invalid("invalid_grant", "The subject token is invalid"))?;
    let scopes: Vec<String> = form
        .value("scope")
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    let wider = |scope: &String| {
        !KNOWN.contains(&scope.as_str())
            || holder
                .limits
                .as_ref()
                .is_some_and(|l| !l.scopes.contains(scope))
    };
    if scopes.is_empty() || scopes.iter().any(wider) {
        return Err(invalid("invalid_scope", "The scope is invalid"));
    }
    let bad_resource = || invalid("invalid_resource", "The resource is invalid");
    let item = match (resource, link) {
        ("", "") => holder
            .limits
            .as_ref()
            .and_then(|limits| limits.item.clone()),
        // This Box has no shared links.
        ("", _) => return Err(bad_resource()),
        (url, _) => Some(named(state, url).ok_or_else(bad_resource)?),
    };
    let object = item
        .as_ref()
        .and_then(|(_, id)| state.tree.get(id))
        .map(|item| view::mini(&state.tree, item));
    let restricted: Vec<Value> = scopes
        .iter()
        .map(|scope| match &object {
            Some(object) => json!({ "scope": scope, "object": object }),
            None => json!({ "scope": scope }),
        })
        .collect();
    holder.limits = Some(Limits { scopes, item });
    let access = state.issue_within(holder, subject);
    Ok(grant(state, &access, None, restricted))
}

impl Limits {
    /// Whether a request may be made. Of an upload only the scope is looked at.
    pub(super) fn allow(&self, state: &State, head: &Head, path: &[&str]) -> Result<(), Refused> {
        let refused = Refused::insufficient_scope;
        let reached = match (&self.item, path) {
            (None, _) | (Some(("folder", _)), ["api", "2.0", "files", "content"]) => true,
            (
                Some((_, limit)),
                ["2.0", "files" | "folders", id, ..] | ["api", "2.0", "files", id, ..],
            ) => state.tree.chain(id).contains(limit),
            _ => false,
        };
        let needed: &[&str] = match (head.method.as_str(), path) {
            ("GET", ["2.0", "files", _, "content"]) => &["item_download", "base_explorer"],
            ("GET", _) => &[],
            ("POST", ["api", ..]) => &["item_upload", "base_upload", "base_explorer"],
            ("DELETE", ["2.0", "files" | "folders", _]) => &["item_delete", "base_explorer"],
            ("PUT", ["2.0", "files" | "folders", _]) => &["item_rename", "base_explorer"],
            _ => &["root_readwrite"],
        };
        let has = |scope: &str| self.scopes.iter().any(|own| own == scope);
        let granted = needed.is_empty()
            || has("root_readwrite")
            || (head.method == "GET" && has("root_readonly"))
            || needed.iter().any(|scope| has(scope));
        (reached && granted).then_some(()).ok_or_else(refused)
    }
}

fn named(state: &State, url: &str) -> Option<(&'static str, String)> {
    let (kind, id) = url.strip_prefix(RESOURCES)?.split_once('/')?;
    let kind = match kind {
        "files" => "file",
        "folders" => "folder",
        _ => return None,
    };
    state.tree.live(kind, id).ok()?;
    Some((kind, id.to_owned()))
}
