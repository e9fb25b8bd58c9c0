//! Opportunities and the stages they go through.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::{
    RecordId, SObjects, error::Result, query::Query, soql::soql, time, transport::Transport,
};

/// Calls on Opportunities. From
/// [`SalesforceClient::opportunities`](crate::SalesforceClient::opportunities).
#[derive(Clone, Copy)]
pub struct Opportunities<'a> {
    transport: &'a Transport,
}

impl std::fmt::Debug for Opportunities<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opportunities").finish_non_exhaustive()
    }
}

/// Where an Opportunity stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct OpportunityStage {
    /// Its stage. The field takes any text, so this need not be a stage of the org.
    pub stage_name: Option<String>,
    /// Whether the stage closes it.
    #[serde(default)]
    pub is_closed: bool,
    /// Whether the stage wins it.
    #[serde(default)]
    pub is_won: bool,
    /// When it was last changed.
    #[serde(default, deserialize_with = "time::optional")]
    pub last_modified_date: Option<Timestamp>,
}

/// A stage of the org.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Stage {
    /// What is written to an Opportunity.
    pub api_name: String,
    /// What people see.
    pub master_label: Option<String>,
    /// Whether it closes an Opportunity.
    #[serde(default)]
    pub is_closed: bool,
    /// Whether it wins one.
    #[serde(default)]
    pub is_won: bool,
    /// Its place in the org's order.
    pub sort_order: Option<i64>,
}

impl<'a> Opportunities<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Where an Opportunity stands.
    pub async fn stage(&self, id: &RecordId) -> Result<OpportunityStage> {
        let call = self
            .transport
            .call(
                "opportunities.stage",
                Method::GET,
                &["sobjects", "Opportunity", id.as_str()],
            )
            .query("fields", "StageName,IsClosed,IsWon,LastModifiedDate");
        self.transport.json(&call).await
    }

    /// The org's active stages in their order.
    pub async fn stages(&self) -> Result<Vec<Stage>> {
        let soql = soql(
            "SELECT ApiName, MasterLabel, IsClosed, IsWon, SortOrder FROM OpportunityStage \
             WHERE IsActive = true ORDER BY SortOrder",
        );
        Query::new(self.transport, soql).all(1000).await
    }

    /// Sets the stage of an Opportunity that nobody has changed since; a
    /// [`Conflict`](crate::ErrorKind::Conflict) otherwise.
    pub async fn set_stage(
        &self,
        id: &RecordId,
        stage: &str,
        unmodified_since: Option<Timestamp>,
    ) -> Result<()> {
        let records = SObjects::new(self.transport, "Opportunity");
        let fields = json!({ "StageName": stage });
        match unmodified_since {
            Some(since) => records.update_unmodified(id, since, &fields).await,
            None => records.update(id, &fields).await,
        }
    }
}
