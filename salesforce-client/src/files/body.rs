//! The body of an upload: a head, the content as it comes, and a tail that completes it.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use base64::Engine;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::general_purpose::STANDARD as BASE64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::{general_purpose::PAD, simd::Simd};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use http::HeaderValue;

/// Three times as fast as the portable one, where there is such hardware.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static BASE64: std::sync::LazyLock<Simd> = std::sync::LazyLock::new(|| Simd::standard(PAD));

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How the content is wrapped.
#[derive(Clone, Debug)]
pub(super) struct Encoding {
    head: String,
    tail: String,
    boundary: Option<String>,
}

impl Encoding {
    /// The object `json` with one more member at its end, all in one line.
    pub(super) fn base64(json: &str) -> Self {
        let open = json.strip_suffix('}').unwrap_or(json);
        let comma = if open.ends_with('{') { "" } else { "," };
        Self {
            head: format!("{open}{comma}\"VersionData\":\""),
            tail: "\"}".to_owned(),
            boundary: None,
        }
    }

    /// The JSON first, and each part with its own content type: without one Salesforce takes the
    /// JSON for another binary part. The part's file name stays plain ASCII; the true name is in
    /// the JSON.
    pub(super) fn multipart(json: &str, name: &str) -> Self {
        let boundary: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(40)
            .collect();
        let extension = name
            .rsplit_once('.')
            .map(|(_, extension)| extension)
            .filter(|extension| {
                extension.len() <= 16 && extension.bytes().all(|b| b.is_ascii_alphanumeric())
            })
            .unwrap_or("bin");
        Self {
            head: format!(
                "--{boundary}\r\n\
                 Content-Disposition: form-data; name=\"entity_content\"\r\n\
                 Content-Type: application/json\r\n\r\n\
                 {json}\r\n\
                 --{boundary}\r\n\
                 Content-Disposition: form-data; name=\"VersionData\"; filename=\"file.{extension}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            ),
            tail: format!("\r\n--{boundary}--\r\n"),
            boundary: Some(boundary),
        }
    }

    pub(super) fn content_type(&self) -> HeaderValue {
        match &self.boundary {
            None => HeaderValue::from_static("application/json"),
            Some(boundary) => {
                HeaderValue::try_from(format!("multipart/form-data; boundary=\"{boundary}\""))
                    .expect("letters and digits make a header")
            }
        }
    }

    /// The body's length for a content of `size` bytes.
    pub(super) fn length(&self, size: u64) -> u64 {
        let content = if self.boundary.is_some() {
            size
        } else {
            size.div_ceil(3) * 4
        };
        self.head.len() as u64 + content + self.tail.len() as u64
    }
}

/// A body that can be sent once.
pub(crate) struct Upload {
    pub(crate) body: reqwest::Body,
    pub(crate) progress: Arc<Progress>,
}

/// What has become of a body so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    sent: AtomicU64,
    whole: AtomicBool,
    failure: Mutex<Option<Cause>>,
}

impl Progress {
    /// How much of it has been asked for.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether all of it has been asked for.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// What kept it from becoming whole.
    pub(crate) fn failure(&self) -> Option<Cause> {
        self.failure
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take()
    }

    fn fail(&self, cause: Cause) -> std::io::Error {
        *self
            .failure
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(cause);
        std::io::Error::other("the content failed")
    }
}

impl Upload {
    pub(super) fn new<S, E>(encoding: Encoding, content: S, size: u64) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Cause>,
    {
        let progress = Arc::new(Progress::default());
        let state = Body {
            base64: encoding.boundary.is_none(),
            head: Some(encoding.head.into()),
            tail: Some(encoding.tail.into()),
            content: Box::pin(content.map(|item| item.map_err(Into::into))),
            left: size,
            carry: BytesMut::new(),
            progress: Arc::clone(&progress),
        };
        let pieces = stream::try_unfold(state, |mut state| async move {
            let piece = state
                .next()
                .await
                .map_err(|cause| state.progress.fail(cause))?;
            Ok::<_, std::io::Error>(piece.map(|piece| {
                state
                    .progress
                    .sent
                    .fetch_add(piece.len() as u64, Ordering::Relaxed);
                (piece, state)
            }))
        });
        Self {
            body: reqwest::Body::wrap_stream(pieces),
            progress,
        }
    }
}

struct Body {
    base64: bool,
    head: Option<Bytes>,
    tail: Option<Bytes>,
    content: Pin<Box<dyn Stream<Item = Result<Bytes, Cause>> + Send>>,
    left: u64,
    /// Up to two bytes that do not fill a group of three yet.
    carry: BytesMut,
    progress: Arc<Progress>,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        while self.tail.is_some() {
            let Some(chunk) = self.content.next().await.transpose()? else {
                if self.left > 0 {
                    return Err("the content is shorter than announced".into());
                }
                // Only now is it certain that the content is right: this completes the request.
                let tail = self.tail.take();
                self.progress.whole.store(true, Ordering::Relaxed);
                return Ok(tail);
            };
            let length = chunk.len() as u64;
            self.left = self
                .left
                .checked_sub(length)
                .ok_or("the content is longer than announced")?;
            let piece = if self.base64 {
                self.encoded(chunk)
            } else {
                chunk
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// Whole groups of three bytes; the rest of the content is in the last chunk, so its end is
    /// padded there.
    fn encoded(&mut self, mut chunk: Bytes) -> Bytes {
        let mut text = String::with_capacity((self.carry.len() + chunk.len()).div_ceil(3) * 4);
        if !self.carry.is_empty() {
            let missing = (3 - self.carry.len()).min(chunk.len());
            self.carry.extend_from_slice(&chunk.split_to(missing));
            if self.carry.len() == 3 || self.left == 0 {
                BASE64.encode_string(self.carry.split(), &mut text);
            }
        }
        let now = if self.left == 0 {
            chunk.len()
        } else {
            chunk.len() / 3 * 3
        };
        BASE64.encode_string(chunk.split_to(now), &mut text);
        self.carry.extend_from_slice(&chunk);
        text.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    async fn pieces(
        encoding: &Encoding,
        chunks: Vec<Vec<u8>>,
        size: u64,
    ) -> (Vec<u8>, Option<Cause>) {
        let mut body = Body {
            base64: encoding.boundary.is_none(),
            head: Some(encoding.head.clone().into()),
            tail: Some(encoding.tail.clone().into()),
            content: Box::pin(stream::iter(
                chunks.into_iter().map(|chunk| Ok(chunk.into())),
            )),
            left: size,
            carry: BytesMut::new(),
            progress: Arc::default(),
        };
        let mut all = Vec::new();
        loop {
            match body.next().await {
                Ok(Some(piece)) => all.extend_from_slice(&piece),
                Ok(None) => return (all, None),
                Err(cause) => return (all, Some(cause)),
            }
        }
    }

    proptest! {
        #[test]
        fn however_the_content_is_cut_the_body_is_the_same_and_as_long_as_announced(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let content = chunks.concat();
            let size = content.len() as u64;

            let encoding = Encoding::base64(r#"{"Title":"t"}"#);
            let (body, _) = runtime.block_on(pieces(&encoding, chunks.clone(), size));
            prop_assert_eq!(body.len() as u64, encoding.length(size));
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(STANDARD.decode(json["VersionData"].as_str().unwrap()).unwrap(), content.clone());
            prop_assert_eq!(&json["Title"], "t");

            let encoding = Encoding::multipart("{}", "a.pdf");
            let (body, _) = runtime.block_on(pieces(&encoding, chunks, size));
            prop_assert_eq!(body.len() as u64, encoding.length(size));
            let expected = [encoding.head.as_bytes(), &content, encoding.tail.as_bytes()].concat();
            prop_assert_eq!(body, expected);
        }
    }

    #[tokio::test]
    async fn a_content_of_another_length_never_gets_its_tail() {
        let encoding = Encoding::base64("{}");
        for announced in [2, 4] {
            let (body, cause) = pieces(&encoding, vec![b"abc".to_vec()], announced).await;
            assert!(cause.is_some());
            assert!(!body.ends_with(b"\"}"));
        }
    }
}
