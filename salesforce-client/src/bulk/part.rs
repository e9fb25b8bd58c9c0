//! The data of one job: in memory while it is small, in a file of its own beyond that, so that it
//! can be sent again.

use std::{fs::File, io, io::Write as _, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use tokio::task::spawn_blocking;

/// What is written to the file at once, and what a load of a few rows never exceeds.
const IN_MEMORY: usize = 1024 * 1024;
/// What is handed to the connection at once.
const PIECE: usize = 128 * 1024;

/// Data that is being collected.
pub(super) struct PartWriter {
    buffer: Vec<u8>,
    spilled: Option<File>,
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
    /// One without a name, so that nothing of it is left however the process ends.
    File(Arc<File>),
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

    pub(super) fn rows(&self) -> u64 {
        self.rows
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
            Some(file) => Content::File(Arc::new(file)),
            None => Content::Memory(Bytes::new()),
        };
        Ok(Part {
            length: self.length,
            content,
        })
    }

    async fn spill(&mut self) -> io::Result<()> {
        let (file, mut buffer) = (self.spilled.take(), std::mem::take(&mut self.buffer));
        let written = spawn_blocking(move || {
            let mut file = file.map_or_else(tempfile::tempfile, Ok)?;
            file.write_all(&buffer)?;
            buffer.clear();
            Ok::<_, io::Error>((file, buffer))
        });
        let (file, buffer) = written.await??;
        (self.spilled, self.buffer) = (Some(file), buffer);
        Ok(())
    }
}

impl Part {
    /// The bytes, from the start: each call reads on its own.
    pub(super) fn bytes(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        enum Rest {
            Memory(Bytes),
            File(Arc<File>, u64),
        }
        let rest = match &self.content {
            Content::Memory(bytes) => Rest::Memory(bytes.clone()),
            Content::File(file) => Rest::File(Arc::clone(file), 0),
        };
        stream::try_unfold(rest, |rest| async move {
            let (piece, rest) = match rest {
                Rest::Memory(mut bytes) => {
                    let piece = bytes.split_to(PIECE.min(bytes.len()));
                    (piece, Rest::Memory(bytes))
                }
                Rest::File(file, at) => {
                    let read = spawn_blocking(move || {
                        let mut piece = BytesMut::zeroed(PIECE);
                        let length = read_at(&file, &mut piece, at)?;
                        piece.truncate(length);
                        Ok::<_, io::Error>((piece.freeze(), file))
                    });
                    let (piece, file) = read.await??;
                    let next = at + piece.len() as u64;
                    (piece, Rest::File(file, next))
                }
            };
            Ok((!piece.is_empty()).then_some((piece, rest)))
        })
    }
}

/// Without a position that several readers would share.
#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, at)
}

#[cfg(windows)]
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::TryStreamExt;

    use super::*;

    async fn read(part: &Part) -> Vec<u8> {
        let pieces: Vec<_> = part.bytes().try_collect().await.unwrap();
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
            // Also at the same time.
            let (one, other) = tokio::join!(read(&part), read(&part));
            assert!(one == expected && other == expected);
            if let Content::File(file) = part.content {
                assert!(rows > 3);
                #[cfg(unix)]
                assert_eq!(
                    std::os::unix::fs::MetadataExt::nlink(&file.metadata().unwrap()),
                    0
                );
            }
        }
    }
}
