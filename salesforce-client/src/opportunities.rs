//! Opportunities and the stages they go through.

use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::{Query, Record, RecordId, SObjects, error::Result, soql, transport::Transport};

/// Calls on Opportunities. From
/// [`SalesforceClient::opportunities`](crate::SalesforceClient::opportunities).
#[derive(Clone, Copy)]
pub struct Opportunities<'a> {
    transport: &'a Arc<Transport>,
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
    /// When it was last changed: the guard for [`set_stage`](Opportunities::set_stage).
    pub last_modified_date: Option<Timestamp>,
    /// Its account.
    pub account_id: Option<RecordId>,
    /// Its name.
    pub name: Option<String>,
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
    /// Whether people can choose it.
    #[serde(default)]
    pub is_active: bool,
}

const FIELDS: &str = "StageName,IsClosed,IsWon,LastModifiedDate,AccountId,Name";
/// More than any org has.
const MOST_STAGES: usize = 1_000;

impl<'a> Opportunities<'a> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
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
            .query("fields", FIELDS);
        self.transport.json(&call).await
    }

    /// The org's active stages in their order.
    pub async fn stages(&self) -> Result<Vec<Stage>> {
        let soql = soql(
            "SELECT ApiName, MasterLabel, IsActive, IsClosed, IsWon, SortOrder FROM OpportunityStage \
             WHERE IsActive = true ORDER BY SortOrder",
        );
        Query::new(self.transport, soql).all(MOST_STAGES).await
    }

    /// Sets the stage of an Opportunity. With `unmodified_since` only if nobody has changed it
    /// after that; a [`Conflict`](crate::ErrorKind::Conflict) otherwise. The call is not repeated
    /// when its outcome is unknown.
    ///
    /// Salesforce takes any text for a stage, so take it from [`stages`](Self::stages).
    pub async fn set_stage(
        &self,
        id: &RecordId,
        stage: &str,
        unmodified_since: Option<Timestamp>,
    ) -> Result<()> {
        let opportunities = SObjects::<Record>::new(self.transport, "Opportunity");
        let update = opportunities.update(id, &json!({ "StageName": stage }));
        match unmodified_since {
            Some(at) => update.if_unmodified_since(at).send().await,
            None => update.send().await,
        }
    }
}
