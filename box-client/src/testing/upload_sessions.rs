//! Uploads in parts.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    content::{Content, KEPT, hex},
    items::Stored,
    listing::number,
    state::{Visit, text},
    upload::{Received, content_times, uploaded},
};

const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What has arrived of an upload.
pub(super) struct Session {
    /// None for a new file.
    file: Option<String>,
    folder: String,
    name: Option<String>,
    size: u64,
    part_size: u64,
    expires_at: Timestamp,
    /// By offset.
    parts: BTreeMap<u64, Part>,
    hash: Sha1,
    /// Up to where `hash` has seen the content.
    hashed: u64,
    /// None when they are not to be kept.
    kept: Option<Vec<u8>>,
}

struct Part {
    id: String,
    size: u64,
    sha1: String,
    /// Until all before it have been hashed.
    waiting: Option<Bytes>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("size", &self.size)
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

/// `POST /api/2.0/files/upload_sessions`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let refuse = |code, message: &str| Err(Refused::new(400, code, message));
    let Some(folder) = text(&body, "/folder_id") else {
        return refuse("missing_destination", "'folder_id' is required");
    };
    let Some(name) = text(&body, "/file_name") else {
        return refuse("missing_file_name", "'file_name' is required");
    };
    let size = file_size(visit, &body)?;
    visit.state.check_new_name(folder, name, false)?;
    open(visit, None, folder, Some(name), size)
}

/// `POST /api/2.0/files/{id}/upload_sessions`
pub(super) fn create_version(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let size = file_size(visit, &body)?;
    visit.state.tree.file(id)?;
    open(visit, Some(id), "", text(&body, "/file_name"), size)
}

/// `GET /api/2.0/files/upload_sessions/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    find(visit, id)?;
    Ok(Answer::json(200, &shown(visit, id)?))
}

/// `DELETE /api/2.0/files/upload_sessions/{id}`
pub(super) fn abort(visit: &mut Visit<'_>, id: &str) -> Outcome {
    find(visit, id)?;
    visit.state.upload_sessions.remove(id);
    Ok(Answer::empty(204))
}

/// `GET /api/2.0/files/upload_sessions/{id}/parts`
pub(super) fn parts(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let limit = number(visit.head, "limit", 100, 1000)?;
    let offset = number(visit.head, "offset", 0, u64::MAX)?;
    let session = find(visit, id)?;
    let page = session.parts.iter();
    let page = page.skip(offset as usize).take(limit as usize);
    let entries: Vec<Value> = page.map(|(at, part)| part.json(*at)).collect();
    let body = json!({
        "total_count": session.parts.len(),
        "entries": entries,
        "limit": limit,
        "offset": offset,
        "order": [{ "by": "offset", "direction": "ASC" }],
    });
    Ok(Answer::json(200, &body))
}

/// `PUT /api/2.0/files/upload_sessions/{id}`
pub(super) fn put(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let promised = digest(visit)?;
    let range = visit.head.header("content-range").unwrap_or_default();
    let range = content_range(range).ok_or_else(|| out_of_range("Content-Range is not one"))?;
    let content_type = visit.head.content_type();
    if content_type.as_deref() != Some("application/octet-stream") {
        let message = "Content-Type must be application/octet-stream";
        return Err(Refused::new(415, "unsupported_media_type", message));
    }
    let Received::Bytes(bytes) = visit.body else {
        return Err(Refused::bad_request("The part has no bytes"));
    };
    let bytes = bytes.clone();
    let part_id = visit.state.ids.secret()[..8].to_uppercase();
    let session = find_mut(visit, id)?;
    let [first, last, total] = range;
    let fits = total == session.size
        && first.is_multiple_of(session.part_size)
        && last < session.size
        && bytes.len() as u64 == last - first + 1
        && bytes.len() as u64 == session.part_size.min(session.size - first);
    if !fits {
        return Err(out_of_range("The range is not one of the session's parts"));
    }
    if session.parts.contains_key(&first) {
        let message = "The range overlaps one that was uploaded";
        return Err(Refused::new(409, "range_overlaps_existing_range", message));
    }
    let sha1 = Sha1::digest(&bytes);
    if sha1[..] != promised[..] {
        return Err(Refused::new(
            412,
            "precondition_failed",
            "The digest is another",
        ));
    }
    let part = Part {
        id: part_id,
        size: bytes.len() as u64,
        sha1: hex(&sha1),
        waiting: Some(bytes),
    };
    let answer = json!({ "part": part.json(first) });
    session.parts.insert(first, part);
    session.advance();
    Ok(Answer::json(200, &answer))
}

/// `POST /api/2.0/files/upload_sessions/{id}/commit`
pub(super) fn commit(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let promised = digest(visit)?;
    let body = visit.json()?;
    let listed = body["parts"].as_array().cloned().unwrap_or_default();
    let session = find(visit, id)?;
    let is_part = |listed: &Value| {
        let at = listed["offset"].as_u64().unwrap_or(u64::MAX);
        let part = session.parts.get(&at);
        part.is_some_and(|part| {
            listed["part_id"] == part.id.as_str() && listed["size"] == part.size
        })
    };
    if !listed.iter().all(is_part) || listed.len() != session.parts.len() {
        let message = "The parts are not those of the session";
        return Err(Refused::new(400, "invalid_parts", message));
    }
    if session.hashed != session.size {
        let message = "There are parts missing";
        return Err(Refused::new(400, "parts_missing", message));
    }
    let sha1 = session.hash.clone().finalize();
    if sha1[..] != promised[..] {
        return Err(Refused::new(
            412,
            "precondition_failed",
            "The digest is another",
        ));
    }
    let content = match &session.kept {
        Some(kept) => Content::Kept(kept.clone().into()),
        None => Content::Forgotten { size: session.size },
    };
    let stored = Stored {
        content: Arc::new(content),
        sha1: hex(&sha1),
    };
    let times = content_times(&body["attributes"])?;
    let (actor, folder) = (visit.actor.clone(), session.folder.clone());
    let (file, name) = (session.file.clone(), session.name.clone());
    let file = match file {
        None => {
            let name = name.unwrap_or_default();
            visit
                .state
                .add_file(&actor, &folder, &name, stored, times)?
                .0
        }
        Some(file) => {
            let item = visit.state.tree.live("file", &file)?;
            item.require(visit.if_match())?;
            let name = name.as_deref();
            visit
                .state
                .add_version(&actor, &file, name, stored, times)?;
            file
        }
    };
    visit.state.upload_sessions.remove(id);
    uploaded(visit, &file)
}

impl Session {
    pub(super) fn json(&self, id: &str) -> Value {
        json!({ "id": id, "file_size": self.size, "parts": self.parts.keys().collect::<Vec<_>>() })
    }

    /// Hashes what has come without a gap, and lets go of it.
    fn advance(&mut self) {
        while let Some(part) = self.parts.get_mut(&self.hashed)
            && let Some(bytes) = part.waiting.take()
        {
            self.hash.update(&bytes);
            self.hashed += bytes.len() as u64;
            if let Some(kept) = &mut self.kept {
                kept.extend_from_slice(&bytes);
            }
        }
    }
}

impl Part {
    fn json(&self, offset: u64) -> Value {
        json!({ "part_id": self.id, "offset": offset, "size": self.size, "sha1": self.sha1 })
    }
}

fn open(
    visit: &mut Visit<'_>,
    file: Option<&str>,
    folder: &str,
    name: Option<&str>,
    size: u64,
) -> Outcome {
    let id = visit.state.ids.secret().to_uppercase();
    let keeps = visit.state.config.keep_bytes && size <= KEPT;
    let session = Session {
        file: file.map(str::to_owned),
        folder: folder.to_owned(),
        name: name.map(str::to_owned),
        size,
        part_size: visit.state.config.part_size,
        expires_at: Timestamp::now()
            .saturating_add(LIFETIME)
            .unwrap_or(Timestamp::MAX),
        parts: BTreeMap::new(),
        hash: Sha1::new(),
        hashed: 0,
        kept: keeps.then(Vec::new),
    };
    visit.state.upload_sessions.insert(id.clone(), session);
    Ok(Answer::json(201, &shown(visit, &id)?))
}

fn file_size(visit: &Visit<'_>, body: &Value) -> Result<u64, Refused> {
    let refuse = |code, message: &str| Err(Refused::new(400, code, message));
    match body.get("file_size").map(Value::as_u64) {
        None => refuse("missing_file_size", "'file_size' is required"),
        Some(None) => refuse("invalid_file_size", "'file_size' is no size"),
        Some(Some(size)) if size < visit.state.config.smallest_session => {
            refuse("file_size_too_small", "The file is too small for parts")
        }
        Some(Some(size)) => Ok(size),
    }
}

fn find<'a>(visit: &'a Visit<'_>, id: &str) -> Result<&'a Session, Refused> {
    let session = visit.state.upload_sessions.get(id);
    let session = session.ok_or_else(|| Refused::not_found("upload_session", id))?;
    if session.expires_at <= Timestamp::now() {
        return Err(Refused::new(
            410,
            "session_expired",
            "The session has expired",
        ));
    }
    Ok(session)
}

fn find_mut<'a>(visit: &'a mut Visit<'_>, id: &str) -> Result<&'a mut Session, Refused> {
    find(visit, id)?;
    let session = visit.state.upload_sessions.get_mut(id);
    session.ok_or_else(|| Refused::not_found("upload_session", id))
}

fn shown(visit: &Visit<'_>, id: &str) -> Result<Value, Refused> {
    let session = find(visit, id)?;
    let at = format!("{}/api/2.0/files/upload_sessions/{id}", visit.url);
    Ok(json!({
        "id": id,
        "type": "upload_session",
        "session_expires_at": stamp(session.expires_at),
        "part_size": session.part_size,
        "total_parts": session.size.div_ceil(session.part_size),
        "num_parts_processed": session.parts.len(),
        "session_endpoints": {
            "upload_part": at,
            "commit": format!("{at}/commit"),
            "abort": at,
            "list_parts": format!("{at}/parts"),
            "status": at,
            "log_event": format!("{at}/log"),
        },
    }))
}

/// `Digest: sha=…`
fn digest(visit: &Visit<'_>) -> Result<Vec<u8>, Refused> {
    let header = visit.head.header("digest").unwrap_or_default();
    let sha1 = header
        .strip_prefix("sha=")
        .and_then(|text| STANDARD.decode(text).ok());
    sha1.filter(|sha1| sha1.len() == 20)
        .ok_or_else(|| Refused::new(400, "invalid_digest", "Digest is not one of SHA-1"))
}

/// First, last and total of `bytes 0-4/10`.
fn content_range(text: &str) -> Option<[u64; 3]> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = [first.parse().ok()?, last.parse().ok()?, total.parse().ok()?];
    (range[0] <= range[1]).then_some(range)
}

fn out_of_range(message: &str) -> Refused {
    Refused::new(416, "requested_range_not_satisfiable", message)
}
