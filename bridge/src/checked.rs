//! Bytes on their way from one side to the other, counted and hashed as they pass.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use md5::Md5;
use sha1::{Digest, Sha1};

use crate::{
    content::Content,
    port_error::{PortError, PortErrorKind},
};

/// Where a passed content's MD5 can be had once it has passed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprint(Arc<Mutex<Option<String>>>);

impl Fingerprint {
    /// MD5 in hex, when it was asked for, all bytes have passed and were right.
    pub(crate) fn md5(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

/// What is hashed besides the SHA-1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Besides {
    Nothing,
    Md5,
}

/// Lets the bytes through and ends in an error instead of its end when there are more or fewer
/// than announced or when they do not have this SHA-1. Whoever writes them elsewhere completes
/// nothing before that end.
pub(crate) fn checked(
    content: Content,
    sha1: Option<&str>,
    besides: Besides,
) -> (Content, Fingerprint) {
    let fingerprint = Fingerprint::default();
    let state = Passing {
        source: content,
        passed: 0,
        sha1: sha1.map(|expected| (Sha1::new(), expected.to_owned())),
        md5: (besides == Besides::Md5).then(Md5::new),
        fingerprint: fingerprint.clone(),
        gap: 0,
    };
    let size = state.source.size;
    let bytes = stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|chunk| (chunk, state)))
    });
    (
        Content {
            size,
            bytes: bytes.boxed(),
        },
        fingerprint,
    )
}

struct Passing {
    source: Content,
    passed: u64,
    sha1: Option<(Sha1, String)>,
    md5: Option<Md5>,
    fingerprint: Fingerprint,
    /// What is missing to a whole block.
    gap: usize,
}

/// Both hashes work on blocks of this.
const BLOCK: usize = 64;

impl Passing {
    async fn next(&mut self) -> Result<Option<Bytes>, PortError> {
        let Some(chunk) = self.source.bytes.next().await.transpose()? else {
            return self.end();
        };
        self.passed += chunk.len() as u64;
        if self.passed > self.source.size {
            return Err(wrong("there are more bytes than announced"));
        }
        self.hash(&chunk);
        Ok(Some(chunk))
    }

    /// Block by block in turn: MD5 waits for its own results most of the time, and SHA-1 fits
    /// into the gaps.
    fn hash(&mut self, chunk: &[u8]) {
        let (sha1, md5) = match (&mut self.sha1, &mut self.md5) {
            (Some((sha1, _)), Some(md5)) => (sha1, md5),
            (Some((sha1, _)), None) => return sha1.update(chunk),
            (None, Some(md5)) => return md5.update(chunk),
            (None, None) => return,
        };
        // Up to where both hashes have whole blocks, which they then need not gather first.
        let (first, rest) = chunk.split_at(chunk.len().min(self.gap));
        self.gap -= first.len();
        sha1.update(first);
        md5.update(first);
        for block in rest.chunks(BLOCK) {
            md5.update(block);
            sha1.update(block);
        }
        if self.gap == 0 {
            self.gap = (BLOCK - rest.len() % BLOCK) % BLOCK;
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>, PortError> {
        if self.passed != self.source.size {
            return Err(wrong("there are fewer bytes than announced"));
        }
        if let Some((hash, expected)) = self.sha1.take()
            && !hex(&hash.finalize()).eq_ignore_ascii_case(&expected)
        {
            return Err(wrong("the SHA-1 is another than the content side's"));
        }
        let md5 = self.md5.take().map(|hash| hex(&hash.finalize()));
        *self
            .fingerprint
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = md5;
        Ok(None)
    }
}

fn wrong(how: &'static str) -> PortError {
    PortError::new(PortErrorKind::Integrity, "download").with_cause(how)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
