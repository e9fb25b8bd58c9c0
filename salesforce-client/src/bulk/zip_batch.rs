use std::{collections::HashSet, fmt, io::Cursor};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::{
    ColumnDelimiter, LineEnding,
    source::{Format, named},
};
use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "bulk.zip_batch";
const MANIFEST: &str = "request.txt";
const LARGEST_ZIP: usize = 10_000_000;
const LARGEST_UNZIPPED: usize = 20_000_000;
const MOST_FILES: usize = 1_000;
const MOST_ROWS: usize = 10_000;
const LONGEST_NAME: usize = 512;
/// What ends a zip, and what stands around the manifest in it.
const AROUND: usize = 512;

/// Rows with files, to be sent as one zip: first [`file`](Self::file), then a
/// [`row`](Self::row) that holds what it gave.
///
/// A zip has 10 MB at most, 20 MB unzipped, with 1,000 files and 10,000 rows. What has no room is
/// a [`TooLarge`](ErrorKind::TooLarge) and changes nothing: send this batch and begin another.
///
/// ```
/// # fn main() -> Result<(), salesforce_client::Error> {
/// use salesforce_client::bulk::{FileRef, ZipBatch};
///
/// #[derive(serde::Serialize)]
/// #[serde(rename_all = "PascalCase")]
/// struct ContentVersion<'a> {
///     path_on_client: &'a str,
///     version_data: FileRef,
/// }
///
/// let mut batch = ZipBatch::new();
/// let version_data = batch.file("1/nda.pdf", b"%PDF-1.7")?;
/// batch.row(&ContentVersion { path_on_client: "nda.pdf", version_data })?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct ZipBatch {
    /// Each file as a zip of its own, to know its size before it is in.
    files: Vec<Vec<u8>>,
    names: HashSet<String>,
    zipped: usize,
    unzipped: usize,
    header: Vec<u8>,
    manifest: Vec<u8>,
    rows: usize,
}

/// A file of a batch, as a field of a row.
#[derive(Clone, Debug)]
pub struct FileRef(String);

impl Serialize for FileRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for ZipBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZipBatch")
            .field("files", &self.files.len())
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl ZipBatch {
    /// A batch without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a file under a path of its own within the zip, which is not the name that the file has
    /// in Salesforce.
    pub fn file(&mut self, path: &str, content: &[u8]) -> Result<FileRef> {
        check_path(path)?;
        if self.names.contains(path) {
            return Err(invalid("a path within the zip stands for one file only"));
        }
        let too_many = self.files.len() >= MOST_FILES;
        let unzipped = self.unzipped + content.len();
        if too_many || unzipped + self.manifest.len() > LARGEST_UNZIPPED {
            return Err(full());
        }
        let file = zipped(path, content)?;
        if !self.has_room(file.len()) {
            return Err(full());
        }
        self.zipped += file.len();
        self.unzipped = unzipped;
        self.files.push(file);
        self.names.insert(path.to_owned());
        Ok(FileRef(format!("#{path}")))
    }

    /// Adds a row, under the names of its fields; all rows are of one type.
    pub fn row<T: Serialize>(&mut self, row: &T) -> Result<()> {
        let format = Format {
            delimiter: ColumnDelimiter::Comma,
            ending: LineEnding::Lf,
        };
        let (names, row) = named(format, row, None)?;
        if self.rows > 0 && names != self.header {
            return Err(invalid("all rows of a batch have the same fields"));
        }
        let line = match self.rows {
            0 => [&names[..], &row].concat(),
            _ => row,
        };
        let unzipped = self.unzipped + self.manifest.len() + line.len();
        let is_full = self.rows >= MOST_ROWS || unzipped > LARGEST_UNZIPPED;
        if is_full || !self.has_room(line.len()) {
            return Err(full());
        }
        self.header = names;
        self.manifest.extend(line);
        self.rows += 1;
        Ok(())
    }

    /// The manifest is counted as if it could not be compressed.
    fn has_room(&self, more: usize) -> bool {
        self.zipped + self.manifest.len() + more + AROUND <= LARGEST_ZIP
    }

    pub(super) fn finish(self) -> Result<Bytes> {
        if self.rows == 0 {
            return Err(invalid("a batch has rows"));
        }
        let unwritable = |cause| invalid("the zip cannot be written").cause(cause);
        let manifest = zipped(MANIFEST, &self.manifest)?;
        let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(self.zipped + AROUND)));
        for file in std::iter::once(manifest).chain(self.files) {
            let mut one = ZipArchive::new(Cursor::new(file)).map_err(unwritable)?;
            let file = one.by_index_raw(0).map_err(unwritable)?;
            zip.raw_copy_file(file).map_err(unwritable)?;
        }
        Ok(zip.finish().map_err(unwritable)?.into_inner().into())
    }
}

fn zipped(path: &str, content: &[u8]) -> Result<Vec<u8>> {
    let unwritable = |cause| invalid("the zip cannot be written").cause(cause);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file(path, options).map_err(unwritable)?;
    std::io::Write::write_all(&mut zip, content)
        .map_err(|cause| invalid("the zip cannot be written").cause(cause))?;
    Ok(zip.finish().map_err(unwritable)?.into_inner())
}

fn check_path(path: &str) -> Result<()> {
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.len() > LONGEST_NAME {
        return Err(invalid("a path within the zip has 512 bytes at most"));
    }
    if path.split('/').any(odd) || path.contains(['\\', '\0']) {
        return Err(invalid("a path within the zip is plain and relative"));
    }
    if path.eq_ignore_ascii_case(MANIFEST) {
        return Err(invalid("request.txt is the list of the rows"));
    }
    Ok(())
}

fn invalid(detail: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, OPERATION).detail(detail)
}

fn full() -> Error {
    Error::new(ErrorKind::TooLarge, OPERATION)
        .detail("the batch is full: send it and begin another one")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    #[derive(Serialize)]
    struct Row {
        #[serde(rename = "Title")]
        title: String,
        #[serde(rename = "VersionData")]
        data: FileRef,
    }

    fn row(title: &str, data: FileRef) -> Row {
        let title = title.to_owned();
        Row { title, data }
    }

    #[test]
    fn the_zip_has_the_list_first_and_each_file_uncompressed() {
        let mut batch = ZipBatch::new();
        let data = batch.file("a/ü.bin", &[0, 1, 2]).unwrap();
        batch.row(&row("one, \"two\"", data.clone())).unwrap();
        batch.row(&row("three", data)).unwrap();
        let zip = batch.finish().unwrap();
        let mut zip = ZipArchive::new(Cursor::new(zip)).unwrap();
        assert_eq!(zip.len(), 2);
        let mut list = String::new();
        zip.by_index(0).unwrap().read_to_string(&mut list).unwrap();
        assert_eq!(
            list,
            "Title,VersionData\n\"one, \"\"two\"\"\",#a/ü.bin\nthree,#a/ü.bin\n"
        );
        let mut content = Vec::new();
        zip.by_name("a/ü.bin")
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        assert_eq!(content, [0, 1, 2]);
    }

    #[test]
    fn what_has_no_room_is_refused_and_the_batch_stays_good() {
        let mut batch = ZipBatch::new();
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(6_000_000)
            .collect();
        let data = batch.file("first", &noise).unwrap();
        batch.row(&row("first", data)).unwrap();
        let error = batch.file("second", &noise).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let data = batch.file("second", &noise[..1000]).unwrap();
        batch.row(&row("second", data.clone())).unwrap();
        let long = row(&"x".repeat(5_000_000), data);
        assert_eq!(batch.row(&long).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(batch.rows(), 2);
        assert!(batch.finish().unwrap().len() <= LARGEST_ZIP);
        // Much that becomes little is still too much.
        let mut batch = ZipBatch::new();
        batch.file("a", &vec![0; 15_000_000]).unwrap();
        let error = batch.file("b", &vec![0; 5_000_001]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_thousand_files_and_no_more() {
        let mut batch = ZipBatch::new();
        for number in 0..MOST_FILES {
            batch.file(&number.to_string(), b"").unwrap();
        }
        assert_eq!(
            batch.file("more", b"").unwrap_err().kind(),
            ErrorKind::TooLarge
        );
    }

    #[test]
    fn paths_that_lead_astray_are_refused() {
        let mut batch = ZipBatch::new();
        batch.file("taken", b"").unwrap();
        let long = "x".repeat(513);
        for path in [
            "",
            "/a",
            "../a",
            "a/../b",
            "a\\b",
            "Request.TXT",
            "taken",
            &long,
        ] {
            assert_eq!(
                batch.file(path, b"").unwrap_err().kind(),
                ErrorKind::Invalid,
                "{path}"
            );
        }
        assert_eq!(
            ZipBatch::new().finish().unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
}
