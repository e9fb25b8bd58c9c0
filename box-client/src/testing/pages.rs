//! Pages of any list, by offset or by marker.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome},
    head::Head,
    listing::{marker, number, read_marker},
};

/// Box refuses to skip more than this.
const DEEPEST_OFFSET: u64 = 10_000;

pub(super) fn by_offset(head: &Head, all: &[Value], default: u64, most: u64) -> Outcome {
    let limit = number(head, "limit", default, most)?;
    let offset = number(head, "offset", 0, DEEPEST_OFFSET)?;
    let page = all.iter().skip(offset as usize).take(limit as usize);
    Ok(Answer::json(
        200,
        &json!({
            "total_count": all.len(),
            "entries": page.collect::<Vec<_>>(),
            "offset": offset,
            "limit": limit,
        }),
    ))
}

pub(super) fn by_marker(head: &Head, all: &[Value], default: u64, most: u64) -> Outcome {
    let limit = number(head, "limit", default, most)?;
    let from = head.query("marker").filter(|marker| !marker.is_empty());
    let from = from.map_or(Ok(0), read_marker::<usize>)?;
    Ok(Answer::json(200, &marked(all, from, limit as usize)))
}

/// The last page has no marker at all.
pub(super) fn marked(all: &[Value], from: usize, limit: usize) -> Value {
    let page: Vec<&Value> = all.iter().skip(from).take(limit).collect();
    let next = from + page.len();
    let mut body = json!({ "entries": page, "limit": limit });
    if next < all.len() {
        body["next_marker"] = marker(&next).into();
    }
    body
}
