//! Calls that this crate does not model.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Download,
    call::{Call, Repeat, Target},
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "request";
/// Raw answers are held in memory up to here.
const LIMIT: usize = 32 * 1024 * 1024;

/// Any call. From [`SalesforceClient::request`](crate::SalesforceClient::request).
#[must_use = "nothing is sent before send()"]
pub struct RawRequest<'a> {
    transport: &'a Transport,
    call: Result<Call>,
}

impl std::fmt::Debug for RawRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRequest").finish_non_exhaustive()
    }
}

impl<'a> RawRequest<'a> {
    pub(crate) fn new(transport: &'a Transport, method: Method, path: &str) -> Self {
        let legal = path.starts_with('/') && !path.contains(['?', '#', '\\']);
        let path = if path.starts_with("/services/") {
            path.to_owned()
        } else {
            format!("{}{path}", transport.data)
        };
        let call = if legal {
            let repeat = match method.is_safe() {
                true => Repeat::Safe,
                false => Repeat::Unsafe,
            };
            let mut call = Call::to(OPERATION, method, Target::Org(path));
            call.repeat = repeat;
            Ok(call)
        } else {
            Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("a path begins with / and has no query: use query()"))
        };
        Self { transport, call }
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call = self.call.map(|call| call.query(name.into(), value));
        self
    }

    /// Adds a header, such as `Sforce-Auto-Assign`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.call = self.call.and_then(|call| {
            let name = HeaderName::try_from(name).ok();
            match name.zip(HeaderValue::try_from(value).ok()) {
                Some((name, value)) => Ok(call.header(name, value)),
                None => Err(unwritable()),
            }
        });
        self
    }

    /// Sends this as JSON.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.call = self.call.and_then(|call| call.json(body));
        self
    }

    /// Sends these bytes. The content type is any text, such as one of `multipart/form-data` with
    /// its boundary.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.call = self
            .call
            .and_then(|call| match HeaderValue::try_from(content_type) {
                Ok(content_type) => Ok(call.bytes(content_type, body.into())),
                Err(_) => Err(unwritable()),
            });
        self
    }

    /// Lets the client repeat the call even when its outcome is unknown. Only what reads (GET, HEAD)
    /// is repeated anyway: an Apex class that answers to PUT or DELETE need not stand a second one,
    /// and a second DELETE finds nothing.
    pub fn repeatable(mut self) -> Self {
        self.call = self.call.map(Call::repeatable);
        self
    }

    /// Sends it and gives the answer's body as it comes, of any size.
    pub async fn stream(self) -> Result<Download> {
        let reply = self.transport.send(&self.call?).await?;
        Ok(Download::new(OPERATION, reply))
    }

    /// Sends it and reads the answer, which has 32 MiB at most.
    pub async fn send(self) -> Result<RawReply> {
        let reply = self.transport.whole(&self.call?, LIMIT).await?;
        Ok(RawReply {
            status: reply.status,
            headers: reply.headers,
            body: reply.body,
        })
    }
}

fn unwritable() -> Error {
    Error::new(ErrorKind::Invalid, OPERATION)
        .detail("the header has characters that no header can carry")
}

/// An answer that is no failure; 304 is among them.
#[derive(Clone)]
#[non_exhaustive]
pub struct RawReply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, empty where there is none.
    pub body: Bytes,
}

/// Headers and body of an unknown call can hold tokens.
impl std::fmt::Debug for RawReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawReply")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl RawReply {
    /// The body as a type of yours.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|cause| Error::new(ErrorKind::Decode, OPERATION).cause(cause))
    }
}
