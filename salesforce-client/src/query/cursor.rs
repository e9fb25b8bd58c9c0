use http::Method;
use serde::{Deserialize, Serialize};

use super::OPERATION;
use crate::{
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
};

/// From where a query goes on: to be kept, also by another process of the same user.
///
/// ```no_run
/// # use futures_util::TryStreamExt;
/// # use salesforce_client::{QueryCursor, Record, SalesforceClient};
/// # async fn example(client: SalesforceClient) -> Result<(), Box<dyn std::error::Error>> {
/// let mut pages = Box::pin(client.query::<Record>("SELECT Id FROM Account").pages());
/// if let Some(page) = pages.try_next().await? {
///     let kept = serde_json::to_string(&page.cursor())?;
///     // … later …
///     if let Some(cursor) = serde_json::from_str::<Option<QueryCursor>>(&kept)? {
///         let rest: Vec<Record> = client.resume(cursor).stream().try_collect().await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct QueryCursor(pub(super) String);

impl QueryCursor {
    /// Salesforce gives a path, which belongs to the host that the token names at that time.
    /// Anything else would carry the token to wherever an answer points.
    pub(super) fn call(self) -> Result<Call> {
        let Self(next) = self;
        if !next.starts_with("/services/data/") || next.contains(['?', '#', '\\']) {
            return Err(nowhere());
        }
        Ok(Call::to(OPERATION, Method::GET, Target::Org(next)))
    }
}

pub(super) fn nowhere() -> Error {
    Error::new(ErrorKind::Decode, OPERATION).detail("there are more rows and no way to them")
}
