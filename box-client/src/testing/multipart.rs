//! Reads `multipart/form-data` as it arrives, a chunk at a time.

use std::io::{self, BufRead as _};

use bytes::{Bytes, BytesMut};

/// Part headers longer than this are not read.
const LONGEST_HEAD: usize = 8 * 1024;

/// Where the bytes come from.
pub(super) trait Source {
    /// The next bytes, or none at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>>;
}

#[derive(Debug)]
pub(super) struct Multipart<S> {
    source: S,
    buffer: BytesMut,
    /// `\r\n--` and the boundary.
    delimiter: Vec<u8>,
    ended: bool,
}

impl<S: Source> Multipart<S> {
    /// None if the content type names no boundary.
    pub(super) fn new(source: S, content_type: &str) -> Option<Self> {
        let (kind, parameters) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("boundary")
                .then(|| value.trim().trim_matches('"'))
        })?;
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may stand without the line end that all others have before them.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Some(Self {
            source,
            buffer,
            delimiter,
            ended: false,
        })
    }

    /// The name of the next part, skipping what is left of this one.
    pub(super) async fn next_part(&mut self) -> io::Result<Option<String>> {
        while self.chunk().await?.is_some() {}
        if self.ended {
            return Ok(None);
        }
        self.advance(self.delimiter.len()).await?;
        self.fill(2).await?;
        if self.buffer.starts_with(b"--") {
            self.ended = true;
            return Ok(None);
        }
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                return Ok(Some(part_name(&String::from_utf8_lossy(&head))));
            }
            if self.buffer.len() > LONGEST_HEAD || !self.more().await? {
                return Err(malformed());
            }
        }
    }

    /// The next bytes of the part, or none at its end.
    pub(super) async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            match find(&self.buffer, &self.delimiter) {
                Some(0) => return Ok(None),
                Some(at) => return Ok(Some(self.buffer.split_to(at).freeze())),
                None => {}
            }
            // A delimiter may have begun in the last bytes.
            let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if safe > 0 {
                return Ok(Some(self.buffer.split_to(safe).freeze()));
            }
            if !self.more().await? {
                return Err(malformed());
            }
        }
    }

    /// Reads to the end of the body, which a client may be sending still.
    pub(super) async fn drain(mut self) -> io::Result<()> {
        while self.source.next().await?.is_some() {}
        Ok(())
    }

    async fn advance(&mut self, length: usize) -> io::Result<()> {
        self.fill(length).await?;
        let _ = self.buffer.split_to(length);
        Ok(())
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            if !self.more().await? {
                return Err(malformed());
            }
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<bool> {
        let Some(bytes) = self.source.next().await? else {
            return Ok(false);
        };
        self.buffer.extend_from_slice(&bytes);
        Ok(true)
    }
}

fn part_name(head: &str) -> String {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    });
    let mut parameters = disposition.unwrap_or_default().split(';');
    let name = parameters.find_map(|parameter| parameter.trim().strip_prefix("name="));
    name.unwrap_or_default().trim_matches('"').to_owned()
}

/// Jumps from one candidate for the first byte to the next: `skip_until` is the standard
/// library's fast byte search, where a scan byte by byte takes most of an upload's time.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, _) = needle.split_first()?;
    let mut from = 0;
    loop {
        let mut rest = haystack.get(from..)?;
        let skipped = rest.skip_until(first).ok()?;
        let at = (from + skipped).checked_sub(1)?;
        if skipped == 0 || haystack.get(at) != Some(&first) {
            return None;
        }
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the multipart body ended unexpectedly",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    struct Chunks(Vec<Bytes>);

    impl Source for Chunks {
        async fn next(&mut self) -> io::Result<Option<Bytes>> {
            Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    fn read(body: &[u8], step: usize) -> io::Result<Vec<(String, Vec<u8>)>> {
        let chunks = Chunks(body.chunks(step).map(Bytes::copy_from_slice).collect());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut parts = Vec::new();
            let mut form = Multipart::new(chunks, "multipart/form-data; boundary=\"B\"").unwrap();
            while let Some(name) = form.next_part().await? {
                let mut content = Vec::new();
                while let Some(chunk) = form.chunk().await? {
                    content.extend_from_slice(&chunk);
                }
                parts.push((name, content));
            }
            Ok(parts)
        })
    }

    fn form(content: &[u8]) -> Vec<u8> {
        let mut body = b"--B\r\nContent-Disposition: form-data; name=\"attributes\"\r\n\r\n{}\r\n--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: x/y\r\n\r\n".to_vec();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--B--\r\n");
        body
    }

    proptest! {
        #[test]
        fn any_content_in_any_chunks_arrives_whole(
            content in prop::collection::vec(prop::sample::select(b"\r\n-Bx".to_vec()), 0..60)
                .prop_filter("holds the delimiter", |c| find(c, b"\r\n--B").is_none()
                    && !c.starts_with(b"--B")),
            step in 1_usize..40,
        ) {
            let parts = read(&form(&content), step).unwrap();
            prop_assert_eq!(parts, vec![
                ("attributes".to_owned(), b"{}".to_vec()),
                ("file".to_owned(), content),
            ]);
        }

        #[test]
        fn what_is_no_form_is_an_error_and_no_panic(
            body in prop::collection::vec(any::<u8>(), 0..200),
            step in 1_usize..40,
        ) {
            prop_assert!(read(&body, step).is_err() || body.starts_with(b"--B"));
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error() {
        let whole = form(b"content");
        for cut in 0..whole.len() - 4 {
            assert!(read(&whole[..cut], 7).is_err(), "cut at {cut}");
        }
    }
}
