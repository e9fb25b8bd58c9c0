use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};

use super::refusal::Refusal;

/// Content of a file, or what is kept of it.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) size: u64,
    pub(super) md5: String,
    /// Absent if the fake was told not to keep bytes, or the file was too big.
    pub(super) bytes: Option<Bytes>,
}

/// Hashes and counts content as it comes in, so that it need not be held.
pub(super) struct Sink {
    hash: Md5,
    size: u64,
    kept: Option<BytesMut>,
}

const KEPT_AT_MOST: usize = 64 << 20;
const LARGEST: u64 = 2 << 30;

impl Sink {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            hash: Md5::new(),
            size: 0,
            kept: keep.then(BytesMut::new),
        }
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.hash.update(data);
        self.size += data.len() as u64;
        if let Some(kept) = &mut self.kept {
            if kept.len() + data.len() > KEPT_AT_MOST {
                self.kept = None;
            } else {
                kept.extend_from_slice(data);
            }
        }
    }

    pub(super) fn finish(self) -> Result<Blob, Refusal> {
        if self.size >= LARGEST {
            let text = "The file exceeds the maximum size of 2147483648 bytes";
            return Err(Refusal::data(
                "FILE_SIZE_LIMIT_EXCEEDED",
                text,
                &["VersionData"],
            ));
        }
        let digest = self.hash.finalize();
        let md5 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Blob {
            size: self.size,
            md5,
            bytes: self.kept.map(BytesMut::freeze),
        })
    }
}
