use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};

use super::QueryCursor;

/// What a sub-query gave for one row: the children, as far as they came with it.
///
/// ```no_run
/// # use futures_util::TryStreamExt;
/// # use salesforce_client::{Children, SalesforceClient};
/// #[derive(serde::Deserialize)]
/// #[serde(rename_all = "PascalCase")]
/// struct Account {
///     name: String,
///     contacts: Children<Contact>,
/// }
/// #[derive(serde::Deserialize)]
/// #[serde(rename_all = "PascalCase")]
/// struct Contact {
///     last_name: String,
/// }
///
/// # async fn example(client: SalesforceClient) -> salesforce_client::Result<()> {
/// let soql = "SELECT Name, (SELECT LastName FROM Contacts) FROM Account LIMIT 1";
/// if let Some(account) = client.query::<Account>(soql).first().await? {
///     let mut contacts = account.contacts.records;
///     if let Some(rest) = account.contacts.rest {
///         contacts.extend(client.resume(rest).stream().try_collect::<Vec<_>>().await?);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Children<T> {
    /// The children that came with the row.
    pub records: Vec<T>,
    /// How many there are.
    pub total_size: u64,
    /// From where the rest is to be had, if there is more.
    pub rest: Option<QueryCursor>,
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            total_size: 0,
            rest: None,
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Children<T> {
    /// Salesforce writes `null` where there are none.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page<T> {
            #[serde(default)]
            total_size: u64,
            done: bool,
            next_records_url: Option<QueryCursor>,
            records: Vec<T>,
        }
        let Some(page) = Option::<Page<T>>::deserialize(deserializer)? else {
            return Ok(Self::default());
        };
        if !page.done && page.next_records_url.is_none() {
            return Err(de::Error::custom(
                "there are more children and no way to them",
            ));
        }
        Ok(Self {
            records: page.records,
            total_size: page.total_size,
            rest: page.next_records_url.filter(|_| !page.done),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_children_are_null_and_more_children_are_never_lost() {
        let read = serde_json::from_str::<Children<u8>>;
        assert_eq!(read("null").unwrap(), Children::default());
        let page = r#"{"totalSize":2,"done":true,"records":[1,2]}"#;
        assert_eq!(read(page).unwrap().records, [1, 2]);
        let more = r#"{"totalSize":3,"done":false,"nextRecordsUrl":"/services/data/v58.0/query/01g-2","records":[1,2]}"#;
        assert!(read(more).unwrap().rest.is_some());
        assert!(read(r#"{"totalSize":3,"done":false,"records":[1]}"#).is_err());
    }
}
