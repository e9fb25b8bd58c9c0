use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::Method;
use serde::{
    Deserialize,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use tokio::task::JoinHandle;

use super::{
    OPERATION,
    cursor::{QueryCursor, nowhere},
};
use crate::{
    call::Call,
    composite::SubAnswer,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// A page of 2,000 rows with long texts is some tens of MiB.
const PAGE_LIMIT: usize = 128 * 1024 * 1024;

pub(super) type Rows<T> = Vec<T>;

/// One page of a query, undecoded. From [`Query::pages`](super::Query::pages).
pub struct QueryPage {
    body: Bytes,
    head: Head,
}

#[derive(Default)]
struct Head {
    total_size: Option<u64>,
    done: Option<bool>,
    next: Option<String>,
}

impl QueryPage {
    /// The rows. A type that borrows, such as `struct Row<'a> { name: &'a str }`, needs no copy of
    /// texts that have no escapes in them.
    pub fn rows<'a, T: Deserialize<'a>>(&'a self) -> Result<Vec<T>> {
        #[derive(Deserialize)]
        struct Page<T> {
            records: Vec<T>,
        }
        let page: Page<T> = serde_json::from_slice(&self.body).map_err(unreadable)?;
        Ok(page.records)
    }

    /// From where the query goes on after this page, to be kept; `None` when this was the last.
    pub fn cursor(&self) -> Option<QueryCursor> {
        let next = self.head.next.clone()?;
        (self.head.done != Some(true)).then_some(QueryCursor(next))
    }

    /// How many rows the whole query has.
    pub fn total_size(&self) -> Option<u64> {
        self.head.total_size
    }
}

impl fmt::Debug for QueryPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryPage")
            .field("total_size", &self.head.total_size)
            .field("done", &self.head.done)
            .finish_non_exhaustive()
    }
}

/// The pages of a query, one ahead.
pub(super) struct Pages {
    transport: Arc<Transport>,
    next: Next,
}

enum Next {
    First(Box<Result<Call>>),
    Coming(Coming),
    None,
}

impl Pages {
    pub(super) fn new(transport: Arc<Transport>, first: Result<Call>) -> Self {
        Self {
            transport,
            next: Next::First(Box::new(first)),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<QueryPage>> {
        let page = match std::mem::replace(&mut self.next, Next::None) {
            Next::First(call) => fetch(&self.transport, &(*call)?).await?,
            Next::Coming(coming) => coming.page().await?,
            Next::None => return Ok(None),
        };
        if let Some(call) = page.next_call()? {
            self.next = Next::Coming(Coming::start(&self.transport, call));
        }
        Ok(Some(page))
    }
}

/// A page on its way; dropped, it does not come.
struct Coming(JoinHandle<Result<QueryPage>>);

impl Coming {
    fn start(transport: &Arc<Transport>, call: Call) -> Self {
        let transport = Arc::clone(transport);
        Self(tokio::spawn(async move { fetch(&transport, &call).await }))
    }

    async fn page(mut self) -> Result<QueryPage> {
        (&mut self.0).await.unwrap_or_else(|died| {
            Err(Error::new(ErrorKind::Transport, OPERATION)
                .detail("the runtime ended")
                .cause(died))
        })
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn fetch(transport: &Transport, call: &Call) -> Result<QueryPage> {
    let mut body = transport.body(call, PAGE_LIMIT).await?;
    if call.method == Method::POST {
        // The query went inside another call, and its page came back inside the answer.
        let inner = SubAnswer::of(OPERATION, &body)?.body.get().as_bytes();
        body = body.slice_ref(inner);
    }
    let head = Head::read(&body).map_err(unreadable)?;
    Ok(QueryPage { body, head })
}

impl QueryPage {
    /// Salesforce gives a path, which belongs to the host that the token names at that time.
    /// Anything else would carry the token to wherever an answer points.
    fn next_call(&self) -> Result<Option<Call>> {
        if self.head.done == Some(true) {
            return Ok(None);
        }
        let next = self.head.next.clone().ok_or_else(nowhere)?;
        QueryCursor(next).call().map(Some)
    }
}

impl Head {
    /// Reads what stands before the records and stops there: Salesforce puts them last. The next
    /// page can then be asked for before this one is decoded.
    fn read(body: &[u8]) -> serde_json::Result<Self> {
        let mut head = Self::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        match de::Deserializer::deserialize_map(&mut json, &mut head) {
            Err(error) if !head.is_whole() => Err(error),
            _ => Ok(head),
        }
    }

    fn is_whole(&self) -> bool {
        self.total_size.is_some()
            && match self.done {
                Some(true) => true,
                Some(false) => self.next.is_some(),
                None => false,
            }
    }
}

impl<'de> Visitor<'de> for &mut Head {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of a query")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&str>()? {
            match name {
                "totalSize" => self.total_size = map.next_value()?,
                "done" => self.done = map.next_value()?,
                "nextRecordsUrl" => self.next = map.next_value()?,
                _ if self.is_whole() => return Err(de::Error::custom("enough is known")),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

fn unreadable(cause: serde_json::Error) -> Error {
    Error::new(ErrorKind::Decode, OPERATION).sent().cause(cause)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn page(body: &'static str) -> QueryPage {
        QueryPage {
            head: Head::read(body.as_bytes()).unwrap(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn the_head_is_known_wherever_it_stands_and_however_the_records_are() {
        for body in [
            r#"{"totalSize":3,"done":false,"nextRecordsUrl":"/services/data/v58.0/query/01g-2","records":[{"#,
            r#"{"records":[{"done":true}],"nextRecordsUrl":"/services/data/v58.0/query/01g-2","done":false,"totalSize":3}"#,
        ] {
            let page = page(body);
            assert_eq!(page.total_size(), Some(3), "{body}");
            assert!(page.next_call().unwrap().is_some(), "{body}");
        }
        assert!(Head::read(b"[]").is_err());
        assert!(Head::read(br#"{"totalSize":3,"records":[{"#).is_err());
    }

    #[test]
    fn the_token_goes_nowhere_but_to_the_org() {
        for next in [
            r#""https://evil.example/services/data/v58.0/query/1""#,
            r#""//evil.example/services/data/""#,
            r#""/elsewhere""#,
            "null",
        ] {
            let body =
                format!(r#"{{"totalSize":3,"done":false,"nextRecordsUrl":{next},"records":[]}}"#);
            let head = Head::read(body.as_bytes()).unwrap();
            let page = QueryPage {
                body: Bytes::from(body),
                head,
            };
            assert!(page.next_call().is_err(), "{next}");
        }
    }

    #[test]
    fn texts_are_borrowed_from_the_page() {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Row<'a> {
            name: &'a str,
        }
        let page = page(r#"{"totalSize":1,"done":true,"records":[{"Name":"Acme"}]}"#);
        let rows: Vec<Row<'_>> = page.rows().unwrap();
        assert!(page.body.as_ptr_range().contains(&rows[0].name.as_ptr()));
    }
}
