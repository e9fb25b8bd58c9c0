//! A file of the file system as a content.

use std::{io, ops::Range, path::PathBuf, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom, Take},
};

use super::Content;

const CHUNK: usize = 256 * 1024;

impl Content {
    /// A file of the file system, as long as it is now. It is opened for each attempt and read as
    /// it is sent.
    ///
    /// # Errors
    ///
    /// When there is no such file, or nobody may ask how long it is.
    pub async fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = Arc::new(path.into());
        let size = tokio::fs::metadata(&*path).await?.len();
        let open = move |range| open(Arc::clone(&path), range);
        Ok(Self::ranges(open, size))
    }
}

async fn open(
    path: Arc<PathBuf>,
    range: Range<u64>,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send> {
    let mut file = File::open(&*path).await?;
    file.seek(SeekFrom::Start(range.start)).await?;
    let file = file.take(range.end - range.start);
    Ok(stream::try_unfold(
        file,
        |mut file: Take<File>| async move {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let read = file.read_buf(&mut chunk).await?;
            Ok((read > 0).then(|| (chunk.freeze(), file)))
        },
    ))
}
