use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;

use crate::{
    error::{Error, ErrorKind, Result},
    transport::Reply,
};

/// A version's bytes on their way. From [`Files::download`](super::Files::download). It stands on
/// its own, so it can be handed to another task.
#[must_use]
pub struct Download {
    state: State,
    size: Option<u64>,
    came: u64,
}

enum State {
    /// It stays here while the next bytes are waited for: who stops waiting can go on later.
    Open(Reply),
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
    pub(super) fn new(reply: Reply) -> Self {
        Self {
            size: reply.content_length(),
            state: State::Open(reply),
            came: 0,
        }
    }

    /// How many bytes will come, if Salesforce has said so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next bytes, `None` after the last ones. After an error the same error comes again. A
    /// future that is dropped loses nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let next = match &mut self.state {
            State::Open(reply) => reply.chunk().await,
            State::Whole => return Ok(None),
            State::Failed(error) => return Err(error.again()),
        };
        let failure = match next {
            Ok(Some(chunk)) => {
                self.came += chunk.len() as u64;
                return Ok(Some(chunk));
            }
            Ok(None) if self.size.is_none_or(|size| size == self.came) => {
                self.state = State::Whole;
                return Ok(None);
            }
            Ok(None) => Error::new(ErrorKind::Transport, super::DOWNLOAD)
                .detail("the content ended before its size")
                .sent(),
            Err(error) => error,
        };
        self.state = State::Failed(failure.again());
        Err(failure)
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
                return Err(Error::new(ErrorKind::TooLarge, super::DOWNLOAD));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}
