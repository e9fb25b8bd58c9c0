use std::{fmt, marker::PhantomData, sync::Arc};

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{SObjects, check_name};
use crate::{
    Query, RecordId,
    call::Call,
    error::{ErrorKind, Result},
    transport::{JSON_LIMIT, Transport},
};

/// What stands behind a relationship of a record. From [`SObjects::related`].
#[must_use = "nothing is sent before one() or the query is read"]
pub struct Related<'a, C> {
    transport: &'a Arc<Transport>,
    call: Result<Call>,
    records: PhantomData<fn() -> C>,
}

impl<C> fmt::Debug for Related<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Related").finish_non_exhaustive()
    }
}

impl<'a, T> SObjects<'a, T> {
    /// What stands behind a relationship of a record: its parent, such as `Account` of a contact,
    /// or its children, such as `Contacts` of an account.
    ///
    /// ```no_run
    /// # use futures_util::TryStreamExt;
    /// # use salesforce_client::{Record, RecordId, SalesforceClient};
    /// # async fn example(client: SalesforceClient, id: RecordId) -> salesforce_client::Result<()> {
    /// let accounts = client.sobject("Account");
    /// let owner: Option<Record> = accounts.related(&id, "Owner").fields(&["Email"]).one().await?;
    /// let contacts = accounts.related::<Record>(&id, "Contacts").children();
    /// let contacts: Vec<Record> = contacts.stream().try_collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Vendor: REST API Developer Guide, "sObject Relationships".
    pub fn related<C>(&self, id: &RecordId, relationship: &str) -> Related<'a, C> {
        const OPERATION: &str = "sobjects.related";
        let call = check_name(OPERATION, relationship)
            .and_then(|()| self.call(OPERATION, Method::GET, &[id.as_str(), relationship]));
        Related {
            transport: self.transport,
            call,
            records: PhantomData,
        }
    }
}

impl<C: DeserializeOwned> Related<'_, C> {
    /// Only these fields, instead of all that the user may see.
    pub fn fields(mut self, fields: &[&str]) -> Self {
        self.call = self.call.and_then(|call| {
            let mut names = fields.iter();
            names.try_for_each(|name| check_name(call.operation, name))?;
            Ok(call.query("fields", fields.join(",")))
        });
        self
    }

    /// The parent. `None` when there is none, from which Salesforce does not tell a record that
    /// does not exist.
    pub async fn one(self) -> Result<Option<C>> {
        match self.transport.whole(&self.call?, JSON_LIMIT).await {
            Ok(reply) if reply.status == StatusCode::NO_CONTENT => Ok(None),
            Ok(reply) => reply.json().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The children, to be read as a query is.
    pub fn children(self) -> Query<C> {
        Query::answering(self.transport, self.call)
    }
}
