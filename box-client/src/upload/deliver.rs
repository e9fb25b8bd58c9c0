//! How a content gets to where it belongs, and what to do when something is there already.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::debug;

use super::{
    Options, Uploaded,
    body::Frame,
    chunked::{Chunked, Terms},
    content::Content,
    exchange::{Exchange, Exchanged},
    session::{self, Session},
};
use crate::{
    Change, Conflicting, File, FileId, Files, FolderId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

pub(super) const OPERATION: &str = "files.upload";
/// Its name is MD5's; Box takes SHA-1 in it.
const SHA1_OF_CONTENT: HeaderName = HeaderName::from_static("content-md5");

/// One content on its way.
pub(super) struct Deliver<'a> {
    pub(super) transport: &'a Arc<Transport>,
    pub(super) content: &'a Content,
    pub(super) options: &'a Options,
    /// The content's SHA-1, if it is known before it is sent.
    pub(super) sha1: Option<String>,
}

#[derive(Clone, Copy)]
pub(super) enum Destination<'a> {
    Folder {
        id: &'a FolderId,
        name: &'a str,
    },
    File {
        id: &'a FileId,
        name: Option<&'a str>,
        if_match: Option<&'a str>,
    },
}

/// What came of it.
pub(super) struct Delivered {
    pub(super) file: Result<File>,
    /// The SHA-1 of the content, if it went out whole or was known before.
    sha1: Option<String>,
}

/// Box lists one file.
#[derive(Deserialize)]
struct FileList {
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    entries: Vec<File>,
}

impl Deliver<'_> {
    /// A new file and nothing else.
    pub(super) async fn create(&self, folder: &FolderId, name: &str) -> Result<Uploaded> {
        let destination = Destination::Folder { id: folder, name };
        let Delivered { file, sha1 } = self.to(destination).await;
        let error = match file {
            Ok(file) => return Ok(created(file)),
            Err(error) => error,
        };
        if !error.may_have_happened() {
            return Err(error);
        }
        debug!(operation = OPERATION, %error, "looking for what may have happened");
        match self.in_the_way(folder, name).await {
            Ok(Some(there)) if is_same(&there, sha1.as_deref()) => {
                self.read(&there).await.map(created)
            }
            _ => Err(error),
        }
    }

    /// Looks first, since a content that exists once is spent on the first attempt; and again
    /// after what may have happened or came in between.
    pub(super) async fn settle(
        &self,
        folder: &FolderId,
        name: &str,
        versions: bool,
    ) -> Result<Uploaded> {
        let policy = self.transport.retry();
        let mut waits = policy.waits();
        let mut patience = policy.deadline;
        let mut sha1 = self.sha1.clone();
        // What was tried before, if it may have happened.
        let mut tried = Change::None;
        loop {
            let there = self.in_the_way(folder, name).await?;
            let (file, change) = match &there {
                None => (
                    self.to(Destination::Folder { id: folder, name }).await,
                    Change::Created,
                ),
                Some(there) if is_same(there, sha1.as_deref()) => {
                    let file = self.read(there).await?;
                    return Ok(Uploaded {
                        file,
                        change: tried,
                    });
                }
                Some(there) if !versions => {
                    let file = self.read(there).await?;
                    return Ok(Uploaded {
                        file,
                        change: Change::None,
                    });
                }
                Some(there) => {
                    let id = self.file_id(there)?;
                    let destination = Destination::File {
                        id: &id,
                        name: None,
                        if_match: None,
                    };
                    (self.to(destination).await, Change::Updated)
                }
            };
            let error = match file.file {
                Ok(file) => return Ok(Uploaded { file, change }),
                Err(error) => error,
            };
            sha1 = file.sha1.or(sha1);
            let came_between = error.name_in_use().is_some();
            if error.may_have_happened() {
                tried = change;
            } else if !came_between {
                return Err(error);
            }
            // A look is worth it even where the content is spent: it may have arrived.
            let spent = !self.content.is_lasting() && (came_between || sha1.is_none());
            let wait = (!spent && (came_between || error.is_retryable()))
                .then(|| waits.next())
                .flatten()
                .filter(|wait| *wait < patience);
            let Some(wait) = wait else {
                return Err(error);
            };
            patience -= wait;
            tokio::time::sleep(wait).await;
            if !self.content.is_lasting() {
                return match self.in_the_way(folder, name).await? {
                    Some(there) if is_same(&there, sha1.as_deref()) => {
                        let file = self.read(&there).await?;
                        Ok(Uploaded { file, change })
                    }
                    _ => Err(error),
                };
            }
        }
    }

    pub(super) async fn to(&self, destination: Destination<'_>) -> Delivered {
        let Delivered { file, sha1 } = if self.content.size() < self.options.chunked_from {
            self.at_once(destination).await
        } else {
            self.in_parts(destination).await
        };
        let file = file.and_then(|file| checked(file, self.content.size(), sha1.as_deref()));
        Delivered { file, sha1 }
    }

    async fn at_once(&self, destination: Destination<'_>) -> Delivered {
        let exchange = match self.exchange(destination) {
            Ok(exchange) => exchange,
            Err(error) => return self.without_sha1(error),
        };
        let Exchanged { answer, sha1 } = exchange.run().await;
        Delivered {
            file: answer.and_then(|answer| only_file(answer.json()?)),
            sha1: sha1.or_else(|| self.sha1.clone()),
        }
    }

    fn exchange(&self, destination: Destination<'_>) -> Result<Exchange<'_>> {
        let mut attributes = self.options.attributes.clone();
        let mut call = match destination {
            Destination::Folder { id, name } => {
                attributes.insert("name".to_owned(), name.into());
                attributes.insert("parent".to_owned(), json!({ "id": id }));
                Call::upload(OPERATION, Method::POST, ["files", "content"])
            }
            Destination::File { id, name, if_match } => {
                if let Some(name) = name {
                    attributes.insert("name".to_owned(), name.into());
                }
                Call::upload(OPERATION, Method::POST, ["files", id.as_str(), "content"])
                    .if_match(if_match)?
            }
        };
        let (frame, content_type) = form(&Value::Object(attributes).to_string());
        call = call.text_header(CONTENT_TYPE, content_type)?;
        if let Some(sha1) = &self.sha1 {
            let sha1 = HeaderValue::try_from(sha1).map_err(|_| {
                Error::new(ErrorKind::Invalid, OPERATION).detail("the SHA-1 is not in hex")
            })?;
            call = call.header(SHA1_OF_CONTENT, sha1);
        }
        Ok(Exchange {
            transport: self.transport,
            call,
            frame,
            content: self.content,
            range: 0..self.content.size(),
            hashed: self.sha1.is_none(),
        })
    }

    /// A session that Box has dropped is begun anew, where the content can be had again.
    async fn in_parts(&self, destination: Destination<'_>) -> Delivered {
        let mut waits = self.transport.retry().waits();
        loop {
            let delivered = self.in_one_session(destination).await;
            let Err(error) = &delivered.file else {
                return delivered;
            };
            let wait = (is_session_over(error) && self.content.is_lasting())
                .then(|| waits.next())
                .flatten();
            let Some(wait) = wait else {
                return delivered;
            };
            debug!(operation = OPERATION, ?wait, %error, "beginning anew");
            tokio::time::sleep(wait).await;
        }
    }

    async fn in_one_session(&self, destination: Destination<'_>) -> Delivered {
        let size = self.content.size();
        let (created, if_match) = match destination {
            Destination::Folder { id, name } => {
                let created = session::create(self.transport, id, name, size).await;
                (created, None)
            }
            Destination::File { id, name, if_match } => {
                let created = session::create_version(self.transport, id, name, size).await;
                (created, if_match)
            }
        };
        let session = match created {
            Ok(session) => Session::new(self.transport, session),
            Err(error) => return self.without_sha1(error),
        };
        let terms = Terms {
            attributes: self.options.attributes.clone(),
            if_match: if_match.map(str::to_owned),
            parallel: self.options.parallel,
            ..Terms::default()
        };
        let chunked = Chunked {
            session: &session,
            content: self.content,
            sha1: self.sha1.clone(),
            terms: &terms,
        };
        let sent = chunked.send(Vec::new()).await;
        if let Err(error) = &sent.file
            && let Err(left) = session.abort().await
        {
            debug!(operation = OPERATION, %error, %left, "the session is left to expire");
        }
        Delivered {
            file: sent.file,
            sha1: sent.sha1,
        }
    }

    /// The file that has the name. Anything else that has it is an error.
    async fn in_the_way(&self, folder: &FolderId, name: &str) -> Result<Option<Conflicting>> {
        let files = Files::new(self.transport);
        let error = match files.preflight(folder, name, self.content.size()).await {
            Ok(_) => return Ok(None),
            Err(error) => error,
        };
        match error.name_in_use() {
            Some(there) if there.file_id().is_some() => Ok(Some(there)),
            _ => Err(error),
        }
    }

    async fn read(&self, there: &Conflicting) -> Result<File> {
        let id = self.file_id(there)?;
        Files::new(self.transport).get(&id).send().await
    }

    fn file_id(&self, there: &Conflicting) -> Result<FileId> {
        let unreadable = || Error::new(ErrorKind::Decode, OPERATION).detail("what has the name?");
        there.file_id().ok_or_else(unreadable)
    }

    fn without_sha1(&self, error: Error) -> Delivered {
        Delivered {
            file: Err(error),
            sha1: self.sha1.clone(),
        }
    }
}

/// Holds what Box says it has stored against what was sent.
pub(super) fn checked(file: File, size: u64, sha1: Option<&str>) -> Result<File> {
    let differs = file.size.is_some_and(|stored| stored != size)
        || file
            .sha1
            .as_deref()
            .zip(sha1)
            .is_some_and(|(stored, sent)| !stored.eq_ignore_ascii_case(sent));
    if differs {
        return Err(Error::new(ErrorKind::Integrity, OPERATION)
            .detail("Box has stored other bytes than were sent"));
    }
    Ok(file)
}

pub(super) fn only_file(list: Value) -> Result<File> {
    let list = FileList::deserialize(list)
        .map_err(|cause| Error::new(ErrorKind::Decode, OPERATION).sent().cause(cause))?;
    list.entries.into_iter().next().ok_or_else(|| {
        Error::new(ErrorKind::Decode, OPERATION)
            .sent()
            .detail("the answer names no file")
    })
}

fn is_session_over(error: &Error) -> bool {
    let code = error.api().and_then(|api| api.code());
    matches!(code, Some("session_expired" | "upload_failed"))
}

fn created(file: File) -> Uploaded {
    Uploaded {
        file,
        change: Change::Created,
    }
}

fn is_same(there: &Conflicting, sha1: Option<&str>) -> bool {
    let stored = there.sha1.as_deref().or_else(|| {
        let version = there.file_version.as_ref()?;
        version.sha1.as_deref()
    });
    stored
        .zip(sha1)
        .is_some_and(|(stored, sent)| stored.eq_ignore_ascii_case(sent))
}

/// The attributes first: Box refuses a form in which they come after the bytes. The part's file
/// name stays plain; the true one is in the attributes.
fn form(attributes: &str) -> (Frame, String) {
    let boundary: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(40)
        .collect();
    let head = format!(
        "--{boundary}\r\n\
         Content-Disposition: form-data; name=\"attributes\"\r\n\
         Content-Type: application/json\r\n\r\n\
         {attributes}\r\n\
         --{boundary}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let frame = Frame {
        head: head.into(),
        tail: Bytes::from(format!("\r\n--{boundary}--\r\n")),
    };
    (frame, format!("multipart/form-data; boundary={boundary}"))
}
