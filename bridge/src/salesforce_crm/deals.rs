//! Where Opportunities stand: one by one, or 200 to a call; and the stages of the org, remembered.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, future::join_all};
use jiff::Timestamp;
use salesforce_client::{RecordId, SObject, SalesforceClient};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    failure::{port_error, port_error_of_many},
    together::Carrier,
};
use crate::{
    crm::Stage,
    port_error::{PortError, PortErrorKind},
};

const READ: &str = "read the Opportunity's stage";
const LIST: &str = "list the org's stages";
/// How many records Salesforce reads in one call.
const CALL: usize = 200;
const FIELDS: [&str; 3] = ["StageName", "IsClosed", "LastModifiedDate"];

/// Reads where Opportunities stand.
pub(super) struct Deals {
    pub(super) client: SalesforceClient,
}

/// Where an Opportunity stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Opportunity {
    pub(super) stage_name: Option<String>,
    #[serde(default)]
    pub(super) is_closed: bool,
    pub(super) last_modified_date: Option<Timestamp>,
}

impl SObject for Opportunity {
    const NAME: &'static str = "Opportunity";
}

#[async_trait]
impl Carrier for Deals {
    type Row = RecordId;
    type Answer = Opportunity;
    const DOING: &'static str = READ;

    fn full(&self) -> usize {
        CALL
    }

    async fn carry(&self, rows: Vec<RecordId>) -> Vec<Result<Opportunity, PortError>> {
        // Many events of one deal ask for one record.
        let distinct: BTreeSet<_> = rows.iter().cloned().collect();
        let distinct: Vec<_> = distinct.into_iter().collect();
        if let [id] = &distinct[..] {
            let stage = self.client.opportunities().stage(id).await;
            let read = stage.map(|stage| Opportunity {
                stage_name: stage.stage_name,
                is_closed: stage.is_closed,
                last_modified_date: stage.last_modified_date,
            });
            return shared(rows.len(), READ, read);
        }
        let calls = distinct.chunks(CALL).map(|ids| {
            let records = self.client.records::<Opportunity>();
            records.get_all(ids.to_vec(), &FIELDS).collect::<Vec<_>>()
        });
        let found = join_all(calls).await.into_iter().flatten();
        let found: HashMap<_, _> = found.map(|row| (row.input, row.outcome)).collect();
        let gone = || PortError::new(PortErrorKind::Gone, READ);
        let of = |id: &RecordId| match found.get(id) {
            Some(Ok(Some(opportunity))) => Ok(opportunity.clone()),
            Some(Ok(None)) | None => Err(gone()),
            Some(Err(error)) => Err(port_error_of_many(READ, error)),
        };
        rows.iter().map(of).collect()
    }
}

/// Lists the stages in use, and remembers them for a while.
pub(super) struct Stages {
    pub(super) client: SalesforceClient,
    pub(super) known: Known,
}

/// The stages as they were listed last.
#[derive(Clone, Debug)]
pub(super) struct Known {
    remember: Duration,
    listed: Arc<Mutex<Option<Listed>>>,
}

#[derive(Debug)]
struct Listed {
    at: Instant,
    stages: Vec<Stage>,
}

impl Known {
    pub(super) fn new(remember: Duration) -> Self {
        Self {
            remember,
            listed: Arc::default(),
        }
    }

    pub(super) fn fresh(&self) -> Option<Vec<Stage>> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = listed.as_ref()?;
        (listed.at.elapsed() < self.remember).then(|| listed.stages.clone())
    }

    fn set(&self, stages: &[Stage]) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        *listed = Some(Listed {
            at: Instant::now(),
            stages: stages.to_vec(),
        });
    }
}

#[async_trait]
impl Carrier for Stages {
    type Row = ();
    type Answer = Vec<Stage>;
    const DOING: &'static str = LIST;

    fn full(&self) -> usize {
        usize::MAX
    }

    async fn carry(&self, rows: Vec<()>) -> Vec<Result<Vec<Stage>, PortError>> {
        if let Some(stages) = self.known.fresh() {
            return rows.iter().map(|()| Ok(stages.clone())).collect();
        }
        let listed = self.client.opportunities().stages().await;
        let listed = listed.map(|stages| {
            let stages = stages.into_iter().map(|stage| Stage {
                name: stage.api_name,
                is_closed: stage.is_closed,
            });
            stages.collect::<Vec<_>>()
        });
        if let Ok(stages) = &listed {
            self.known.set(stages);
        }
        shared(rows.len(), LIST, listed)
    }
}

/// One answer for all who have asked.
fn shared<T: Clone>(
    rows: usize,
    doing: &'static str,
    answer: Result<T, salesforce_client::Error>,
) -> Vec<Result<T, PortError>> {
    match answer {
        Ok(answer) => vec![answer; rows].into_iter().map(Ok).collect(),
        Err(error) if rows == 1 => vec![Err(port_error(doing, error))],
        Err(error) => (0..rows)
            .map(|_| Err(port_error_of_many(doing, &error)))
            .collect(),
    }
}
