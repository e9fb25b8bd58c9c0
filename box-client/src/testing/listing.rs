//! Listings of folders and their pages.

use std::cmp::Ordering;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    answer::Refused,
    head::Head,
    items::{Item, ROOT, Tree},
    view::{self, Fields},
};

/// Box refuses to skip more than this.
const DEEPEST_OFFSET: u64 = 10_000;

/// Items are sorted by type first, then by what was asked, then by id.
type Key = (u8, String, String);

#[derive(Clone, Copy)]
struct Sort<'a> {
    by: &'a str,
    descending: bool,
}

impl Sort<'_> {
    const BY_NAME: Self = Self {
        by: "name",
        descending: false,
    };

    /// Folders come before files either way.
    fn compare(self, one: &Key, other: &Key) -> Ordering {
        let within = (&one.1, &one.2).cmp(&(&other.1, &other.2));
        one.0.cmp(&other.0).then(if self.descending {
            within.reverse()
        } else {
            within
        })
    }

    fn key(self, item: &Item) -> Key {
        let by = match self.by {
            "id" => format!("{:0>20}", item.id),
            "date" => format!("{:0>20}", item.modified_at.as_microsecond()),
            "size" => {
                let size = item
                    .as_file()
                    .map_or(0, |file| file.current.stored.content.size());
                format!("{size:0>20}")
            }
            _ => item.name.to_lowercase(),
        };
        (u8::from(!item.is_folder()), by, item.id.clone())
    }
}

/// The first items of a folder, as its own answer holds them.
pub(super) fn collection(tree: &Tree, folder: &str) -> Value {
    by_offset(tree, folder, Sort::BY_NAME, 0, 100, &Fields::mini())
}

/// `GET /folders/{id}/items`
pub(super) fn items(tree: &Tree, folder: &str, head: &Head) -> Result<Value, Refused> {
    let limit = number(head, "limit", 100, 1000)?;
    let descending = head
        .query("direction")
        .is_some_and(|d| d.eq_ignore_ascii_case("desc"));
    let sort = Sort {
        by: head.query("sort").unwrap_or("name"),
        descending,
    };
    if !["id", "name", "date", "size"].contains(&sort.by) {
        return Err(Refused::parameter("sort", "one of id, name, date, size"));
    }
    let fields = Fields::read(head.query("fields")).or_mini();
    if head.query("usemarker") != Some("true") {
        let offset = number(head, "offset", 0, DEEPEST_OFFSET)?;
        return Ok(by_offset(tree, folder, sort, offset, limit, &fields));
    }
    if folder == ROOT && head.query("sort").is_some() {
        return Err(Refused::parameter(
            "sort",
            "not supported with markers on the root folder",
        ));
    }
    let mut rest = sorted(tree, folder, sort);
    if let Some(marker) = head.query("marker").filter(|marker| !marker.is_empty()) {
        let after: Key = read_marker(marker)?;
        rest.retain(|(key, _)| sort.compare(key, &after).is_gt());
    }
    let page = &rest[..rest.len().min(limit as usize)];
    let next = page
        .last()
        .filter(|_| page.len() < rest.len())
        .map(|(key, _)| marker(key));
    Ok(json!({
        "entries": page.iter().map(|(_, item)| view::item(tree, item, &fields)).collect::<Vec<_>>(),
        "limit": limit,
        "next_marker": next.unwrap_or_default(),
    }))
}

/// `GET /folders/trash/items`, by id.
pub(super) fn trash(tree: &Tree, head: &Head) -> Result<Value, Refused> {
    let limit = number(head, "limit", 100, 1000)?;
    let fields = Fields::read(head.query("fields")).or_mini();
    let mut all: Vec<&Item> = tree.all_trashed().collect();
    let mut next = None;
    if head.query("usemarker") == Some("true") {
        if let Some(marker) = head.query("marker").filter(|marker| !marker.is_empty()) {
            let after: String = read_marker(marker)?;
            all.retain(|item| item.id > after);
        }
        let last = all.get((limit as usize).saturating_sub(1));
        next = last
            .filter(|_| all.len() > limit as usize)
            .map(|item| marker(&item.id));
    } else {
        let offset = number(head, "offset", 0, DEEPEST_OFFSET)? as usize;
        all.drain(..offset.min(all.len()));
    }
    all.truncate(limit as usize);
    Ok(json!({
        "entries": all.iter().map(|item| view::item(tree, item, &fields)).collect::<Vec<_>>(),
        "limit": limit,
        "next_marker": next.unwrap_or_default(),
    }))
}

/// A query parameter that is a number up to `most`.
pub(super) fn number(head: &Head, name: &str, default: u64, most: u64) -> Result<u64, Refused> {
    let Some(text) = head.query(name) else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| Refused::parameter(name, format!("a number of at most {most}")))
}

/// A place in a list, opaque to the client.
pub(super) fn marker(key: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default())
}

pub(super) fn read_marker<T: DeserializeOwned>(marker: &str) -> Result<T, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Refused::parameter("marker", "Invalid marker"))
}

fn sorted<'a>(tree: &'a Tree, folder: &str, sort: Sort<'_>) -> Vec<(Key, &'a Item)> {
    let children = tree.children(folder);
    let mut items: Vec<_> = children
        .iter()
        .filter_map(|id| tree.get(id))
        .map(|item| (sort.key(item), item))
        .collect();
    items.sort_by(|(one, _), (other, _)| sort.compare(one, other));
    items
}

fn by_offset(
    tree: &Tree,
    folder: &str,
    sort: Sort<'_>,
    offset: u64,
    limit: u64,
    fields: &Fields,
) -> Value {
    let all = sorted(tree, folder, sort);
    let page = all.iter().skip(offset as usize).take(limit as usize);
    json!({
        "total_count": all.len(),
        "entries": page.map(|(_, item)| view::item(tree, item, fields)).collect::<Vec<_>>(),
        "offset": offset,
        "limit": limit,
        "order": [
            { "by": "type", "direction": "ASC" },
            { "by": sort.by, "direction": if sort.descending { "DESC" } else { "ASC" } },
        ],
    })
}
