//! The streams of events, and the long poll that tells of new ones.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    head::Head,
    listing::number,
    people::User,
    server::Inner,
    state::{State, Visit},
};

/// Of older events, the oldest are forgotten first.
const KEPT: usize = 100_000;
/// Position 0 means the oldest kept, so no event has it.
const FIRST: u64 = 1;

/// Webhook trigger, user's event type, enterprise's event type.
const NAMES: &[(&str, &str, &str)] = &[
    ("FILE.UPLOADED", "ITEM_UPLOAD", "UPLOAD"),
    ("FILE.PREVIEWED", "ITEM_PREVIEW", "PREVIEW"),
    ("FILE.DOWNLOADED", "ITEM_DOWNLOAD", "DOWNLOAD"),
    ("FILE.MOVED", "ITEM_MOVE", "MOVE"),
    ("FILE.RENAMED", "ITEM_RENAME", "RENAME"),
    ("FILE.COPIED", "ITEM_COPY", "COPY"),
    ("FILE.LOCKED", "LOCK_CREATE", "LOCK"),
    ("FILE.UNLOCKED", "LOCK_DESTROY", "UNLOCK"),
    ("FILE.TRASHED", "ITEM_TRASH", "DELETE"),
    ("FILE.RESTORED", "ITEM_UNDELETE_VIA_TRASH", "UNDELETE"),
    ("FOLDER.CREATED", "ITEM_CREATE", "UPLOAD"),
    ("FOLDER.MOVED", "ITEM_MOVE", "MOVE"),
    ("FOLDER.RENAMED", "ITEM_RENAME", "RENAME"),
    ("FOLDER.COPIED", "ITEM_COPY", "COPY"),
    ("FOLDER.TRASHED", "ITEM_TRASH", "DELETE"),
    ("FOLDER.RESTORED", "ITEM_UNDELETE_VIA_TRASH", "UNDELETE"),
    (
        "COLLABORATION.CREATED",
        "COLLAB_INVITE_COLLABORATOR",
        "COLLABORATION_INVITE",
    ),
    (
        "COLLABORATION.ACCEPTED",
        "COLLAB_ADD_COLLABORATOR",
        "COLLABORATION_ACCEPT",
    ),
    (
        "COLLABORATION.REMOVED",
        "COLLAB_REMOVE_COLLABORATOR",
        "COLLABORATION_REMOVE",
    ),
    (
        "COLLABORATION.UPDATED",
        "COLLAB_ROLE_CHANGE",
        "COLLABORATION_ROLE_CHANGE",
    ),
    ("METADATA_INSTANCE.CREATED", "", "METADATA_INSTANCE_CREATE"),
    ("METADATA_INSTANCE.UPDATED", "", "METADATA_INSTANCE_UPDATE"),
    ("METADATA_INSTANCE.DELETED", "", "METADATA_INSTANCE_DELETE"),
    ("SIGN_REQUEST.COMPLETED", "", "SIGN_DOCUMENT_COMPLETED"),
    ("COMMENT.CREATED", "COMMENT_CREATE", "COMMENT_CREATE"),
];

/// What `changes` and `sync` leave out.
const LOOKING: &[&str] = &["ITEM_PREVIEW", "ITEM_DOWNLOAD"];

#[derive(Debug, Default)]
pub(super) struct EventLog {
    events: VecDeque<Logged>,
    forgotten: u64,
}

#[derive(Debug)]
struct Logged {
    at: Timestamp,
    user_type: &'static str,
    user: Value,
    enterprise_type: &'static str,
    enterprise: Value,
}

impl EventLog {
    /// The position after all events.
    pub(super) fn end(&self) -> u64 {
        FIRST + self.forgotten + self.events.len() as u64
    }
}

impl State {
    pub(super) fn log(&mut self, trigger: &str, actor: &User, source: &Value, info: &Value) {
        let Some((_, user_type, enterprise_type)) =
            NAMES.iter().copied().find(|(name, ..)| *name == trigger)
        else {
            return;
        };
        let at = self.now();
        // A collaboration's events are about its item, as are a comment's.
        let item = match source["type"].as_str() {
            Some("collaboration" | "comment") => &source["item"],
            _ => source,
        };
        let event = |id: &str, event_type: &str, source: Value| {
            json!({
                "type": "event",
                "event_id": id,
                "event_type": event_type,
                "created_at": stamp(at),
                "created_by": actor.mini(),
                "session_id": null,
                "source": source,
            })
        };
        let named = match item {
            Value::Null => Value::Null,
            item => json!({
                "item_type": item["type"],
                "item_id": item["id"],
                "item_name": item["name"],
                "parent": item["parent"],
                "owned_by": User::service_account().mini(),
            }),
        };
        let id = self.ids.uuid();
        let mut user = event(&id, user_type, item.clone());
        user["recorded_at"] = stamp(at).into();
        let mut enterprise = event(&id, enterprise_type, named);
        enterprise["additional_details"] = match trigger {
            "SIGN_REQUEST.COMPLETED" => {
                let mut request = info.clone();
                request["files"] = json!([{
                    "id": source["id"], "name": source["name"], "parent": source["parent"],
                }]);
                json!({ "sign_request": request })
            }
            _ => json!({ "version_id": source.pointer("/file_version/id") }),
        };
        let log = &mut self.log;
        if log.events.len() == KEPT {
            log.events.pop_front();
            log.forgotten += 1;
        }
        log.events.push_back(Logged {
            at,
            user_type,
            user,
            enterprise_type,
            enterprise,
        });
    }
}

/// `GET /events`
pub(super) fn list(visit: &mut Visit<'_>) -> Outcome {
    let (head, log) = (visit.head, &visit.state.log);
    let stream = head.query("stream_type").unwrap_or("all");
    let enterprise = match stream {
        "all" | "changes" | "sync" => false,
        "admin_logs" | "admin_logs_streaming" => true,
        _ => return Err(Refused::parameter("stream_type", "no such stream")),
    };
    let limit = number(head, "limit", 100, u64::MAX)?.clamp(1, 500);
    let time = |name: &str| match head.query(name).filter(|_| stream == "admin_logs") {
        Some(text) => text
            .parse::<Timestamp>()
            .map(Some)
            .map_err(|_| Refused::parameter(name, "a date and time")),
        None => Ok(None),
    };
    let (after, before) = (time("created_after")?, time("created_before")?);
    let types: Vec<&str> = head
        .query("event_type")
        .filter(|_| enterprise)
        .map_or_else(Vec::new, |types| types.split(',').collect());
    let from = match head.query("stream_position").unwrap_or("0") {
        "now" => log.end(),
        "" => FIRST,
        text => {
            let position = text.parse::<u64>();
            let position = position.map_err(|_| {
                Refused::parameter("stream_position", "a position that this endpoint gave")
            })?;
            position.clamp(FIRST + log.forgotten, log.end())
        }
    };
    // At least once: what was last is told again.
    let repeated = u64::from(visit.state.config.repeat_events && from > FIRST + log.forgotten);
    let repeated = if from < log.end() { repeated } else { 0 };
    let skipped = from - FIRST - log.forgotten - repeated;
    let mut next = from - repeated;
    let mut entries = Vec::new();
    for logged in log.events.iter().skip(skipped as usize) {
        if entries.len() as u64 == limit + repeated {
            break;
        }
        next += 1;
        let (event_type, event) = match enterprise {
            true => (logged.enterprise_type, &logged.enterprise),
            false => (logged.user_type, &logged.user),
        };
        let looking = LOOKING.contains(&event_type) && ["changes", "sync"].contains(&stream);
        if event_type.is_empty()
            || looking
            || !types.is_empty() && !types.contains(&event_type)
            || after.is_some_and(|after| logged.at <= after)
            || before.is_some_and(|before| logged.at >= before)
        {
            continue;
        }
        entries.push(event.clone());
    }
    // Text in one stream, a number in the other: both occur.
    let next = match enterprise {
        true => Value::from(next.to_string()),
        false => Value::from(next),
    };
    Ok(Answer::json(
        200,
        &json!({
            "chunk_size": entries.len(),
            "next_stream_position": next,
            "entries": entries,
        }),
    ))
}

/// `OPTIONS /events`
pub(super) fn servers(visit: &mut Visit<'_>) -> Outcome {
    let timeout = visit.state.config.long_poll_timeout.as_secs_f64().ceil();
    let channel = visit.state.ids.uuid();
    Ok(Answer::json(
        200,
        &json!({
            "chunk_size": 1,
            "entries": [{
                "type": "realtime_server",
                "url": format!("{}/realtime/subscribe?channel={channel}&stream_type=all", visit.url),
                "ttl": "10",
                "max_retries": "10",
                "retry_timeout": timeout as u64,
            }],
        }),
    ))
}

/// Holds a long poll until there is something new, or its time is over.
pub(super) async fn wait(inner: &Arc<Inner>, head: &Head) {
    let mut logged = inner.logged.subscribe();
    let patience: Duration = inner.config.long_poll_timeout;
    let known = position(head).unwrap_or(u64::MAX);
    let news = logged.wait_for(|end| *end > known);
    // Out of time is answered like news, with what is there.
    let _ = timeout(patience, news).await;
}

/// `GET` of the URL that [`servers`] gave: another host at Box, which must see no token.
pub(super) fn realtime(state: &State, head: &Head) -> Outcome {
    if head.header("authorization").is_some() {
        return Err(Refused::bad_request("this host takes no token"));
    }
    let news = position(head).is_none_or(|known| known < state.log.end());
    let message = if news { "new_change" } else { "reconnect" };
    Ok(Answer::json(
        200,
        &json!({ "version": 1, "message": message }),
    ))
}

fn position(head: &Head) -> Option<u64> {
    head.query("stream_position")?.parse().ok()
}
