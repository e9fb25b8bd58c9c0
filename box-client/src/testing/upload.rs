//! Uploads: the body as it arrives, and what becomes of it.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{
    answer::{Answer, Outcome, Refused},
    builder::Config,
    content::{Content, KEPT, hex},
    head::Head,
    items::Stored,
    multipart::{Multipart, Source},
    record::KEPT_BODY,
    state::{Visit, text},
    versions::ContentTimes,
    view,
};

/// Bodies that are no uploads are not read beyond this.
const LONGEST_BODY: usize = 4 * 1024 * 1024;
const LONGEST_PART: usize = 128 * 1024 * 1024;
const LONGEST_ATTRIBUTES: usize = 64 * 1024;

/// A request's body, read to its end.
#[derive(Debug)]
pub(super) enum Received {
    Bytes(Bytes),
    TooLong,
    Form(Form),
    /// A form that does not end as it should, or never was one.
    BrokenForm,
}

/// An upload's form.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// As text: it may be anything.
    pub(super) attributes: Option<String>,
    file: Option<Stored>,
    file_came_first: bool,
}

/// What is kept of a body for those who look at the requests afterwards.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) start: Vec<u8>,
    pub(super) length: u64,
}

impl Received {
    pub(super) async fn read(
        head: &Head,
        body: Incoming,
        config: &Config,
        seen: &mut Seen,
    ) -> io::Result<Self> {
        let mut body = Watched { body, seen };
        let is_upload = head.method == "POST"
            && head.path.starts_with("/api/2.0/files/")
            && head.path.ends_with("/content");
        if is_upload {
            let content_type = head.header("content-type").unwrap_or_default();
            if let Some(form) = Multipart::new(&mut body, content_type) {
                let broken = match Form::read(form, config).await {
                    Ok(form) => return Ok(Self::Form(form)),
                    Err(error) => error,
                };
                // Any other error is the connection's.
                if broken.kind() != io::ErrorKind::InvalidData {
                    return Err(broken);
                }
                while body.next().await?.is_some() {}
                return Ok(Self::BrokenForm);
            }
        }
        let is_part =
            head.method == "PUT" && head.path.starts_with("/api/2.0/files/upload_sessions/");
        let longest = if is_part { LONGEST_PART } else { LONGEST_BODY };
        let mut bytes = Vec::new();
        let mut too_long = false;
        while let Some(chunk) = body.next().await? {
            too_long |= bytes.len() + chunk.len() > longest;
            if !too_long {
                bytes.extend_from_slice(&chunk);
            }
        }
        Ok(if too_long {
            Self::TooLong
        } else {
            Self::Bytes(bytes.into())
        })
    }
}

impl Form {
    async fn read<S: Source>(mut parts: Multipart<S>, config: &Config) -> io::Result<Self> {
        let mut form = Self::default();
        while let Some(name) = parts.next_part().await? {
            match name.as_str() {
                "attributes" => {
                    let mut text = Vec::new();
                    while let Some(chunk) = parts.chunk().await? {
                        if text.len() + chunk.len() <= LONGEST_ATTRIBUTES {
                            text.extend_from_slice(&chunk);
                        }
                    }
                    form.attributes = Some(String::from_utf8_lossy(&text).into_owned());
                }
                "file" => {
                    form.file_came_first = form.attributes.is_none();
                    form.file = Some(store(&mut parts, config).await?);
                }
                _ => {}
            }
        }
        parts.drain().await?;
        Ok(form)
    }
}

async fn store<S: Source>(parts: &mut Multipart<S>, config: &Config) -> io::Result<Stored> {
    let (mut hash, mut size, mut kept) = (Sha1::new(), 0, config.keep_bytes.then(Vec::new));
    while let Some(chunk) = parts.chunk().await? {
        hash.update(&chunk);
        size += chunk.len() as u64;
        kept = kept.filter(|_| size <= KEPT);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&chunk);
        }
    }
    let content = match kept {
        Some(bytes) => Content::Kept(bytes.into()),
        None => Content::Forgotten { size },
    };
    Ok(Stored {
        content: Arc::new(content),
        sha1: hex(&hash.finalize()),
    })
}

struct Watched<'a> {
    body: Incoming,
    seen: &'a mut Seen,
}

impl Source for Watched<'_> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
                continue;
            };
            let room = KEPT_BODY
                .saturating_sub(self.seen.start.len())
                .min(data.len());
            self.seen.start.extend_from_slice(&data[..room]);
            self.seen.length += data.len() as u64;
            return Ok(Some(data));
        }
        Ok(None)
    }
}

impl<S: Source> Source for &mut S {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        (**self).next().await
    }
}

/// `POST /api/2.0/files/content`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let (attributes, stored) = accept(visit)?;
    let name = text(&attributes, "/name").ok_or_else(|| Refused::missing("name"))?;
    let parent = text(&attributes, "/parent/id").ok_or_else(|| Refused::missing("parent"))?;
    let times = content_times(&attributes)?;
    let actor = visit.actor.clone();
    let (id, _) = visit.state.add_file(&actor, parent, name, stored, times)?;
    uploaded(visit, &id)
}

/// `POST /api/2.0/files/{id}/content`
pub(super) fn new_version(visit: &mut Visit<'_>, id: &str) -> Outcome {
    visit
        .state
        .tree
        .live("file", id)?
        .require(visit.if_match())?;
    let (attributes, stored) = accept(visit)?;
    let times = content_times(&attributes)?;
    let (actor, name) = (visit.actor.clone(), text(&attributes, "/name"));
    visit.state.add_version(&actor, id, name, stored, times)?;
    uploaded(visit, id)
}

/// `OPTIONS /files/content` and `OPTIONS /files/{id}/content`
pub(super) fn preflight(visit: &mut Visit<'_>, id: Option<&str>) -> Outcome {
    let body = visit.json()?;
    let name = text(&body, "/name");
    match id {
        Some(id) => {
            visit.state.tree.file(id)?;
        }
        None => {
            let name = name.ok_or_else(|| Refused::missing("name"))?;
            let parent = text(&body, "/parent/id").ok_or_else(|| Refused::missing("parent"))?;
            visit.state.check_new_name(parent, name, false)?;
        }
    }
    let path = id.map_or("content".to_owned(), |id| format!("{id}/content"));
    let answer = json!({
        "upload_url": format!("{}/api/2.0/files/{path}", visit.url),
        "upload_token": visit.state.ids.secret(),
    });
    Ok(Answer::json(200, &answer))
}

/// The form's parts, once they are in order and the hash is the promised one.
fn accept(visit: &Visit<'_>) -> Result<(Value, Stored), Refused> {
    let form = match visit.body {
        Received::Form(form) => form,
        Received::BrokenForm => return Err(Refused::bad_request("Stream ended unexpectedly")),
        Received::Bytes(_) | Received::TooLong => {
            let message = "The body is not multipart/form-data with a boundary";
            return Err(Refused::bad_request(message));
        }
    };
    if form.file_came_first {
        let message = "Metadata must be sent before the file contents";
        return Err(Refused::new(400, "metadata_after_file_contents", message));
    }
    let attributes = form
        .attributes
        .as_ref()
        .ok_or_else(|| Refused::missing("attributes"))?;
    let attributes = serde_json::from_str(attributes)
        .map_err(|_| Refused::parameter("attributes", "not JSON"))?;
    let stored = form.file.clone().ok_or_else(|| Refused::missing("file"))?;
    match visit.head.header("content-md5") {
        // The header's name is MD5's, its value is SHA-1's.
        Some(promised) if !promised.trim().eq_ignore_ascii_case(&stored.sha1) => {
            let message = "The specified content-md5 did not match what we received";
            Err(Refused::new(400, "bad_digest", message))
        }
        _ => Ok((attributes, stored)),
    }
}

pub(super) fn content_times(attributes: &Value) -> Result<ContentTimes, Refused> {
    let time = |name: &str| match attributes.get(name).filter(|time| !time.is_null()) {
        Some(time) => {
            let parsed = time.as_str().and_then(|time| time.parse().ok());
            parsed
                .map(Some)
                .ok_or_else(|| Refused::parameter(name, "not a date-time"))
        }
        None => Ok(None),
    };
    let created_at = time("content_created_at")?;
    Ok(ContentTimes {
        created_at,
        modified_at: time("content_modified_at")?,
    })
}

pub(super) fn uploaded(visit: &Visit<'_>, id: &str) -> Outcome {
    let (item, _) = visit.state.tree.file(id)?;
    let shown = view::item(&visit.state.tree, item, &visit.fields());
    Ok(Answer::json(
        201,
        &json!({ "total_count": 1, "entries": [shown] }),
    ))
}
