//! The data of one job: in memory while it is small, in a file of its own beyond that, so that it
//! can be sent again.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use tempfile::NamedTempFile;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
};

/// What is written to the file at once, and what a load of a few rows never exceeds.
const IN_MEMORY: usize = 1024 * 1024;
/// What is handed to the connection at once.
const PIECE: usize = 128 * 1024;

/// Data that is being collected.
pub(super) struct PartWriter {
    buffer: Vec<u8>,
    spilled: Option<(NamedTempFile, File)>,
    length: u64,
    rows: u64,
}

/// Data that is complete.
pub(super) struct Part {
    pub(super) length: u64,
    content: Content,
}

enum Content {
    Memory(Bytes),
    // Deleted when dropped.
    File(NamedTempFile),
}

impl PartWriter {
    /// Begins with the names of the columns.
    pub(super) fn new(header: &[u8]) -> Self {
        Self {
            buffer: header.to_vec(),
            spilled: None,
            length: header.len() as u64,
            rows: 0,
        }
    }

    pub(super) fn has_rows(&self) -> bool {
        self.rows > 0
    }

    pub(super) fn has_room_for(&self, row: &[u8], limit: u64) -> bool {
        self.length + row.len() as u64 <= limit
    }

    pub(super) async fn push(&mut self, row: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(row);
        self.length += row.len() as u64;
        self.rows += 1;
        if self.buffer.len() > IN_MEMORY {
            self.spill().await?;
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> io::Result<Part> {
        if self.spilled.is_none() {
            return Ok(Part {
                length: self.length,
                content: Content::Memory(self.buffer.into()),
            });
        }
        self.spill().await?;
        let content = match self.spilled {
            Some((named, mut file)) => {
                file.flush().await?;
                Content::File(named)
            }
            None => Content::Memory(Bytes::new()),
        };
        Ok(Part {
            length: self.length,
            content,
        })
    }

    async fn spill(&mut self) -> io::Result<()> {
        let (_, file) = match &mut self.spilled {
            Some(spilled) => spilled,
            None => {
                let named = tokio::task::spawn_blocking(NamedTempFile::new).await??;
                let file = File::from_std(named.reopen()?);
                self.spilled.insert((named, file))
            }
        };
        file.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}

impl Part {
    /// The bytes, from the start: each call reads on its own.
    pub(super) fn bytes(&self) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
        enum Rest {
            Memory(Bytes),
            File(File),
        }
        let rest = match &self.content {
            Content::Memory(bytes) => Rest::Memory(bytes.clone()),
            Content::File(named) => Rest::File(File::from_std(named.reopen()?)),
        };
        Ok(stream::try_unfold(rest, |rest| async move {
            let (piece, rest) = match rest {
                Rest::Memory(mut bytes) => {
                    let piece = bytes.split_to(PIECE.min(bytes.len()));
                    (piece, Rest::Memory(bytes))
                }
                Rest::File(mut file) => {
                    let mut piece = BytesMut::with_capacity(PIECE);
                    file.read_buf(&mut piece).await?;
                    (piece.freeze(), Rest::File(file))
                }
            };
            Ok((!piece.is_empty()).then_some((piece, rest)))
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::TryStreamExt;

    use super::*;

    async fn read(part: &Part) -> Vec<u8> {
        let pieces: Vec<_> = part.bytes().unwrap().try_collect().await.unwrap();
        pieces.concat()
    }

    #[tokio::test]
    async fn a_part_reads_the_same_as_often_as_wanted_and_leaves_no_file() {
        for rows in [3, 60_000] {
            let mut writer = PartWriter::new(b"Name\n");
            let mut expected = b"Name\n".to_vec();
            for row in 0..rows {
                let row = format!("row number {row} of a table of some length\n");
                expected.extend_from_slice(row.as_bytes());
                writer.push(row.as_bytes()).await.unwrap();
            }
            let part = writer.finish().await.unwrap();
            assert_eq!(part.length, expected.len() as u64);
            assert!(read(&part).await == expected);
            assert!(read(&part).await == expected);
            if let Content::File(named) = part.content {
                assert!(rows > 3);
                let path = named.path().to_owned();
                drop(named);
                assert!(!path.exists());
            }
        }
    }
}
