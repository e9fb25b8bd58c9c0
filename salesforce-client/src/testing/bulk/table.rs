use bytes::Bytes;
use csv::{ByteRecord, QuoteStyle, ReaderBuilder, Terminator, WriterBuilder};
use serde::Deserialize;

use super::super::refusal::Refusal;
use super::refuse;

/// How a job's CSV is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Format {
    pub(super) delimiter: &'static str,
    pub(super) ending: &'static str,
}

const DELIMITERS: [(&str, u8); 6] = [
    ("BACKQUOTE", b'`'),
    ("CARET", b'^'),
    ("COMMA", b','),
    ("PIPE", b'|'),
    ("SEMICOLON", b';'),
    ("TAB", b'\t'),
];

/// What a job says of its format when it is created.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    content_type: Option<String>,
    column_delimiter: Option<String>,
    line_ending: Option<String>,
}

impl Format {
    pub(super) fn new(asked: &Asked) -> Result<Self, Refusal> {
        let kind = asked.content_type.as_deref().unwrap_or("CSV");
        if kind != "CSV" {
            let text = format!("{kind} is not a valid Content-Type");
            return Err(refuse("UnsupportedContentType", &text));
        }
        let delimiter = asked.column_delimiter.as_deref().unwrap_or("COMMA");
        let known = DELIMITERS.iter().find(|(name, _)| *name == delimiter);
        let (delimiter, _) =
            known.ok_or_else(|| Refusal::unparsable("BulkColumnDelimiter", delimiter))?;
        let ending = match asked.line_ending.as_deref() {
            None | Some("LF") => "LF",
            Some("CRLF") => "CRLF",
            Some(other) => return Err(Refusal::unparsable("BulkLineEnding", other)),
        };
        Ok(Self { delimiter, ending })
    }

    fn byte(self) -> u8 {
        let known = DELIMITERS.iter().find(|(name, _)| *name == self.delimiter);
        known.map_or(b',', |(_, byte)| *byte)
    }

    /// The first line tells whether the data is as the job says.
    pub(super) fn fits(self, data: &[u8]) -> bool {
        let first = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_one_line = first.len() == data.len();
        is_one_line || first.ends_with(b"\r") == (self.ending == "CRLF")
    }

    pub(super) fn read_rows(self, data: &[u8]) -> csv::Reader<&[u8]> {
        ReaderBuilder::new()
            .delimiter(self.byte())
            .has_headers(false)
            .from_reader(data)
    }

    pub(super) fn read(self, data: &[u8]) -> csv::Reader<&[u8]> {
        ReaderBuilder::new()
            .delimiter(self.byte())
            .from_reader(data)
    }
}

/// No other encoding is taken.
pub(super) fn check_utf8(data: &[u8]) -> Result<(), String> {
    std::str::from_utf8(data).map(drop).map_err(|error| {
        format!(
            "Unable to parse CSV : not UTF-8 from byte {}",
            error.valid_up_to()
        )
    })
}

/// CSV that grows, everything in quotes as the vendor writes it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    format: Format,
    written: Vec<u8>,
}

impl Table {
    pub(super) fn new<F: AsRef<[u8]>>(format: Format, header: impl IntoIterator<Item = F>) -> Self {
        let mut table = Self {
            format,
            written: Vec::new(),
        };
        table.push(header);
        table
    }

    pub(super) fn push<F: AsRef<[u8]>>(&mut self, row: impl IntoIterator<Item = F>) {
        let mut writer = WriterBuilder::new()
            .delimiter(self.format.byte())
            .quote_style(QuoteStyle::Always)
            .terminator(match self.format.ending {
                "CRLF" => Terminator::CRLF,
                _ => Terminator::Any(b'\n'),
            })
            .buffer_capacity(256)
            .from_writer(&mut self.written);
        // Writing into memory does not fail.
        let _ = writer.write_record(row);
        let _ = writer.flush();
    }

    pub(super) fn bytes(&self) -> Bytes {
        Bytes::from(self.written.clone())
    }
}

/// The columns of a row after some of the vendor's own.
pub(super) fn with_row<'a>(
    own: [&'a str; 2],
    row: &'a ByteRecord,
) -> impl Iterator<Item = &'a [u8]> {
    own.into_iter().map(str::as_bytes).chain(row.iter())
}
