//! Upload sessions: what Box keeps of an upload in parts, and the calls on it.

use std::{fmt, sync::Arc, time::Duration};

use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::{
    chunked::{Chunked, Sent, Terms},
    content::Content,
    deliver::checked,
};
use crate::{
    File, FileId, FolderId, UploadSessionId,
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    names::check_name,
    transport::Transport,
};

const PARTS_A_PAGE: u64 = 1000;

/// Calls on uploads in parts. From
/// [`BoxClient::upload_sessions`](crate::BoxClient::upload_sessions).
///
/// A session lives for a week. Who keeps its id can go on with the upload after a crash, from
/// another process or machine: Box has the parts that arrived.
/// [`Files::upload`](crate::Files::upload) does all this on its own where nothing is to be kept.
///
/// Vendor: <https://developer.box.com/reference/resources/upload-session/>
///
/// ```no_run
/// # use box_client::{BoxClient, Content, FolderId};
/// # async fn example(client: BoxClient, folder: FolderId, content: Content) -> box_client::Result<()> {
/// let sessions = client.upload_sessions();
/// let session = sessions.create(&folder, "scan.tiff", content.size()).await?;
/// // … keep `session.id`, then, now or after a restart:
/// let file = sessions.send(&session.id, content).send().await?;
/// println!("{}", file.id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct UploadSessions<'a> {
    transport: &'a Arc<Transport>,
}

impl fmt::Debug for UploadSessions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadSessions").finish_non_exhaustive()
    }
}

impl<'a> UploadSessions<'a> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
        Self { transport }
    }

    /// Begins the upload of a file of 20 MB or more. A name that is in use is a
    /// [`Conflict`](ErrorKind::Conflict).
    ///
    /// Vendor: <https://developer.box.com/reference/post-files-upload-sessions/>
    pub async fn create(&self, folder: &FolderId, name: &str, size: u64) -> Result<UploadSession> {
        create(self.transport, folder, name, size).await
    }

    /// Begins the upload of a new version of 20 MB or more.
    ///
    /// Vendor: <https://developer.box.com/reference/post-files-id-upload-sessions/>
    pub async fn create_version(&self, file: &FileId, size: u64) -> Result<UploadSession> {
        create_version(self.transport, file, None, size).await
    }

    /// A session. One that has ended is [`NotFound`](ErrorKind::NotFound).
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-upload-sessions-id/>
    pub async fn get(&self, id: &UploadSessionId) -> Result<UploadSession> {
        let call = own(Method::GET, "upload_sessions.get", id, None);
        self.transport.json(&call).await
    }

    /// The parts that Box has.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-upload-sessions-id-parts/>
    pub fn parts(
        &self,
        id: &UploadSessionId,
    ) -> impl Stream<Item = Result<UploadPart>> + Send + use<'a> {
        let call = own(Method::GET, LIST, id, Some("parts"));
        parts(self.transport, call)
    }

    /// Sends what Box does not have yet of the content, and commits it. It has to be the content
    /// that the session was made for.
    pub fn send(&self, id: &UploadSessionId, content: impl Into<Content>) -> SendSession<'a> {
        SendSession {
            transport: self.transport,
            id: id.clone(),
            content: content.into(),
            terms: Terms::default(),
        }
    }

    /// Gives an upload up, and what Box has of it.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-files-upload-sessions-id/>
    pub async fn abort(&self, id: &UploadSessionId) -> Result<()> {
        let call = own(Method::DELETE, ABORT, id, None);
        self.transport.gone(&call).await
    }
}

/// Sends what is missing in a session. From [`UploadSessions::send`].
#[must_use = "nothing is sent before send()"]
pub struct SendSession<'a> {
    transport: &'a Arc<Transport>,
    id: UploadSessionId,
    content: Content,
    terms: Terms,
}

impl SendSession<'_> {
    /// How many parts are on their way at once, and in memory: four unless set.
    pub fn parallel(mut self, parts: usize) -> Self {
        self.terms.parallel = parts.max(1);
        self
    }

    /// When the content was made, if that was before now.
    pub fn content_created_at(self, at: Timestamp) -> Self {
        self.attribute("content_created_at", at)
    }

    /// When the content was last changed, if that was before now.
    pub fn content_modified_at(self, at: Timestamp) -> Self {
        self.attribute("content_modified_at", at)
    }

    /// For a new version: only if the file still has this etag.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.terms.if_match = Some(etag.into());
        self
    }

    /// How long Box may take to put the parts together: ten minutes unless set.
    pub fn commit_within(mut self, patience: Duration) -> Self {
        self.terms.commit_within = patience;
        self
    }

    /// Sends it. What fails leaves the session as it is, to be taken up again. A session that has
    /// ended, by its own commit too, is [`NotFound`](ErrorKind::NotFound).
    ///
    /// Without a known SHA-1 the whole content is read, and what Box has already is held against
    /// it; with one only what is missing is read.
    pub async fn send(self) -> Result<File> {
        let sessions = UploadSessions::new(self.transport);
        let session = Session::new(self.transport, sessions.get(&self.id).await?);
        let stored: Vec<UploadPart> = session.parts().try_collect().await?;
        let chunked = Chunked {
            session: &session,
            sha1: self.content.known_sha1().await,
            content: &self.content,
            terms: &self.terms,
        };
        let Sent { file, sha1 } = chunked.send(stored).await;
        checked(file?, self.content.size(), sha1.as_deref())
    }

    fn attribute(mut self, name: &str, at: Timestamp) -> Self {
        let at = at.to_string().into();
        self.terms.attributes.insert(name.to_owned(), at);
        self
    }
}

impl fmt::Debug for SendSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendSession")
            .field("id", &self.id)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// An upload in parts.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct UploadSession {
    /// Its id: all that is needed to go on with it.
    pub id: UploadSessionId,
    /// How long each part is; the last may be shorter.
    pub part_size: u64,
    /// How many parts there are to be.
    pub total_parts: Option<u64>,
    /// How many parts Box has dealt with.
    pub num_parts_processed: Option<u64>,
    /// When it ends by itself.
    pub session_expires_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    session_endpoints: Endpoints,
}

/// The endpoints can be signed.
impl fmt::Debug for UploadSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadSession")
            .field("id", &self.id)
            .field("part_size", &self.part_size)
            .field("total_parts", &self.total_parts)
            .field("num_parts_processed", &self.num_parts_processed)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default, Deserialize)]
struct Endpoints {
    upload_part: Option<String>,
    commit: Option<String>,
    abort: Option<String>,
    list_parts: Option<String>,
}

/// A part that Box has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UploadPart {
    /// Its id.
    pub part_id: String,
    /// Where in the file it begins.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
    /// SHA-1 of its bytes, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
}

const LIST: &str = "upload_sessions.parts";
const ABORT: &str = "upload_sessions.abort";

/// A session with the way to it: Box names a host of its choice for each.
pub(super) struct Session<'a> {
    pub(super) transport: &'a Arc<Transport>,
    pub(super) about: UploadSession,
}

impl<'a> Session<'a> {
    pub(super) fn new(transport: &'a Arc<Transport>, about: UploadSession) -> Self {
        Self { transport, about }
    }

    pub(super) fn put_part(&self) -> Result<Call> {
        let given = &self.about.session_endpoints.upload_part;
        self.call("upload_sessions.part", Method::PUT, given, None)
    }

    pub(super) fn commit(&self) -> Result<Call> {
        let given = &self.about.session_endpoints.commit;
        self.call(
            "upload_sessions.commit",
            Method::POST,
            given,
            Some("commit"),
        )
    }

    pub(super) async fn abort(&self) -> Result<()> {
        let given = &self.about.session_endpoints.abort;
        let call = self.call(ABORT, Method::DELETE, given, None)?;
        self.transport.gone(&call).await
    }

    pub(super) fn parts(&self) -> impl Stream<Item = Result<UploadPart>> + Send + use<'a> {
        let given = &self.about.session_endpoints.list_parts;
        let call = self.call(LIST, Method::GET, given, Some("parts"));
        let transport = self.transport;
        stream::once(async move { Ok(parts(transport, call?)) }).try_flatten()
    }

    fn call(
        &self,
        operation: &'static str,
        method: Method,
        given: &Option<String>,
        tail: Option<&str>,
    ) -> Result<Call> {
        let Some(given) = given else {
            return Ok(own(method, operation, &self.about.id, tail));
        };
        // The token goes there: never in clear where the API itself is encrypted.
        let encrypted = self.transport.hosts().upload.scheme() == "https";
        let url = Url::parse(given)
            .ok()
            .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && !encrypted))
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| {
                Error::new(ErrorKind::Decode, operation).detail("an endpoint that is none")
            })?;
        Ok(Call::to(operation, method, Target::Given(url)).bearer())
    }
}

pub(super) async fn create(
    transport: &Transport,
    folder: &FolderId,
    name: &str,
    size: u64,
) -> Result<UploadSession> {
    const OPERATION: &str = "upload_sessions.create";
    check_name(name).map_err(|cause| {
        Error::new(ErrorKind::Invalid, OPERATION)
            .detail("Box takes no such name")
            .cause(cause)
    })?;
    let body = json!({ "folder_id": folder, "file_size": size, "file_name": name });
    // A session that nobody knows of ends by itself and leaves nothing.
    let call = Call::upload(OPERATION, Method::POST, ["files", "upload_sessions"])
        .json(&body)?
        .repeatable();
    transport.json(&call).await
}

pub(super) async fn create_version(
    transport: &Transport,
    file: &FileId,
    name: Option<&str>,
    size: u64,
) -> Result<UploadSession> {
    let mut body = json!({ "file_size": size });
    if let Some(name) = name {
        body["file_name"] = name.into();
    }
    let path = ["files", file.as_str(), "upload_sessions"];
    let call = Call::upload("upload_sessions.create_version", Method::POST, path)
        .json(&body)?
        .repeatable();
    transport.json(&call).await
}

/// A call on a session by its id.
fn own(method: Method, operation: &'static str, id: &UploadSessionId, tail: Option<&str>) -> Call {
    let path = ["files", "upload_sessions", id.as_str()];
    Call::upload(operation, method, path.into_iter().chain(tail))
}

fn parts(
    transport: &Arc<Transport>,
    call: Call,
) -> impl Stream<Item = Result<UploadPart>> + Send + use<'_> {
    #[derive(Deserialize)]
    struct Page {
        total_count: Option<u64>,
        #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
        entries: Vec<UploadPart>,
    }
    let pages = stream::try_unfold((call, Some(0)), move |(call, offset)| async move {
        let Some(offset) = offset else {
            return Ok(None);
        };
        let page = call
            .clone()
            .query("limit", PARTS_A_PAGE.to_string())
            .query("offset", u64::to_string(&offset));
        let page: Page = transport.json(&page).await?;
        // Without a count a page that is not full, by whatever limit, may not be the last.
        let next = offset + page.entries.len() as u64;
        let more = next > offset && page.total_count.is_none_or(|total| next < total);
        let entries = stream::iter(page.entries.into_iter().map(Ok));
        Ok::<_, Error>(Some((entries, (call, more.then_some(next)))))
    });
    pages.try_flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{BoxClient, DeveloperToken};

    #[test]
    fn the_token_goes_to_no_endpoint_in_clear() {
        let client = BoxClient::new(DeveloperToken::new("token")).unwrap();
        let transport = client.upload_sessions().transport;
        let session = |url: Option<&str>| {
            let endpoints = json!({ "upload_part": url });
            let about = json!({ "id": "A", "part_size": 1, "session_endpoints": endpoints });
            Session::new(transport, serde_json::from_value(about).unwrap())
        };
        for bad in [
            "http://upload.box.com/x",
            "https://user@upload.box.com/x",
            "/x",
            "ftp://b/x",
        ] {
            assert!(session(Some(bad)).put_part().is_err(), "{bad}");
        }
        for (given, expected) in [
            (
                Some("https://upload.app.box.com/x"),
                "https://upload.app.box.com/x",
            ),
            (
                None,
                "https://upload.box.com/api/2.0/files/upload_sessions/A",
            ),
        ] {
            let call = session(given).put_part().unwrap();
            assert_eq!(call.url(transport.hosts()).unwrap().as_str(), expected);
        }
    }
}
