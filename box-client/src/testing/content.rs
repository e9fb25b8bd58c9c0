//! The bytes of a file version: kept, made up on the fly, or only known by their hash.

use std::{
    fmt::{self, Write as _},
    ops::Range,
};

use bytes::Bytes;
use sha1::{Digest as _, Sha1};

use super::ids::scramble;

pub(super) const CHUNK: u64 = 64 * 1024;

/// More than this of one file is never kept.
pub(super) const KEPT: u64 = 64 * 1024 * 1024;

pub(super) enum Content {
    Kept(Bytes),
    /// A stream that `seed` determines, readable from any position.
    Generated {
        seed: u64,
        size: u64,
    },
    /// Too large to keep, or the fake was told not to.
    Forgotten {
        size: u64,
    },
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Kept(bytes) => bytes.len() as u64,
            Self::Generated { size, .. } | Self::Forgotten { size } => *size,
        }
    }

    /// At most [`CHUNK`] bytes from the start of the range, or none if they were not kept.
    pub(super) fn read(&self, range: Range<u64>) -> Option<Bytes> {
        let end = range.end.min(range.start + CHUNK).min(self.size());
        let start = range.start.min(end);
        match self {
            Self::Kept(bytes) => Some(bytes.slice(start as usize..end as usize)),
            Self::Generated { seed, .. } => Some(generate(*seed, start..end)),
            Self::Forgotten { .. } => None,
        }
    }

    /// The hash in hex, read through once.
    pub(super) fn sha1(&self) -> String {
        let mut hash = Sha1::new();
        let mut at = 0;
        while let Some(chunk) = self.read(at..self.size()).filter(|chunk| !chunk.is_empty()) {
            hash.update(&chunk);
            at += chunk.len() as u64;
        }
        hex(&hash.finalize())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size())
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// At most [`CHUNK`] bytes, so the casts hold.
fn generate(seed: u64, range: Range<u64>) -> Bytes {
    const WORD: u64 = 8;
    let (first, last) = (range.start / WORD, range.end.div_ceil(WORD));
    let mut words = Vec::with_capacity(((last - first) * WORD) as usize);
    for index in first..last {
        words.extend_from_slice(&scramble(seed, index).to_le_bytes());
    }
    let skip = (range.start - first * WORD) as usize;
    let length = (range.end - range.start) as usize;
    Bytes::from(words).slice(skip..skip + length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn generated_bytes_do_not_depend_on_where_reading_starts() {
        let content = Content::Generated {
            seed: 7,
            size: 1000,
        };
        let whole = content.read(0..1000).unwrap();
        assert_eq!(whole.len(), 1000);
        for start in [0, 1, 7, 8, 9, 500, 999, 1000] {
            let tail = content.read(start..1000).unwrap();
            assert_eq!(tail, whole.slice(start as usize..), "from {start}");
        }
        assert_eq!(content.sha1(), Content::Kept(whole).sha1());
    }

    #[test]
    fn the_hash_is_the_usual_one() {
        let content = Content::Kept(Bytes::from_static(b"test"));
        assert_eq!(content.sha1(), "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3");
    }
}
