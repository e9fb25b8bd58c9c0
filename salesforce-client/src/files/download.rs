use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;

use crate::{
    error::{Error, ErrorKind, Result},
    transport::Reply,
};

/// Bytes on their way. From [`Files::download`](super::Files::download),
/// [`SObjects::blob`](crate::SObjects::blob) or [`RawRequest::stream`](crate::RawRequest::stream).
/// It stands on its own, so it can be handed to another task.
#[must_use]
pub struct Download {
    state: State,
    operation: &'static str,
    size: Option<u64>,
    received: u64,
}

enum State {
    Open(Box<Reply>),
    Whole,
    Failed(Error),
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Download {
    pub(crate) fn new(operation: &'static str, reply: Reply) -> Self {
        Self {
            size: reply.content_length(),
            state: State::Open(Box::new(reply)),
            operation,
            received: 0,
        }
    }

    /// How many bytes will come, if Salesforce has said so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next bytes, `None` only after the last ones. After an error the same error comes. It may
    /// be given up and called again, as by a timeout: nothing is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let reply = match &mut self.state {
            State::Open(reply) => reply,
            State::Whole => return Ok(None),
            State::Failed(error) => return Err(error.again()),
        };
        let chunk = match reply.chunk().await {
            Ok(Some(chunk)) => {
                self.received += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Ok(None) if self.size.is_some_and(|size| size != self.received) => {
                Err(Error::new(ErrorKind::Transport, self.operation)
                    .sent()
                    .detail("fewer or more bytes came than were announced"))
            }
            end => end,
        };
        match &chunk {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Whole,
            Err(error) => self.state = State::Failed(error.again()),
        }
        chunk
    }

    /// The rest as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.chunk().await?.map(|chunk| (chunk, download)))
        })
    }

    /// All that is left, if it is no more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, self.operation));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}
