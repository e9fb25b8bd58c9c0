//! How the content is wrapped: as base64 in JSON, or as multipart.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::general_purpose::STANDARD as ENGINE;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::{general_purpose::PAD, simd::Simd};
use base64::{EncodeSliceError, Engine};
use bytes::Bytes;

/// Three times as fast as the portable one, where there is such hardware.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: std::sync::LazyLock<Simd> = std::sync::LazyLock::new(|| Simd::standard(PAD));

/// What stands around the content.
pub(super) struct Encoding {
    head: Bytes,
    tail: Bytes,
    boundary: Option<String>,
}

impl Encoding {
    /// The object `json` with one more member at its end, all in one line.
    pub(super) fn base64(json: &str) -> Self {
        let open = json.strip_suffix('}').unwrap_or(json);
        let comma = if open.ends_with('{') { "" } else { "," };
        Self {
            head: format!("{open}{comma}\"VersionData\":\"").into(),
            tail: Bytes::from_static(b"\"}"),
            boundary: None,
        }
    }

    /// The JSON first, and each part with its own content type: without one Salesforce takes the
    /// JSON for another binary part. The part's file name stays plain ASCII; the true name is in
    /// the JSON.
    pub(super) fn multipart(json: &str, name: &str) -> Self {
        Self::form(["entity_content", "VersionData"], json, name)
    }

    /// As the User Interface API names the parts.
    pub(super) fn user_interface(json: &str, name: &str) -> Self {
        Self::form(["json", "fileData"], json, name)
    }

    fn form([json_part, file_part]: [&str; 2], json: &str, name: &str) -> Self {
        let boundary: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(40)
            .collect();
        let extension = name
            .rsplit_once('.')
            .map(|(_, extension)| extension)
            .filter(|extension| {
                (1..=16).contains(&extension.len())
                    && extension.bytes().all(|b| b.is_ascii_alphanumeric())
            })
            .unwrap_or("bin");
        let head = format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"{json_part}\"\r\n\
             Content-Type: application/json\r\n\r\n\
             {json}\r\n\
             --{boundary}\r\n\
             Content-Disposition: form-data; name=\"{file_part}\"; filename=\"file.{extension}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        Self {
            head: head.into(),
            tail: format!("\r\n--{boundary}--\r\n").into(),
            boundary: Some(boundary),
        }
    }

    pub(super) fn is_base64(&self) -> bool {
        self.boundary.is_none()
    }

    pub(super) fn head(&self) -> Bytes {
        self.head.clone()
    }

    pub(super) fn tail(&self) -> Bytes {
        self.tail.clone()
    }

    pub(super) fn content_type(&self) -> String {
        match &self.boundary {
            None => "application/json".to_owned(),
            Some(boundary) => format!("multipart/form-data; boundary=\"{boundary}\""),
        }
    }

    /// The body's length for a content of `size` bytes.
    pub(super) fn length(&self, size: u64) -> u64 {
        let content = if self.is_base64() {
            size.div_ceil(3).saturating_mul(4)
        } else {
            size
        };
        content.saturating_add((self.head.len() + self.tail.len()) as u64)
    }
}

/// Encodes chunk after chunk as if they were one.
#[derive(Default)]
pub(super) struct Base64 {
    /// Up to two bytes that do not fill a group of three yet.
    carry: [u8; 3],
    carried: usize,
}

impl Base64 {
    /// As many whole groups as there are.
    pub(super) fn encode(&mut self, mut bytes: &[u8]) -> Result<Bytes, EncodeSliceError> {
        let mut text = vec![0; (self.carried + bytes.len()) / 3 * 4];
        let mut written = 0;
        if self.carried > 0 {
            while self.carried < 3 {
                let Some((first, rest)) = bytes.split_first() else {
                    return Ok(Bytes::new());
                };
                self.carry[self.carried] = *first;
                self.carried += 1;
                bytes = rest;
            }
            written += ENGINE.encode_slice(self.carry, &mut text)?;
            self.carried = 0;
        }
        let (groups, rest) = bytes.split_at(bytes.len() / 3 * 3);
        written += ENGINE.encode_slice(groups, &mut text[written..])?;
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carried = rest.len();
        text.truncate(written);
        Ok(text.into())
    }

    /// What is left, padded.
    pub(super) fn finish(&mut self) -> String {
        let rest = &self.carry[..std::mem::take(&mut self.carried)];
        ENGINE.encode(rest)
    }
}
