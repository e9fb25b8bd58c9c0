use std::io::BufRead;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::blob::{Blob, Sink};
use super::refusal::Refusal;
use super::upload::StagedVersion;

/// Reads the JSON form of a new file: `VersionData` is decoded and hashed as it
/// comes, everything else is kept for the parser.
pub(super) struct VersionJson {
    rest: Vec<u8>,
    place: Place,
    depth: u32,
    /// Between `{` or `,` and the `:` of the outermost object.
    expects_key: bool,
    key: Vec<u8>,
    content: Option<Content>,
    keep: bool,
    spoiled: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Between,
    Key,
    Text,
    Escape { in_key: bool },
    Data,
    DataEscape,
}

impl VersionJson {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            rest: Vec::new(),
            place: Place::Between,
            depth: 0,
            expects_key: false,
            key: Vec::new(),
            content: None,
            keep,
            spoiled: false,
        }
    }

    pub(super) fn read_all(body: &[u8], keep: bool) -> Result<StagedVersion, Refusal> {
        let mut reader = Self::new(keep);
        reader.feed(body);
        reader.finish()
    }

    pub(super) fn feed(&mut self, mut chunk: &[u8]) {
        while let Some((&byte, after)) = chunk.split_first() {
            if self.place == Place::Data {
                chunk = self.data(chunk);
                continue;
            }
            chunk = after;
            self.step(byte);
        }
    }

    pub(super) fn finish(self) -> Result<StagedVersion, Refusal> {
        let fields: Map<String, Value> = serde_json::from_slice(&self.rest)
            .map_err(|error| Refusal::bad("JSON_PARSER_ERROR", error.to_string()))?;
        let blob = match self.content {
            Some(_) if self.spoiled => return Err(not_base64()),
            Some(content) => Some(content.finish()?),
            None => None,
        };
        let fields = fields
            .into_iter()
            .filter(|(name, value)| !is_version_data(name.as_bytes()) || is_wrong_type(value))
            .collect();
        Ok(StagedVersion { fields, blob })
    }

    fn step(&mut self, byte: u8) {
        if self.place == Place::DataEscape {
            // `\/` is the one escape that can stand for a character of the alphabet.
            match (byte, &mut self.content) {
                (b'/', Some(content)) => content.push(b"/"),
                _ => self.spoiled = true,
            }
            self.place = Place::Data;
            return;
        }
        self.rest.push(byte);
        match (self.place, byte) {
            (Place::Escape { in_key }, _) => {
                self.place = if in_key { Place::Key } else { Place::Text };
            }
            (Place::Key, b'\\') => self.place = Place::Escape { in_key: true },
            (Place::Text, b'\\') => self.place = Place::Escape { in_key: false },
            (Place::Key, b'"') | (Place::Text, b'"') => self.place = Place::Between,
            (Place::Key, _) => self.key.push(byte),
            (Place::Between, b'"') => self.open_text(),
            (Place::Between, b'{' | b'[') => {
                self.depth += 1;
                self.expects_key = self.depth == 1 && byte == b'{';
            }
            (Place::Between, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            (Place::Between, b',') => self.expects_key = self.depth == 1,
            (Place::Between, b':') => self.expects_key = false,
            _ => {}
        }
    }

    fn open_text(&mut self) {
        self.place = match (self.depth, self.expects_key) {
            (1, true) => {
                self.key.clear();
                Place::Key
            }
            (1, false) if is_version_data(&self.key) => {
                self.spoiled |= self.content.is_some();
                self.content = Some(Content::new(self.keep));
                Place::Data
            }
            _ => Place::Text,
        };
    }

    /// Takes content up to the quote that ends it; gives back what follows.
    fn data<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let end = find(chunk, b'"');
        let run = &chunk[..end.unwrap_or(chunk.len())];
        if let Some(escape) = find(run, b'\\') {
            self.push(&run[..escape]);
            self.place = Place::DataEscape;
            return &chunk[escape + 1..];
        }
        self.push(run);
        let Some(end) = end else {
            return &[];
        };
        self.rest.push(b'"');
        self.place = Place::Between;
        &chunk[end + 1..]
    }

    fn push(&mut self, run: &[u8]) {
        if let Some(content) = &mut self.content {
            content.push(run);
        }
    }
}

/// Base64 in any pieces, decoded strictly: standard alphabet, padding, one line.
struct Content {
    sink: Sink,
    carry: Vec<u8>,
    decoded: Vec<u8>,
    is_padded: bool,
    is_wrong: bool,
}

const PIECE: usize = 64 << 10;

impl Content {
    fn new(keep: bool) -> Self {
        Self {
            sink: Sink::new(keep),
            carry: Vec::new(),
            decoded: Vec::new(),
            is_padded: false,
            is_wrong: false,
        }
    }

    fn push(&mut self, run: &[u8]) {
        for piece in run.chunks(PIECE) {
            self.carry.extend_from_slice(piece);
            let whole = self.carry.len() / 4 * 4;
            self.decode(whole);
        }
    }

    fn decode(&mut self, whole: usize) {
        if whole == 0 || self.is_wrong {
            self.carry.drain(..whole);
            return;
        }
        self.decoded.clear();
        let result = STANDARD.decode_vec(&self.carry[..whole], &mut self.decoded);
        self.is_wrong = self.is_padded || result.is_err();
        self.is_padded = self.carry[..whole].ends_with(b"=");
        self.sink.write(&self.decoded);
        self.carry.drain(..whole);
    }

    fn finish(self) -> Result<Blob, Refusal> {
        if self.is_wrong || !self.carry.is_empty() {
            return Err(not_base64());
        }
        self.sink.finish()
    }
}

fn is_version_data(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"VersionData")
}

/// A `VersionData` that is neither text nor null stays in the fields, to be refused.
fn is_wrong_type(value: &Value) -> bool {
    !matches!(value, Value::String(_) | Value::Null)
}

fn not_base64() -> Refusal {
    Refusal::unparsable("base64", "VersionData")
}

/// Place of the first such byte.
pub(super) fn find(text: &[u8], byte: u8) -> Option<usize> {
    let mut rest = text;
    // `skip_until` searches a machine word at a time, which counts at two gigabytes.
    let seen = rest.skip_until(byte).ok()?;
    (text[..seen].last() == Some(&byte)).then(|| seen - 1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Result<StagedVersion, Refusal> {
        VersionJson::read_all(body.as_bytes(), true)
    }

    fn content(body: &str) -> Option<Bytes> {
        read(body).ok()?.blob?.bytes
    }

    #[test]
    fn content_is_taken_out_and_the_rest_is_kept() {
        let body = r#"{"Title":"a \"VersionData\": \"x","n":{"VersionData":"no"},
            "versiondata" : "aGVs\/G8=" ,"PathOnClient":"a.txt"}"#;
        let staged = read(body).ok();
        let staged = staged.as_ref();
        assert_eq!(
            staged.and_then(|s| s.blob.as_ref()).map(|b| b.size),
            Some(5)
        );
        let title = staged
            .and_then(|s| s.fields.get("Title"))
            .and_then(Value::as_str);
        assert_eq!(title, Some("a \"VersionData\": \"x"));
        assert_eq!(staged.map(|s| s.fields.len()), Some(3));
    }

    #[test]
    fn only_strict_base64_is_content() {
        assert_eq!(
            content(r#"{"VersionData":"aGVsbG8="}"#),
            Some(Bytes::from("hello"))
        );
        assert_eq!(content(r#"{"VersionData":""}"#), Some(Bytes::new()));
        for wrong in [
            "aGVsbG8",
            "aGVs\\nbG8=",
            "aGVs bG8=",
            "aGVs-G8=",
            "aA==aA==",
            "a",
        ] {
            assert!(
                read(&format!(r#"{{"VersionData":"{wrong}"}}"#)).is_err(),
                "{wrong}"
            );
        }
        assert!(read(r#"{"VersionData":"aA==","VersionData":"aA=="}"#).is_err());
        assert!(read(r#"{"VersionData":"aA=="#).is_err());
    }

    #[test]
    fn absent_content_is_no_content() {
        assert!(read(r#"{"VersionData":null}"#).is_ok_and(|staged| staged.blob.is_none()));
        assert!(read(r#"{"Title":"a"}"#).is_ok_and(|staged| staged.blob.is_none()));
    }

    proptest! {
        #[test]
        fn the_cut_of_the_body_does_not_matter(data: Vec<u8>, cut in 1_usize..50) {
            let text = STANDARD.encode(&data);
            let body = format!(r#"{{"a":"b\"","VersionData":"{text}","c":[1]}}"#);
            let mut reader = VersionJson::new(true);
            body.as_bytes().chunks(cut).for_each(|chunk| reader.feed(chunk));
            let staged = reader.finish().ok();
            let blob = staged.and_then(|staged| staged.blob);
            prop_assert_eq!(blob.and_then(|blob| blob.bytes), Some(Bytes::from(data)));
        }
    }
}
