//! Sends a content in parts, as many at once as are allowed, and commits them.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{TryStreamExt, stream};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE},
};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    body::Frame,
    content::Content,
    deliver::only_file,
    exchange::Exchange,
    parts::{Part, Reader, Reading, Step},
    session::{Session, UploadPart},
};
use crate::{
    File,
    call::Call,
    error::{Error, ErrorKind, Result},
};

pub(super) const OPERATION: &str = "upload_sessions.send";
const DIGEST: HeaderName = HeaderName::from_static("digest");
/// Parts are held in memory, so Box may not make them as large as it likes.
const LARGEST_PART: u64 = 512 * 1024 * 1024;
const COMMIT_LIMIT: usize = 4 * 1024 * 1024;

/// How the content is to be sent.
pub(super) struct Terms {
    pub(super) attributes: Map<String, Value>,
    pub(super) if_match: Option<String>,
    pub(super) parallel: usize,
    pub(super) commit_within: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            attributes: Map::new(),
            if_match: None,
            parallel: super::PARALLEL,
            commit_within: Duration::from_secs(600),
        }
    }
}

pub(super) struct Chunked<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) content: &'a Content,
    pub(super) sha1: Option<String>,
    pub(super) terms: &'a Terms,
}

/// What came of it.
pub(super) struct Sent {
    pub(super) file: Result<File>,
    /// The SHA-1 of the content, if it is known by now.
    pub(super) sha1: Option<String>,
}

enum Done {
    Part(UploadPart),
    End(Option<String>),
}

impl Chunked<'_> {
    /// Sends what is not among `stored`.
    pub(super) async fn send(&self, stored: Vec<UploadPart>) -> Sent {
        let (parts, sha1) = match self.send_parts(stored).await {
            Ok(sent) => sent,
            Err(error) => {
                return Sent {
                    file: Err(error),
                    sha1: self.sha1.clone(),
                };
            }
        };
        Sent {
            file: self.commit(&parts, &sha1).await,
            sha1: Some(sha1),
        }
    }

    async fn send_parts(&self, stored: Vec<UploadPart>) -> Result<(Vec<UploadPart>, String)> {
        let stored = self.sound(stored)?;
        let mut all: Vec<UploadPart> = stored.values().cloned().collect();
        let mut sha1 = self.sha1.clone();
        let hashed = self.sha1.is_none();
        let source = Reading {
            content: self.content,
            part_size: self.part_size()?,
            idle: self.session.transport.sender.idle,
        };
        let reader = Reader::new(source, stored, hashed);
        // One that is read counts among those on their way, so that no more are in memory.
        let steps = stream::try_unfold(Some(reader), |reader| async move {
            let Some(mut reader) = reader else {
                return Ok(None);
            };
            let step = reader.next().await?;
            let rest = matches!(step, Step::Part(_)).then_some(reader);
            Ok(Some((step, rest)))
        });
        let mut done = std::pin::pin!(
            steps
                .map_ok(|step| self.take(step))
                .try_buffer_unordered(self.terms.parallel)
        );
        while let Some(done) = done.try_next().await? {
            match done {
                Done::Part(part) => all.push(part),
                Done::End(hashed) => sha1 = sha1.or(hashed),
            }
        }
        all.sort_unstable_by_key(|part| part.offset);
        let sha1 = sha1.ok_or_else(|| Error::new(ErrorKind::Content, OPERATION))?;
        Ok((all, sha1))
    }

    async fn take(&self, step: Step) -> Result<Done> {
        match step {
            Step::Part(part) => self.put(&part).await.map(Done::Part),
            Step::End(sha1) => Ok(Done::End(sha1)),
        }
    }

    /// The stored parts by offset, if they can be of this content.
    fn sound(&self, stored: Vec<UploadPart>) -> Result<BTreeMap<u64, UploadPart>> {
        let size = self.part_size()?;
        let fits = |part: &UploadPart| {
            part.offset.is_multiple_of(size)
                && part.offset < self.content.size()
                && part.size == size.min(self.content.size() - part.offset)
        };
        if !stored.iter().all(fits) {
            return Err(Error::new(ErrorKind::Integrity, OPERATION)
                .detail("the session has parts of a content of another size"));
        }
        Ok(stored.into_iter().map(|part| (part.offset, part)).collect())
    }

    fn part_size(&self) -> Result<u64> {
        let size = self.session.about.part_size;
        if (1..=LARGEST_PART).contains(&size) {
            return Ok(size);
        }
        Err(Error::new(ErrorKind::Decode, OPERATION).detail("parts of a size that is none"))
    }

    /// Box has been seen to store a part and to answer 500 (box/box-java-sdk#781), and it refuses
    /// one that it has: so before a part is sent again, Box is asked for it.
    async fn put(&self, part: &Part) -> Result<UploadPart> {
        let mut waits = self.session.transport.retry().waits();
        let content = Content::from(part.bytes.clone());
        let exchange = Exchange {
            transport: self.session.transport,
            call: self.put_call(part)?,
            frame: Frame::default(),
            content: &content,
            range: 0..content.size(),
            hashed: false,
        };
        loop {
            let error = match exchange.run().await.answer {
                Ok(answer) => return part.confirmed(answer.json()?),
                Err(error) => error,
            };
            if !error.may_have_happened() && error.kind() != ErrorKind::Conflict {
                return Err(error);
            }
            debug!(operation = OPERATION, offset = part.offset, %error, "looking for the part");
            let stored = self.session.parts();
            let mut stored = std::pin::pin!(
                stored.try_filter(|stored| { std::future::ready(stored.offset == part.offset) })
            );
            if let Some(stored) = stored.try_next().await? {
                return part.check(stored);
            }
            match error.is_retryable().then(|| waits.next()).flatten() {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    fn put_call(&self, part: &Part) -> Result<Call> {
        let last = part.offset + part.bytes.len() as u64 - 1;
        let range = format!("bytes {}-{last}/{}", part.offset, self.content.size());
        let call = self.session.put_part()?.once();
        Ok(call
            .text_header(CONTENT_RANGE, range)?
            .text_header(DIGEST, digest(&part.sha1))?
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            ))
    }

    /// Once committed, a session is gone: a commit that is repeated makes no second file, and one
    /// that finds no session may have found its own success. What is reported then is the failure
    /// before, which may have happened.
    async fn commit(&self, parts: &[UploadPart], sha1: &str) -> Result<File> {
        let call = self.commit_call(parts, sha1)?;
        let policy = self.session.transport.retry();
        let mut waits = policy.waits();
        let mut unknown = None;
        let began = Instant::now();
        loop {
            let (error, wait) = match self.session.transport.whole(&call, COMMIT_LIMIT).await {
                Ok(answer) if answer.status != StatusCode::ACCEPTED => {
                    return only_file(answer.json()?);
                }
                Ok(_) => {
                    let error = Error::new(ErrorKind::NotReady, OPERATION)
                        .detail("Box has not put the parts together in time");
                    (error, Some(policy.first_delay))
                }
                Err(error) if error.kind() == ErrorKind::NotReady => {
                    let asked = error.retry_after().unwrap_or_default();
                    (error, Some(asked.max(policy.first_delay)))
                }
                Err(error) if error.may_have_happened() => {
                    let wait = error.is_retryable().then(|| waits.next()).flatten();
                    unknown = Some(error.share());
                    (error, wait)
                }
                Err(error) => return Err(unknown.unwrap_or(error)),
            };
            match wait.filter(|wait| began.elapsed() + *wait < self.terms.commit_within) {
                Some(wait) => sleep(wait).await,
                None => return Err(unknown.unwrap_or(error)),
            }
        }
    }

    fn commit_call(&self, parts: &[UploadPart], sha1: &str) -> Result<Call> {
        let mut body = json!({ "parts": parts });
        if !self.terms.attributes.is_empty() {
            body["attributes"] = self.terms.attributes.clone().into();
        }
        let sha1 = bytes_of(sha1).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, OPERATION).detail("the SHA-1 is not one in hex")
        })?;
        self.session
            .commit()?
            .text_header(DIGEST, digest(&sha1))?
            .if_match(self.terms.if_match.as_deref())?
            .json(&body)
    }
}

fn digest(sha1: &[u8]) -> String {
    format!("sha={}", STANDARD.encode(sha1))
}

fn bytes_of(hex: &str) -> Option<[u8; 20]> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let bytes: Vec<u8> = digits?
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    (hex.len() == 40).then_some(())?;
    bytes.try_into().ok()
}
