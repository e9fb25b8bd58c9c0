//! A search that knows names and templates, and has no delay.

use serde_json::Value;

use super::{
    answer::{Outcome, Refused},
    items::Item,
    pages,
    state::{State, Visit},
    view,
};

/// `GET /search`
pub(super) fn find(visit: &mut Visit<'_>) -> Outcome {
    let head = visit.head;
    let list = |name: &str| {
        let values = head.query(name).unwrap_or_default().split(',');
        let values = values.filter(|value| !value.is_empty());
        values.map(str::to_lowercase).collect::<Vec<_>>()
    };
    let query = head.query("query").unwrap_or_default();
    if query.is_empty() && head.query("mdfilters").is_none() {
        return Err(Refused::missing("query"));
    }
    let words: Vec<String> = query
        .split(|c: char| c.is_whitespace() || c == '"')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let filters = filters(head.query("mdfilters"))?;
    let (kind, folders) = (head.query("type"), list("ancestor_folder_ids"));
    let (owners, extensions) = (list("owner_user_ids"), list("file_extensions"));
    let trash = head.query("trash_content").unwrap_or("non_trashed_only");
    let state = &*visit.state;
    if let Some(unknown) = folders.iter().find(|id| state.tree.get(id).is_none()) {
        return Err(Refused::not_found("ancestor_folder_ids", unknown));
    }
    let wanted = |item: &&Item| {
        let name = item.name.to_lowercase();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let trashed = item.trashed_at.is_some();
        let chain = state.tree.chain(&item.id);
        item.parent.is_some()
            && words.iter().all(|word| name.contains(word.as_str()))
            && kind.is_none_or(|kind| item.type_name() == kind)
            && (folders.is_empty() || chain[1..].iter().any(|id| folders.contains(id)))
            && (owners.is_empty() || owners.contains(&item.created_by.id))
            && (extensions.is_empty() || extensions.iter().any(|it| it == extension))
            && (trash == "all_items" || trashed == (trash == "trashed_only"))
            && filters.iter().all(|filter| meets(state, item, filter))
    };
    let found = state.tree.all().filter(wanted);
    let fields = visit.fields();
    let all: Vec<Value> = found
        .map(|item| view::item(&state.tree, item, &fields))
        .collect();
    pages::by_offset(head, &all, 30, 200)
}

fn filters(given: Option<&str>) -> Result<Vec<Value>, Refused> {
    let Some(text) = given else {
        return Ok(Vec::new());
    };
    let filters: Vec<Value> =
        serde_json::from_str(text).map_err(|_| Refused::parameter("mdfilters", "an array"))?;
    if filters.len() > 1 {
        return Err(Refused::parameter("mdfilters", "one filter only"));
    }
    Ok(filters)
}

fn meets(state: &State, item: &Item, filter: &Value) -> bool {
    let text = |name: &str| filter[name].as_str().unwrap_or_default();
    let slot = (
        state.full_scope(text("scope")),
        text("templateKey").to_owned(),
    );
    let Some(instance) = item.metadata.get(&slot) else {
        return false;
    };
    let mut wanted = filter["filters"].as_object().into_iter().flatten();
    wanted.all(|(key, value)| instance.value(key) == Some(value))
}
