//! Records of any object.

mod changes;
mod collections;
mod describe;
mod get;
mod locked;
mod related;
mod write;

use std::{fmt, marker::PhantomData, sync::Arc};

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    changes::{ChangeCursor, ChangePage, Changes, DeletedRecord, DeletedRecords, UpdatedRecords},
    collections::{Collection, Row, Saved},
    describe::{
        ChildRelationship, Describe, DescribeGlobal, FieldDescribe, ObjectDescribe, ObjectSummary,
        PicklistValue, RecordTypeInfo,
    },
    get::{GetIfModified, GetRecord},
    related::Related,
    write::{Update, Upsert, Upserted},
};
use crate::{
    RecordId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// A type that holds the fields of one object.
///
/// ```
/// # use salesforce_client::SObject;
/// #[derive(serde::Deserialize)]
/// #[serde(rename_all = "PascalCase")]
/// struct Account {
///     name: String,
/// }
///
/// impl SObject for Account {
///     const NAME: &'static str = "Account";
/// }
/// ```
pub trait SObject {
    /// The object's name in the API, such as `Invoice__c`.
    const NAME: &'static str;
}

/// The fields of any record, by name.
pub type Record = serde_json::Map<String, serde_json::Value>;

/// The records of one object. From [`SalesforceClient::sobject`](crate::SalesforceClient::sobject)
/// or [`SalesforceClient::records`](crate::SalesforceClient::records). They are read as `T` and
/// written from any type that serializes to the fields.
///
/// Date-times are read into `jiff::Timestamp` and written from it as they are.
pub struct SObjects<'a, T = Record> {
    transport: &'a Arc<Transport>,
    name: &'a str,
    records: PhantomData<fn() -> T>,
}

impl<T> Clone for SObjects<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SObjects<'_, T> {}

impl<T> fmt::Debug for SObjects<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SObjects")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct SavedReply {
    id: RecordId,
    #[serde(default)]
    created: bool,
}

impl<'a, T> SObjects<'a, T> {
    pub(crate) fn new(transport: &'a Arc<Transport>, name: &'a str) -> Self {
        Self {
            transport,
            name,
            records: PhantomData,
        }
    }

    /// Creates a record. The call is never repeated by itself when its outcome is unknown: then
    /// [`may_have_happened`](Error::may_have_happened) is true.
    pub async fn create(&self, record: &(impl Serialize + ?Sized)) -> Result<RecordId> {
        let call = self
            .call("sobjects.create", Method::POST, &[])?
            .json(record)?;
        let saved: SavedReply = self.transport.json(&call).await?;
        Ok(saved.id)
    }

    /// Reads a record.
    pub fn get(&self, id: &RecordId) -> GetRecord<'a, T> {
        let call = self.call("sobjects.get", Method::GET, &[id.as_str()]);
        GetRecord::new(self.transport, call)
    }

    /// Sets fields of a record; what serializes to `null` is cleared, what is left out stays.
    pub fn update(&self, id: &RecordId, fields: &(impl Serialize + ?Sized)) -> Update<'a> {
        let call = self
            .call("sobjects.update", Method::PATCH, &[id.as_str()])
            .and_then(|call| call.json(fields));
        Update::new(self.transport, call)
    }

    /// Creates or changes the record whose external id `field` has this value, which must not be
    /// among the fields as well. Several matches are a [`Duplicate`](ErrorKind::Duplicate).
    ///
    /// Let the field be unique: of two racing upserts the loser then gets a
    /// [`Duplicate`](ErrorKind::Duplicate), and the record exists once.
    pub fn upsert(
        &self,
        field: &str,
        value: &str,
        fields: &(impl Serialize + ?Sized),
    ) -> Upsert<'a> {
        const OPERATION: &str = "sobjects.upsert";
        // A path segment of dots only climbs, however it is encoded.
        let call = if matches!(value, "" | "." | "..") {
            Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the external id's value cannot stand in a path"))
        } else {
            check_name(OPERATION, field)
                .and_then(|()| self.call(OPERATION, Method::PATCH, &[field, value]))
                .and_then(|call| call.json(fields))
        };
        Upsert::new(self.transport, call)
    }

    /// Deletes a record. When the answer of a first try was lost, a second one that finds nothing
    /// to delete is a success.
    pub async fn delete(&self, id: &RecordId) -> Result<()> {
        let call = self.call("sobjects.delete", Method::DELETE, &[id.as_str()])?;
        match self.transport.empty(&call).await {
            Err(error)
                if error.is_doubtful()
                    && matches!(error.kind(), ErrorKind::Deleted | ErrorKind::NotFound) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    pub(crate) fn transport(&self) -> &'a Arc<Transport> {
        self.transport
    }

    pub(crate) fn tree_call(&self, operation: &'static str, method: Method) -> Result<Call> {
        check_name(operation, self.name)?;
        let segments = ["composite", "tree", self.name];
        Ok(self.transport.call(operation, method, &segments))
    }

    fn call(&self, operation: &'static str, method: Method, rest: &[&str]) -> Result<Call> {
        check_name(operation, self.name)?;
        let mut segments = ["sobjects", self.name, "", ""];
        let used = 2 + rest.len();
        segments[2..used].copy_from_slice(rest);
        Ok(self.transport.call(operation, method, &segments[..used]))
    }
}

/// Whether the text can be the name of an object or field.
pub(crate) fn check_name(operation: &'static str, name: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if begins && name.bytes().all(legal) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, operation)
        .detail("a name has letters, digits and underscores, and begins with a letter"))
}

/// As the conditional headers want it, in whole seconds.
fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        let at: Timestamp = "2015-03-23T00:00:00.999Z".parse().unwrap();
        assert_eq!(http_date(at), "Mon, 23 Mar 2015 00:00:00 GMT");
    }

    #[test]
    fn salesforce_dates_are_read_as_they_come() {
        let at: Timestamp = serde_json::from_str(r#""2024-05-31T09:30:00.000+0000""#).unwrap();
        assert_eq!(
            serde_json::to_string(&at).unwrap(),
            r#""2024-05-31T09:30:00Z""#
        );
    }

    #[test]
    fn a_name_cannot_change_a_path_or_a_query() {
        for bad in ["", "Task/x", "Task ", "1x", "_x", "Täsk", "Task?x", "A.B"] {
            assert!(check_name("t", bad).is_err(), "{bad}");
        }
        for good in ["Task", "ns__Invoice__c"] {
            assert!(check_name("t", good).is_ok(), "{good}");
        }
    }
}
