//! Where rows come from: values of a type, or CSV that is there already.

use std::{
    io::{self, Write},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use futures_core::Stream;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{ColumnDelimiter, LineEnding};
use crate::error::{Error, ErrorKind, Result};

pub(super) const OPERATION: &str = "bulk.ingest";

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(super) trait Source: Send {
    /// Puts the next row, with its ending, into `row`; `false` after the last one.
    fn next(&mut self, row: &mut Vec<u8>) -> impl Future<Output = Result<bool>> + Send;

    /// The names of the columns with their ending, known once there was a row.
    fn header(&self) -> &[u8];

    fn line_ending(&self) -> LineEnding;
}

fn content(cause: impl Into<Cause>) -> Error {
    Error::new(ErrorKind::Content, OPERATION).cause(cause)
}

/// Rows of a type, written one by one.
pub(super) struct Values<S> {
    rows: Pin<Box<S>>,
    writer: csv::Writer<Sink>,
    sink: Sink,
    format: Format,
    header: Vec<u8>,
    columns: Option<Vec<String>>,
}

#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) delimiter: ColumnDelimiter,
    pub(super) ending: LineEnding,
}

impl Format {
    fn writer<W: Write>(self, has_headers: bool, to: W) -> csv::Writer<W> {
        let terminator = match self.ending {
            LineEnding::Lf => csv::Terminator::Any(b'\n'),
            LineEnding::Crlf => csv::Terminator::CRLF,
        };
        csv::WriterBuilder::new()
            .delimiter(self.delimiter.byte())
            .terminator(terminator)
            .has_headers(has_headers)
            .from_writer(to)
    }
}

/// What the writer has written, to be taken away row by row.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take_into(&self, row: &mut Vec<u8>) {
        row.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S> Values<S> {
    pub(super) fn new(rows: S, format: Format, columns: Option<Vec<String>>) -> Self {
        let sink = Sink::default();
        Self {
            rows: Box::pin(rows),
            writer: format.writer(false, sink.clone()),
            sink,
            format,
            header: Vec::new(),
            columns,
        }
    }
}

/// The names of the columns, and the row that they were taken from, each with its ending. The
/// names come from the row's type unless they are given.
pub(super) fn named<T: Serialize>(
    format: Format,
    row: &T,
    columns: Option<&[String]>,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let unwritable = |cause: csv::Error| {
        content(cause).detail("a row is not a struct of plain fields, and has no columns()")
    };
    let broken = |broken: csv::IntoInnerError<csv::Writer<Vec<u8>>>| content(broken.into_error());
    let mut alone = format.writer(false, Vec::new());
    alone.serialize(row).map_err(unwritable)?;
    let alone = alone.into_inner().map_err(broken)?;
    let mut named = format.writer(columns.is_none(), Vec::new());
    if let Some(columns) = columns {
        named.write_record(columns).map_err(unwritable)?;
    }
    named.serialize(row).map_err(unwritable)?;
    let mut names = named.into_inner().map_err(broken)?;
    names.truncate(names.len().saturating_sub(alone.len()));
    if names.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, OPERATION)
            .detail("the rows name no columns: use a struct, or columns()"));
    }
    Ok((names, alone))
}

impl<S, T, E> Source for Values<S>
where
    S: Stream<Item = Result<T, E>> + Send,
    T: Serialize + Send,
    E: Into<Cause>,
{
    async fn next(&mut self, row: &mut Vec<u8>) -> Result<bool> {
        let Some(value) = self.rows.next().await else {
            return Ok(false);
        };
        let value = value.map_err(content)?;
        if self.header.is_empty() {
            (self.header, _) = named(self.format, &value, self.columns.as_deref())?;
        }
        self.writer.serialize(&value).map_err(content)?;
        self.writer.flush().map_err(content)?;
        self.sink.take_into(row);
        Ok(true)
    }

    fn header(&self) -> &[u8] {
        &self.header
    }

    fn line_ending(&self) -> LineEnding {
        self.format.ending
    }
}

/// Which row of a CSV is not in UTF-8; the names are row 1.
#[derive(Debug, thiserror::Error)]
#[error("row {row} is not in UTF-8")]
struct NotUtf8 {
    row: u64,
    #[source]
    cause: std::str::Utf8Error,
}

/// CSV that is there already, cut between its rows and otherwise left as it is.
pub(super) struct Text<R> {
    reader: Pin<Box<R>>,
    cut: Cut,
    chunk: BytesMut,
    header: Vec<u8>,
    ending: Option<LineEnding>,
    limit: u64,
    ended: bool,
    /// Lines that have been read, the header too.
    lines: u64,
}

impl<R: AsyncRead + Send> Text<R> {
    /// `ending` is told by the first line unless it is given; a row beyond `limit` is an error.
    pub(super) fn new(
        reader: R,
        delimiter: ColumnDelimiter,
        ending: Option<LineEnding>,
        limit: u64,
    ) -> Self {
        Self {
            reader: Box::pin(reader),
            cut: Cut::new(delimiter.byte()),
            chunk: BytesMut::with_capacity(64 * 1024),
            header: Vec::new(),
            ending,
            limit,
            ended: false,
            lines: 0,
        }
    }

    async fn line(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        let found = self.bytes(line).await?;
        self.lines += u64::from(found);
        // Salesforce would take it for UTF-8 and store what comes of that.
        if let Err(cause) = std::str::from_utf8(line) {
            let error = Error::new(ErrorKind::Content, OPERATION);
            let detail = NotUtf8 {
                row: self.lines,
                cause,
            };
            return Err(error.detail("the CSV is not in UTF-8").cause(detail));
        }
        Ok(found)
    }

    async fn bytes(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        loop {
            if self.chunk.is_empty() && !self.ended {
                let read = self
                    .reader
                    .read_buf(&mut self.chunk)
                    .await
                    .map_err(content)?;
                self.ended = read == 0;
            }
            if self.chunk.is_empty() {
                return self.last(line);
            }
            let (taken, complete) = self.cut.find(&self.chunk);
            line.extend_from_slice(&self.chunk.split_to(taken));
            if line.len() as u64 > self.limit {
                return Err(Error::new(ErrorKind::TooLarge, OPERATION)
                    .detail("a row is larger than a job may be"));
            }
            if complete {
                if line.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
                    return Ok(true);
                }
                line.clear();
            }
        }
    }

    /// The last line may have no ending.
    fn last(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        if self.cut.is_quoted() {
            return Err(
                Error::new(ErrorKind::Content, OPERATION).detail("the CSV ends within quotes")
            );
        }
        if line.is_empty() {
            return Ok(false);
        }
        line.extend_from_slice(self.line_ending().bytes());
        Ok(true)
    }
}

impl<R: AsyncRead + Send> Source for Text<R> {
    async fn next(&mut self, row: &mut Vec<u8>) -> Result<bool> {
        if self.header.is_empty() {
            let mut header = Vec::new();
            if !self.line(&mut header).await? {
                return Ok(false);
            }
            if header.starts_with(b"\xef\xbb\xbf") {
                header.drain(..3);
            }
            let told = if header.ends_with(b"\r\n") {
                LineEnding::Crlf
            } else {
                LineEnding::Lf
            };
            self.ending.get_or_insert(told);
            self.header = header;
        }
        row.clear();
        self.line(row).await
    }

    fn header(&self) -> &[u8] {
        &self.header
    }

    fn line_ending(&self) -> LineEnding {
        self.ending.unwrap_or_default()
    }
}

/// Finds where a row ends. A quote opens only at the start of a field.
struct Cut {
    delimiter: u8,
    at: At,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum At {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote within quotes: the end of the field, or the first half of a quote.
    QuoteInQuoted,
}

impl Cut {
    fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            at: At::FieldStart,
        }
    }

    fn is_quoted(&self) -> bool {
        self.at == At::Quoted
    }

    /// How many bytes belong to the row, and whether it ends there.
    fn find(&mut self, text: &[u8]) -> (usize, bool) {
        for (index, byte) in text.iter().enumerate() {
            self.at = match (mem::replace(&mut self.at, At::Plain), *byte) {
                (At::Quoted, b'"') => At::QuoteInQuoted,
                (At::Quoted, _) | (At::FieldStart | At::QuoteInQuoted, b'"') => At::Quoted,
                (_, b'\n') => {
                    self.at = At::FieldStart;
                    return (index + 1, true);
                }
                (_, byte) if byte == self.delimiter => At::FieldStart,
                _ => At::Plain,
            };
        }
        (text.len(), false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::{FutureExt, stream};
    use proptest::prelude::*;

    use super::*;

    fn all(mut source: impl Source) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let mut rows = Vec::new();
        loop {
            let mut row = Vec::new();
            if !source.next(&mut row).now_or_never().unwrap()? {
                return Ok((source.header().to_vec(), rows));
            }
            rows.push(row);
        }
    }

    fn values<T: Serialize + Send>(
        rows: Vec<T>,
        columns: Option<Vec<String>>,
    ) -> Values<impl Stream<Item = Result<T, Cause>>> {
        let format = Format {
            delimiter: ColumnDelimiter::Comma,
            ending: LineEnding::Lf,
        };
        Values::new(stream::iter(rows.into_iter().map(Ok)), format, columns)
    }

    #[derive(Serialize)]
    struct Contact {
        #[serde(rename = "LastName")]
        last_name: &'static str,
        #[serde(rename = "Email")]
        email: Option<&'static str>,
    }

    #[test]
    fn rows_are_written_under_the_names_of_their_fields() {
        let rows = vec![
            Contact {
                last_name: "O\"Hara, Ann",
                email: None,
            },
            Contact {
                last_name: "two\nlines",
                email: Some("b@example.com"),
            },
        ];
        let (header, rows) = all(values(rows, None)).unwrap();
        assert_eq!(header, b"LastName,Email\n");
        assert_eq!(rows[0], b"\"O\"\"Hara, Ann\",\n");
        assert_eq!(rows[1], b"\"two\nlines\",b@example.com\n");
    }

    #[test]
    fn rows_without_names_need_columns() {
        let rows = || vec![("a", 1)];
        let error = all(values(rows(), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let columns = Some(vec!["Name".to_owned(), "Count__c".to_owned()]);
        let (header, rows) = all(values(rows(), columns)).unwrap();
        assert_eq!(
            (header, rows),
            (b"Name,Count__c\n".to_vec(), vec![b"a,1\n".to_vec()])
        );
    }

    #[test]
    fn a_row_with_other_columns_than_the_first_is_refused() {
        let rows = vec![vec!["a", "b"], vec!["c"]];
        let columns = Some(vec!["A".to_owned(), "B".to_owned()]);
        assert_eq!(
            all(values(rows, columns)).unwrap_err().kind(),
            ErrorKind::Content
        );
    }

    fn text(csv: &[u8]) -> Text<&[u8]> {
        Text::new(csv, ColumnDelimiter::Comma, None, 1000)
    }

    #[test]
    fn text_is_cut_between_rows_and_nowhere_else() {
        let csv = b"\xef\xbb\xbfName,Note\r\n\r\n\"a\r\nb\",\"say \"\"hi\"\"\"\r\nx\"y,2\r\nlast,1";
        let (header, rows) = all(text(csv)).unwrap();
        assert_eq!(header, b"Name,Note\r\n");
        let expected: [&[u8]; 3] = [
            b"\"a\r\nb\",\"say \"\"hi\"\"\"\r\n",
            b"x\"y,2\r\n",
            b"last,1\r\n",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn text_that_is_none_is_refused() {
        assert_eq!(
            all(text(b"A\n\"open")).unwrap_err().kind(),
            ErrorKind::Content
        );
        let long = [b"A\n".to_vec(), vec![b'x'; 2000]].concat();
        assert_eq!(all(text(&long)).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(all(text(b"")).unwrap(), (Vec::new(), Vec::new()));
    }

    proptest! {
        #[test]
        fn what_was_quoted_is_cut_where_it_was_joined(
            table in proptest::collection::vec(
                proptest::collection::vec("[a\", \r\n]{0,5}", 2), 1..6),
        ) {
            let columns = Some(vec!["A".to_owned(), "B".to_owned()]);
            let (header, rows) = all(values(table, columns)).unwrap();
            let joined = [header.clone(), rows.concat()].concat();
            prop_assert_eq!(all(text(&joined)).unwrap(), (header, rows));
        }
    }
}
