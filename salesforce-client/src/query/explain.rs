use std::sync::Arc;

use http::Method;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Query, Start};
use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "query.explain";

/// One way to go about a query. From [`Query::explain`].
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueryPlan {
    /// About how many rows it gives.
    pub cardinality: Option<u64>,
    /// The indexed fields that it uses.
    #[serde(default)]
    pub fields: Vec<String>,
    /// `Index`, `TableScan`, `Sharing` or `Other`.
    pub leading_operation_type: Option<String>,
    /// Its cost; above 1 the query is not selective.
    pub relative_cost: Option<f64>,
    /// About how many records the object has.
    pub sobject_cardinality: Option<u64>,
    /// The object.
    pub sobject_type: Option<String>,
}

pub(super) async fn explain<T: DeserializeOwned>(query: Query<T>) -> Result<Vec<QueryPlan>> {
    #[derive(Deserialize)]
    struct Explained {
        plans: Vec<QueryPlan>,
    }
    let Start::Soql(soql) = query.start else {
        return Err(Error::new(ErrorKind::Invalid, OPERATION)
            .detail("only a query that has not begun can be explained"));
    };
    let transport = Arc::clone(&query.transport);
    let call = transport
        .call(OPERATION, Method::GET, &["query"])
        .query("explain", soql.text()?);
    let explained: Explained = transport.json(&call).await?;
    Ok(explained.plans)
}
