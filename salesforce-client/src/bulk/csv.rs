//! CSV as it comes in, piece by piece: the `csv` crate reads from a blocking reader, which a body
//! on its way is not.

use csv::ByteRecord;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::ColumnDelimiter;

/// A row has 5,000 columns at most, and a field 131,072 characters: far more than this is no CSV.
const LONGEST_ROW: usize = 32 * 1024 * 1024;

/// Rows out of pieces of text.
pub(super) struct Rows {
    reader: Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
    used: usize,
    columns: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("a row is longer than any row of Salesforce")]
pub(super) struct TooLong;

impl Rows {
    pub(super) fn new(delimiter: ColumnDelimiter) -> Self {
        Self {
            reader: ReaderBuilder::new().delimiter(delimiter.byte()).build(),
            fields: vec![0; 4096],
            ends: vec![0; 64],
            used: 0,
            columns: 0,
        }
    }

    /// The next row, if `input` completes one, and how much of `input` it took. An empty `input`
    /// says that there is no more, and completes what there is.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, Option<ByteRecord>), TooLong> {
        let mut taken = 0;
        loop {
            let (result, read, wrote, ended) = self.reader.read_record(
                &input[taken..],
                &mut self.fields[self.used..],
                &mut self.ends[self.columns..],
            );
            taken += read;
            self.used += wrote;
            self.columns += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok((taken, None)),
                ReadRecordResult::OutputFull if self.fields.len() >= LONGEST_ROW => {
                    return Err(TooLong);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() >= LONGEST_ROW => {
                    return Err(TooLong);
                }
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => return Ok((taken, Some(self.take()))),
            }
        }
    }

    fn take(&mut self) -> ByteRecord {
        let mut row = ByteRecord::with_capacity(self.used, self.columns);
        let mut start = 0;
        for end in &self.ends[..self.columns] {
            row.push_field(&self.fields[start..*end]);
            start = *end;
        }
        (self.used, self.columns) = (0, 0);
        row
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8], delimiter: ColumnDelimiter, piece: usize) -> Vec<Vec<String>> {
        let mut rows = Rows::new(delimiter);
        let mut all = Vec::new();
        let mut keep = |row: ByteRecord| {
            let fields = row
                .iter()
                .map(|field| String::from_utf8(field.to_vec()).unwrap());
            all.push(fields.collect::<Vec<_>>());
        };
        for mut piece in text.chunks(piece) {
            while !piece.is_empty() {
                let (taken, row) = rows.read(piece).unwrap();
                piece = &piece[taken..];
                row.into_iter().for_each(&mut keep);
            }
        }
        while let (_, Some(row)) = rows.read(&[]).unwrap() {
            keep(row);
        }
        all
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_is_read_back_however_it_is_cut(
            rows in proptest::collection::vec(
                proptest::collection::vec("[a-c\"',;|`^\t\r\n é€]{0,6}", 3), 1..6),
            which in 0..6usize,
            piece in 1..9usize,
        ) {
            let delimiter = ColumnDelimiter::ALL[which];
            for ending in [csv::Terminator::Any(b'\n'), csv::Terminator::CRLF] {
                let mut writer = csv::WriterBuilder::new()
                    .delimiter(delimiter.byte())
                    .terminator(ending)
                    .from_writer(Vec::new());
                for row in &rows {
                    writer.write_record(row).unwrap();
                }
                let text = writer.into_inner().unwrap();
                prop_assert_eq!(&read(&text, delimiter, piece), &rows);
            }
        }

        #[test]
        fn no_text_is_too_strange(text: Vec<u8>, piece in 1..9usize) {
            let mut rows = Rows::new(ColumnDelimiter::Comma);
            for mut piece in text.chunks(piece) {
                while !piece.is_empty() {
                    let (taken, row) = rows.read(piece).unwrap();
                    prop_assert!(taken > 0 || row.is_some());
                    piece = &piece[taken..];
                }
            }
        }
    }
}
