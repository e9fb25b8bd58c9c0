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
    reply: Option<Reply>,
    size: Option<u64>,
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
            reply: Some(reply),
        }
    }

    /// How many bytes will come, if Salesforce has said so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next bytes, `None` after the last ones. After an error nothing more comes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let Some(mut reply) = self.reply.take() else {
            return Ok(None);
        };
        let chunk = reply.chunk().await?;
        if chunk.is_some() {
            self.reply = Some(reply);
        }
        Ok(chunk)
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
