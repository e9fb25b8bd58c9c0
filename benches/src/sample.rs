//! What goes over the wire, the same on both sides.

use sha1::{Digest, Sha1};

/// Files are made of this block, as often as they need it.
pub const BLOCK: usize = 1024 * 1024;
/// A file's number is its size and a serial below this.
const SERIALS: u64 = 10_000_000;

/// A file that the far side has.
#[derive(Clone, Debug)]
pub struct SampleFile {
    /// Its id in Box.
    pub id: String,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-1, in hex.
    pub sha1: String,
}

impl SampleFile {
    /// The `serial`th of the files with this many bytes, which all have the same bytes.
    pub fn new(size: u64, serial: u64, sha1: &str) -> Self {
        Self {
            id: (size * SERIALS + serial % SERIALS).to_string(),
            size,
            sha1: sha1.to_owned(),
        }
    }
}

/// How many bytes the file of this number has.
pub(crate) fn size_of(id: u64) -> u64 {
    id / SERIALS
}

/// Bytes that nothing can compress, always the same.
pub fn block() -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next)
        .flatten()
        .take(BLOCK)
        .collect()
}

/// Digest in hex of a file of this size.
pub fn digest<D: Digest>(size: u64) -> String {
    let block = block();
    let mut hash = D::new();
    let mut left = size;
    while left > 0 {
        let part = left.min(BLOCK as u64);
        hash.update(&block[..part as usize]);
        left -= part;
    }
    hex(&hash.finalize())
}

/// SHA-1 in hex of a file of this size.
pub fn sha1(size: u64) -> String {
    digest::<Sha1>(size)
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The rows of one page of a query, as Salesforce writes them.
pub(crate) fn rows(count: u64) -> String {
    let row = |number: u64| {
        format!(
            "{{\"attributes\":{{\"type\":\"Opportunity\",\"url\":\"/services/data/v58.0/sobjects/\
             Opportunity/006000000{number:06}AAA\"}},\"Id\":\"006000000{number:06}AAA\",\
             \"Name\":\"Renewal of contract {number}\",\"StageName\":\"Negotiation/Review\",\
             \"Amount\":{}.5,\"CloseDate\":\"2031-06-30\",\"IsClosed\":false}}",
            number * 10
        )
    };
    (0..count).map(row).collect::<Vec<_>>().join(",")
}

/// A row with its own texts.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Deal {
    /// Its id.
    pub id: String,
    /// What people see.
    pub name: String,
    /// Where it stands.
    pub stage_name: String,
    /// What it is worth.
    pub amount: Option<f64>,
    /// When it is to end.
    pub close_date: String,
    /// Whether it has ended.
    pub is_closed: bool,
}

/// The same with texts borrowed from the page.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BorrowedDeal<'a> {
    /// Its id.
    pub id: &'a str,
    /// What people see.
    pub name: &'a str,
    /// Where it stands.
    pub stage_name: &'a str,
    /// What it is worth.
    pub amount: Option<f64>,
    /// When it is to end.
    pub close_date: &'a str,
    /// Whether it has ended.
    pub is_closed: bool,
}
