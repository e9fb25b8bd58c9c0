use std::{collections::BTreeMap, fmt};

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Record, RecordId, SObjects,
    error::{Error, ErrorKind, Result},
    sobjects::check_name,
};

const OPERATION: &str = "sobjects.create_tree";
const RECORDS: usize = 200;
const LEVELS: usize = 5;

/// A record to create together with its children.
///
/// ```
/// # use salesforce_client::TreeRecord;
/// # use serde_json::json;
/// # fn main() -> salesforce_client::Result<()> {
/// let contact = TreeRecord::new("Contact", "c1", &json!({ "LastName": "Bluth" }))?;
/// let account = TreeRecord::new("Account", "a1", &json!({ "Name": "Acme" }))?;
/// let account = account.child("Contacts", contact);
/// # let _ = account;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct TreeRecord {
    object: String,
    reference: String,
    fields: Record,
    children: BTreeMap<String, Vec<TreeRecord>>,
}

/// Without the fields' values, which are the org's data.
impl fmt::Debug for TreeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeRecord")
            .field("object", &self.object)
            .field("reference", &self.reference)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

/// The records that a tree made, by the references that they were sent with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeSaved {
    /// The ids.
    pub ids: BTreeMap<String, RecordId>,
}

impl TreeRecord {
    /// A record of this object, with a reference of letters and digits that is unique in the tree.
    pub fn new(object: &str, reference: &str, fields: &(impl Serialize + ?Sized)) -> Result<Self> {
        check_name(OPERATION, object)?;
        check_name(OPERATION, reference)?;
        let fields = serde_json::to_value(fields)
            .map_err(|cause| invalid("a record cannot be written as JSON").cause(cause))?;
        let Value::Object(fields) = fields else {
            return Err(invalid("a record is written as an object of its fields"));
        };
        Ok(Self {
            object: object.to_owned(),
            reference: reference.to_owned(),
            fields,
            children: BTreeMap::new(),
        })
    }

    /// Adds a child through this relationship, such as `Contacts`.
    pub fn child(mut self, relationship: &str, child: TreeRecord) -> Self {
        let children = self.children.entry(relationship.to_owned());
        children.or_default().push(child);
        self
    }

    fn count(&self) -> usize {
        let children = self.children.values().flatten();
        1 + children.map(Self::count).sum::<usize>()
    }

    fn levels(&self) -> usize {
        let children = self.children.values().flatten();
        1 + children.map(Self::levels).max().unwrap_or(0)
    }

    fn written(self) -> Value {
        let mut record = self.fields;
        let attributes = json!({ "type": self.object, "referenceId": self.reference });
        record.insert("attributes".to_owned(), attributes);
        for (relationship, children) in self.children {
            let children: Vec<Value> = children.into_iter().map(Self::written).collect();
            record.insert(relationship, json!({ "records": children }));
        }
        Value::Object(record)
    }
}

impl<T> SObjects<'_, T> {
    /// Creates records of this object together with their children: all of them or none. Up to
    /// 200 records in five levels. Which record was in the way tells
    /// [`ApiError::reference`](crate::ApiError::reference).
    ///
    /// Vendor: REST API Developer Guide, "sObject Tree".
    pub async fn create_tree(
        &self,
        records: impl IntoIterator<Item = TreeRecord>,
    ) -> Result<TreeSaved> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Item {
            reference_id: String,
            id: RecordId,
        }
        #[derive(Deserialize)]
        struct Answer {
            results: Vec<Item>,
        }
        let records: Vec<TreeRecord> = records.into_iter().collect();
        let count: usize = records.iter().map(TreeRecord::count).sum();
        if !(1..=RECORDS).contains(&count) {
            return Err(invalid("a tree has between 1 and 200 records"));
        }
        if records.iter().any(|record| record.levels() > LEVELS) {
            return Err(invalid("a tree has five levels at most"));
        }
        let records: Vec<Value> = records.into_iter().map(TreeRecord::written).collect();
        let call = self.tree_call(OPERATION, Method::POST)?;
        let call = call.json(&json!({ "records": records }))?;
        let answer: Answer = self.transport().json(&call).await?;
        let ids = answer.results.into_iter();
        Ok(TreeSaved {
            ids: ids.map(|item| (item.reference_id, item.id)).collect(),
        })
    }
}

fn invalid(detail: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, OPERATION).detail(detail)
}
