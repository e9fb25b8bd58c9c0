use bytes::{Buf, BytesMut};
use serde_json::{Map, Value};

use super::base64_json::find;
use super::blob::{Blob, Sink};
use super::refusal::Refusal;
use super::upload::StagedVersion;

/// Reads the multipart form of a new file: one JSON part with the fields and one
/// binary part that is hashed as it comes.
pub(super) struct VersionForm {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    place: Place,
    fields: Option<Map<String, Value>>,
    blob: Option<Blob>,
    keep: bool,
    is_user_interface: bool,
    filename: Option<String>,
    /// The first thing wrong; what comes after it is read past.
    refusal: Option<Refusal>,
}

enum Place {
    Preamble,
    AfterDelimiter,
    Headers,
    Json(Vec<u8>),
    Binary(Sink),
    Epilogue,
}

const HEADERS_AT_MOST: usize = 16 << 10;
const JSON_AT_MOST: usize = 1 << 20;
const NO_JSON_PART: &str = "Multipart message must include a non-binary part";

impl VersionForm {
    pub(super) fn new(content_type: &str, keep: bool) -> Result<Self, Refusal> {
        let boundary = parameter(content_type, "boundary").unwrap_or_default();
        if boundary.is_empty() || boundary.len() > 70 {
            let text = "Multipart message must have a boundary of 1 to 70 characters";
            return Err(Refusal::multipart(text));
        }
        Ok(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line before it that would end in CRLF.
            buffer: BytesMut::from(&b"\r\n"[..]),
            place: Place::Preamble,
            fields: None,
            blob: None,
            keep,
            is_user_interface: false,
            filename: None,
            refusal: None,
        })
    }

    /// As the User Interface API has it: with fixed names of the parts.
    pub(super) fn user_interface(mut self) -> Self {
        self.is_user_interface = true;
        self
    }

    pub(super) fn feed(&mut self, chunk: &[u8]) {
        if self.refusal.is_some() {
            return;
        }
        self.buffer.extend_from_slice(chunk);
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(refusal) => {
                    self.refusal = Some(refusal);
                    self.buffer.clear();
                    return;
                }
            }
        }
    }

    pub(super) fn finish(self) -> Result<StagedVersion, Refusal> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        if !matches!(self.place, Place::Epilogue) {
            return Err(Refusal::multipart(
                "Multipart message is not ended by its boundary",
            ));
        }
        let mut fields = self
            .fields
            .ok_or_else(|| Refusal::multipart(NO_JSON_PART))?;
        if fields
            .keys()
            .any(|name| name.eq_ignore_ascii_case("VersionData"))
        {
            return Err(Refusal::multipart("VersionData is given in two parts"));
        }
        if self.is_user_interface {
            // The name of the part is all that tells the type.
            let name = self.filename.map(Value::String).unwrap_or_default();
            if fields.insert("PathOnClient".to_owned(), name).is_some() {
                let text = "Unrecognized field \"PathOnClient\"";
                return Err(Refusal::bad("JSON_PARSER_ERROR", text));
            }
        }
        Ok(StagedVersion {
            fields,
            blob: self.blob,
        })
    }

    /// One transition; false if more bytes are needed for it.
    fn step(&mut self) -> Result<bool, Refusal> {
        match &mut self.place {
            Place::Epilogue => {
                self.buffer.clear();
                Ok(false)
            }
            Place::AfterDelimiter => self.after_delimiter(),
            Place::Headers => self.headers(),
            Place::Preamble | Place::Json(_) | Place::Binary(_) => self.content(),
        }
    }

    fn after_delimiter(&mut self) -> Result<bool, Refusal> {
        if self.buffer.len() < 2 {
            return Ok(false);
        }
        self.place = match &self.buffer[..2] {
            b"--" => Place::Epilogue,
            b"\r\n" => Place::Headers,
            _ => {
                return Err(Refusal::multipart(
                    "Multipart message has a malformed boundary",
                ));
            }
        };
        self.buffer.advance(2);
        Ok(true)
    }

    fn headers(&mut self) -> Result<bool, Refusal> {
        let end = self
            .buffer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n");
        let Some(end) = end else {
            if self.buffer.len() > HEADERS_AT_MOST {
                return Err(Refusal::multipart(
                    "Multipart message has a part without headers",
                ));
            }
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.advance(end + 4);
        self.place = self.part(&head)?;
        Ok(true)
    }

    fn part(&mut self, head: &str) -> Result<Place, Refusal> {
        let header = |wanted: &str| {
            let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
            lines
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim())
        };
        let disposition = header("content-disposition").unwrap_or_default();
        if !disposition.to_ascii_lowercase().starts_with("form-data") {
            return Err(Refusal::multipart(
                "Each part must have a form-data disposition",
            ));
        }
        let name = parameter(disposition, "name").unwrap_or_default();
        let filename = parameter(disposition, "filename");
        // A part without a type of its own is not seen as the non-binary part.
        let content_type =
            header("content-type").ok_or_else(|| Refusal::multipart(NO_JSON_PART))?;
        let is_json = content_type
            .to_ascii_lowercase()
            .starts_with("application/json");
        let binary = if self.is_user_interface {
            "fileData"
        } else {
            "VersionData"
        };
        let is_named = !self.is_user_interface || name == "json";
        match (filename, is_json) {
            (None, true) if self.fields.is_none() && is_named => Ok(Place::Json(Vec::new())),
            (None, false) if name == binary => {
                Err(Refusal::multipart("The binary part must have a filename"))
            }
            (Some(filename), _) if name == binary && self.blob.is_none() => {
                self.filename = Some(filename);
                Ok(Place::Binary(Sink::new(self.keep)))
            }
            _ => Err(Refusal::multipart(&format!(
                "Multipart message must have one JSON part and one binary part named {binary}",
            ))),
        }
    }

    fn content(&mut self) -> Result<bool, Refusal> {
        let (end, found) = match self.find_delimiter() {
            Some(end) => (end, true),
            // What may be the start of a delimiter stays until more has come.
            None => (
                self.buffer.len().saturating_sub(self.delimiter.len()),
                false,
            ),
        };
        let content = self.buffer.split_to(end);
        match &mut self.place {
            Place::Json(json) if json.len() + content.len() > JSON_AT_MOST => {
                return Err(Refusal::too_large());
            }
            Place::Json(json) => json.extend_from_slice(&content),
            Place::Binary(sink) => sink.write(&content),
            _ => {}
        }
        if found {
            self.buffer.advance(self.delimiter.len());
            self.end_part()?;
        }
        Ok(found)
    }

    fn end_part(&mut self) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.place, Place::AfterDelimiter) {
            Place::Json(json) => {
                let fields = serde_json::from_slice(&json)
                    .map_err(|error| Refusal::bad("JSON_PARSER_ERROR", error.to_string()))?;
                self.fields = Some(fields);
            }
            Place::Binary(sink) => self.blob = Some(sink.finish()?),
            _ => {}
        }
        Ok(())
    }

    fn find_delimiter(&self) -> Option<usize> {
        let mut from = 0;
        while let Some(place) = find(&self.buffer[from..], b'\r') {
            let place = from + place;
            if self.buffer[place..].starts_with(&self.delimiter) {
                return Some(place);
            }
            from = place + 1;
        }
        None
    }
}

/// A parameter of a header like `form-data; name="VersionData"; filename=x`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.trim_start().strip_prefix(';')?;
    }
}

fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[place + 1..])),
            '\\' => value.push(letters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON_PART: &str = "Content-Disposition: form-data; name=\"entity_content\"\r\n\
         Content-Type: application/json\r\n\r\n{\"Title\":\"a\"}";
    const FILE_PART: &str = "Content-Disposition: form-data; name=\"VersionData\"; \
         filename=\"a;b.pdf\"\r\nContent-Type: application/pdf\r\n\r\nbytes\r\n--nope";

    fn read(parts: &[&str], cut: usize) -> Result<StagedVersion, Refusal> {
        let mut body = String::new();
        for part in parts {
            body.push_str(&format!("--b 1\r\n{part}\r\n"));
        }
        body.push_str("--b 1--\r\n");
        let mut form = VersionForm::new("multipart/form-data; boundary=\"b 1\"", true)?;
        body.as_bytes()
            .chunks(cut)
            .for_each(|chunk| form.feed(chunk));
        form.finish()
    }

    #[test]
    fn the_parts_are_read_in_either_order_and_any_cut() {
        for parts in [[JSON_PART, FILE_PART], [FILE_PART, JSON_PART]] {
            for cut in [1, 2, 7, 1000] {
                let staged = read(&parts, cut).unwrap();
                assert_eq!(staged.fields["Title"], "a");
                assert_eq!(staged.blob.unwrap().bytes.unwrap(), "bytes\r\n--nope");
            }
        }
    }

    #[test]
    fn what_the_vendor_refuses_is_refused() {
        let untyped = JSON_PART.replace("Content-Type: application/json\r\n", "");
        let nameless = FILE_PART.replace("; filename=\"a;b.pdf\"", "");
        let other = FILE_PART.replace("VersionData", "Data");
        for parts in [
            [untyped.as_str(), FILE_PART].as_slice(),
            &[JSON_PART, &nameless],
            &[JSON_PART, &other],
            &[JSON_PART, JSON_PART],
            &[FILE_PART],
        ] {
            let refusal = read(parts, 1000).unwrap_err();
            assert_eq!(
                refusal.errors[0].code, "INVALID_MULTIPART_REQUEST",
                "{parts:?}"
            );
        }
        let refusal = read(&[&untyped, FILE_PART], 1000).unwrap_err();
        assert_eq!(refusal.errors[0].message, NO_JSON_PART);
    }

    #[test]
    fn a_form_that_does_not_end_is_refused() {
        let mut form = VersionForm::new("multipart/form-data; boundary=b", true).unwrap();
        form.feed(format!("--b\r\n{JSON_PART}\r\n--b\r\n{FILE_PART}").as_bytes());
        assert!(form.finish().is_err());
        assert!(VersionForm::new("multipart/form-data", true).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_pass_unchanged(data: Vec<u8>, cut in 1_usize..60) {
            let mut body = format!("--b\r\n{JSON_PART}\r\n--b\r\n").into_bytes();
            body.extend(b"Content-Disposition: form-data; name=VersionData; filename=x\r\n");
            body.extend(b"Content-Type: a/b\r\n\r\n");
            body.extend(&data);
            body.extend(b"\r\n--b--");
            let mut form = VersionForm::new("multipart/form-data; boundary=b", true).unwrap();
            body.chunks(cut).for_each(|chunk| form.feed(chunk));
            let blob = form.finish().unwrap().blob.unwrap();
            prop_assert_eq!(blob.bytes.unwrap(), data);
        }
    }
}
