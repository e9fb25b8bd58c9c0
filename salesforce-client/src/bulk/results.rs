//! Rows of results as they come.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    marker::PhantomData,
    sync::Arc,
};

use bytes::Bytes;
use csv::ByteRecord;
use futures_core::Stream;
use futures_util::stream;
use http::{HeaderValue, header::ACCEPT};
use serde::{Deserialize, de::DeserializeOwned};
use tracing::debug;

use super::{ColumnDelimiter, csv::Rows, told};
use crate::{
    ApiError, RecordId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::{Reply, Transport},
};

/// A row that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SuccessfulRecord<T> {
    /// The record's id.
    pub id: RecordId,
    /// Whether the record is new.
    pub created: bool,
    /// The row as it was sent.
    pub record: T,
}

/// A row that was not written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedRecord<T> {
    /// The record's id, where it had one.
    pub id: Option<RecordId>,
    /// Why.
    pub error: ApiError,
    /// The row as it was sent.
    pub record: T,
}

/// What a row of results is made of: Salesforce's own columns, which begin with `sf__`, and the
/// row itself.
pub(super) trait Row: Sized {
    fn read(row: &ByteRecord, header: &Header) -> Result<Self, Unreadable>;
}

/// A row as it is, without columns of Salesforce's own.
pub(super) struct Plain<T>(pub(super) T);

#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a row is not of the type asked for")]
    Type(#[from] csv::Error),
    #[error("a row has no {0}")]
    Missing(&'static str),
}

impl<T: DeserializeOwned> Row for Plain<T> {
    fn read(row: &ByteRecord, header: &Header) -> Result<Self, Unreadable> {
        Ok(Self(row.deserialize(Some(&header.all))?))
    }
}

impl<T: DeserializeOwned> Row for SuccessfulRecord<T> {
    fn read(row: &ByteRecord, header: &Header) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Own {
            #[serde(rename = "sf__Id")]
            id: RecordId,
            #[serde(default, rename = "sf__Created")]
            created: Option<bool>,
        }
        let own: Own = row.deserialize(Some(&header.all))?;
        Ok(Self {
            id: own.id,
            created: own.created.unwrap_or_default(),
            record: header.rest(row)?,
        })
    }
}

impl<T: DeserializeOwned> Row for FailedRecord<T> {
    fn read(row: &ByteRecord, header: &Header) -> Result<Self, Unreadable> {
        let error = header.field(row, "sf__Error");
        let error = error.ok_or(Unreadable::Missing("sf__Error"))?;
        let id = header.field(row, "sf__Id").unwrap_or_default();
        Ok(Self {
            id: RecordId::new(&id).ok(),
            error: told::of_row(&error),
            record: header.rest(row)?,
        })
    }
}

/// The names of the columns.
#[derive(Clone, Debug)]
pub(super) struct Header {
    all: ByteRecord,
    rest: ByteRecord,
}

impl Header {
    fn new(all: ByteRecord) -> Self {
        let rest = all.iter().filter(|name| !is_own(name)).collect();
        Self { all, rest }
    }

    fn field(&self, row: &ByteRecord, name: &str) -> Option<String> {
        let at = self.all.iter().position(|own| own == name.as_bytes())?;
        Some(String::from_utf8_lossy(row.get(at)?).into_owned())
    }

    fn rest<T: DeserializeOwned>(&self, row: &ByteRecord) -> Result<T, csv::Error> {
        let columns = self.all.iter().zip(row);
        let own = columns.filter(|(name, _)| !is_own(name));
        let row: ByteRecord = own.map(|(_, field)| field).collect();
        row.deserialize(Some(&self.rest))
    }
}

fn is_own(column: &[u8]) -> bool {
    column.starts_with(b"sf__")
}

/// The rows of one answer.
pub(super) struct Page<R> {
    transport: Arc<Transport>,
    call: Call,
    reply: Reply,
    /// Rows that were taken out of it, names and all.
    taken: Taken,
    /// Those of them that an answer which was asked for again has brought, and why it was.
    again: Option<(Taken, Error)>,
    /// How often it broke off without much that is new.
    breaks: u32,
    /// With so many rows taken there is much that is new.
    goal: u64,
    operation: &'static str,
    rows: Option<Rows>,
    delimiter: Option<ColumnDelimiter>,
    header: Option<Header>,
    /// A header that was not in the answer itself: a first row that repeats it is none.
    given: bool,
    chunk: Bytes,
    ended: bool,
    read: PhantomData<fn() -> R>,
}

impl<R: Row> Page<R> {
    /// Asks for the rows. `None` as a delimiter: the text tells it, for Salesforce's own columns
    /// stand first.
    pub(super) async fn open(
        transport: &Arc<Transport>,
        call: Call,
        delimiter: Option<ColumnDelimiter>,
        header: Option<Header>,
    ) -> Result<Self> {
        let call = call.header(ACCEPT, HeaderValue::from_static("text/csv"));
        Ok(Self {
            operation: call.operation,
            reply: transport.send(&call).await?,
            transport: Arc::clone(transport),
            call,
            taken: Taken::unordered(),
            again: None,
            breaks: 0,
            goal: 0,
            rows: None,
            delimiter,
            given: header.is_some(),
            header,
            chunk: Bytes::new(),
            ended: false,
            read: PhantomData,
        })
    }

    /// Salesforce promises that the same call brings the same rows in the same order.
    pub(super) fn constant(mut self) -> Self {
        self.taken = Taken::constant();
        self
    }

    pub(super) fn told(&self, header: &str) -> Option<&str> {
        self.reply.header(header)
    }

    /// The names of the columns, `None` for an answer that is empty.
    pub(super) async fn header(&mut self) -> Result<Option<&Header>> {
        if self.header.is_none() {
            self.header = self.row().await?.map(Header::new);
        }
        Ok(self.header.as_ref())
    }

    pub(super) async fn next(&mut self) -> Result<Option<R>> {
        if self.header().await?.is_none() {
            return Ok(None);
        }
        let Some(mut row) = self.row().await? else {
            return Ok(None);
        };
        let repeats = |row: &ByteRecord, header: &Option<Header>| {
            header.as_ref().is_some_and(|header| *row == header.all)
        };
        if std::mem::take(&mut self.given) && repeats(&row, &self.header) {
            match self.row().await? {
                Some(next) => row = next,
                None => return Ok(None),
            }
        }
        let Some(header) = &self.header else {
            return Ok(None);
        };
        let read = R::read(&row, header);
        read.map(Some).map_err(|cause| self.unreadable(cause))
    }

    /// Where the answer breaks off it is asked for again, and goes on where it was.
    async fn row(&mut self) -> Result<Option<ByteRecord>> {
        loop {
            let row = match self.next_row().await {
                Ok(row) => row,
                Err(error) if error.is_retryable() => {
                    self.breaks += 1;
                    let policy = &self.transport.sender.retry;
                    let Some(wait) = policy.wait_after_failure(self.breaks) else {
                        return Err(error.after(self.breaks, false));
                    };
                    debug!(operation = self.operation, ?wait, %error, "asking for the rest again");
                    tokio::time::sleep(wait).await;
                    self.reopen(error).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some((again, _)) = &mut self.again else {
                if let Some(row) = &row {
                    self.taken.add(row);
                }
                if self.taken.rows >= self.goal {
                    self.breaks = 0;
                }
                return Ok(row);
            };
            if let Some(row) = &row {
                again.add(row);
            }
            if again.rows == self.taken.rows && *again == self.taken {
                self.again = None;
            } else if again.rows >= self.taken.rows || row.is_none() {
                return Err(self.changed());
            }
        }
    }

    async fn reopen(&mut self, broke: Error) -> Result<()> {
        self.reply = self.transport.send(&self.call).await?;
        self.rows = None;
        self.chunk = Bytes::new();
        self.ended = false;
        // What came before is read once more each time: as much again has to follow it, or an
        // answer that always breaks off early would be loaded as often as it has rows.
        self.goal = self.taken.rows.saturating_mul(2).max(1);
        self.again = (self.taken.rows > 0).then(|| (self.taken.anew(), broke));
        Ok(())
    }

    async fn next_row(&mut self) -> Result<Option<ByteRecord>> {
        loop {
            let delimiter = self.delimiter;
            let begin = || Rows::new(delimiter.unwrap_or_else(|| sniffed(&self.chunk)));
            if !self.chunk.is_empty() || self.ended {
                let rows = self.rows.get_or_insert_with(begin);
                let (taken, row) = rows
                    .read(&self.chunk)
                    .map_err(|cause| Error::new(ErrorKind::Decode, self.operation).cause(cause))?;
                drop(self.chunk.split_to(taken));
                if row.is_some() || (self.ended && self.chunk.is_empty()) {
                    return Ok(row);
                }
            }
            if self.chunk.is_empty() && !self.ended {
                self.chunk = self.first_or_next().await?;
            }
        }
    }

    /// Until the delimiter is known it takes some bytes at once.
    async fn first_or_next(&mut self) -> Result<Bytes> {
        let mut text = Bytes::new();
        loop {
            let Some(chunk) = self.reply.chunk().await? else {
                self.ended = true;
                return Ok(text);
            };
            text = if text.is_empty() {
                chunk
            } else {
                [text, chunk].concat().into()
            };
            let is_enough = self.rows.is_some() || text.len() >= ENOUGH;
            if is_enough && !text.is_empty() {
                return Ok(text);
            }
        }
    }

    /// What the break was counts: whoever reads from the start may find nothing wrong.
    fn changed(&mut self) -> Error {
        let broke = self.again.take().map(|(_, broke)| broke);
        broke
            .unwrap_or_else(|| Error::new(ErrorKind::Transport, self.operation).sent())
            .detail("the answer broke off, and begins with other rows now: read it from the start")
    }

    fn unreadable(&self, cause: Unreadable) -> Error {
        Error::new(ErrorKind::Decode, self.operation)
            .sent()
            .cause(cause)
    }
}

/// The rows at the beginning of an answer.
#[derive(Debug, Eq, PartialEq)]
struct Taken {
    rows: u64,
    /// Of what they are, where their order is not promised; one word, however many they are.
    hash: Option<u64>,
}

impl Taken {
    fn constant() -> Self {
        Self {
            rows: 0,
            hash: None,
        }
    }

    fn unordered() -> Self {
        Self {
            rows: 0,
            hash: Some(0),
        }
    }

    fn anew(&self) -> Self {
        match self.hash {
            Some(_) => Self::unordered(),
            None => Self::constant(),
        }
    }

    fn add(&mut self, row: &ByteRecord) {
        self.rows += 1;
        if let Some(hash) = &mut self.hash {
            let mut hasher = DefaultHasher::new();
            hash.hash(&mut hasher);
            for field in row {
                field.hash(&mut hasher);
            }
            *hash = hasher.finish();
        }
    }
}

/// As long as a byte order mark, `"sf__Id"` and one more.
const ENOUGH: usize = 12;

/// The first column of results is Salesforce's own: what follows its name is the delimiter.
fn sniffed(text: &[u8]) -> ColumnDelimiter {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = text.strip_prefix(b"\"").unwrap_or(text);
    let rest = text.strip_prefix(b"sf__Id").unwrap_or_default();
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    rest.first()
        .and_then(|byte| ColumnDelimiter::of(*byte))
        .unwrap_or_default()
}

/// All rows of one answer.
pub(super) fn rows<R: Row + Send>(
    transport: Arc<Transport>,
    call: Call,
    delimiter: Option<ColumnDelimiter>,
) -> impl Stream<Item = Result<R>> + Send {
    enum At<R> {
        Start(Arc<Transport>, Box<Call>),
        Page(Box<Page<R>>),
    }
    let start = At::Start(transport, Box::new(call));
    stream::try_unfold(start, move |at| async move {
        let mut page = match at {
            At::Start(transport, call) => {
                Box::new(Page::<R>::open(&transport, *call, delimiter, None).await?)
            }
            At::Page(page) => page,
        };
        Ok(page.next().await?.map(|row| (row, At::Page(page))))
    })
}
