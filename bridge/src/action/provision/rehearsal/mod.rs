//! Provisioning played through: it is the same walk, on a stage that reads both sides and keeps
//! every write to itself. So what is foretold is what would be done.

mod content;
mod crm;
mod ledger;
mod metadata;
mod stage;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{OnceCell, Semaphore};

use self::ledger::Played;
pub(super) use self::stage::{Cue, Stage};
use super::Provision;
use crate::{
    action::{StepError, Work},
    crm::Record,
    foresight::{Deed, Looks},
    pipeline::PipelineOptions,
    port_error::{PortErrorKind, in_one_line},
    situation::Situation,
    worker::Hold,
};

impl Provision {
    /// What would be done for a record, and what is there already.
    pub(super) async fn rehearse(
        &self,
        record: &Record,
        situation: &Situation,
        looks: &Looks,
    ) -> Result<Vec<Deed>, StepError> {
        let mut forgotten = BTreeSet::new();
        loop {
            let ledger = Played::on(Arc::clone(&looks.ledger), forgotten.clone());
            let stage = Arc::new(Stage::of(self, looks));
            let played = self
                .attempt(record, situation, looks, &stage, &ledger)
                .await;
            // A deed is tried again where it is busy, and begins from what is there. Of what an
            // attempt has played only its forgetting can make another one differ from it.
            if is_busy(&played) && ledger.forgotten().len() > forgotten.len() {
                forgotten = std::mem::take(&mut ledger.forgotten());
                continue;
            }
            let stops = match played {
                Ok(_) => None,
                Err(error) if is_told(&error) => Some(error),
                Err(error) => return Err(error),
            };
            let mut deeds = stage.deeds().await?;
            if let Some(error) = stops {
                let why = format!("stops here: {}", in_one_line(&error));
                deeds.push(Deed::there("stop", why));
            } else if deeds.is_empty() {
                deeds.push(Deed::there("nothing", "there is nothing to do"));
            }
            return Ok(deeds);
        }
    }

    async fn attempt(
        &self,
        record: &Record,
        situation: &Situation,
        looks: &Looks,
        stage: &Arc<Stage>,
        ledger: &Played,
    ) -> Result<String, StepError> {
        let (hold, transfers) = (Hold::forever(), Semaphore::new(1));
        let options = PipelineOptions {
            // What is under way is played as it will be.
            settle_after: Duration::ZERO,
            ..looks.options.clone()
        };
        let work = Work {
            situation,
            content: &**stage,
            crm: &*looks.crm,
            ledger,
            queue: None,
            clock: &*looks.clock,
            hold: &hold,
            options: &options,
            transfers: &transfers,
        };
        self.on(stage).provision(record, &work).await
    }

    /// The same, on a stage.
    fn on(&self, stage: &Arc<Stage>) -> Self {
        let template = self.template.as_ref();
        Self {
            folders: stage.clone(),
            metadata: stage.clone(),
            records: stage.clone(),
            package: self.package.as_ref().map(|_| stage.clone() as Arc<_>),
            template: template.map(|it| Arc::new(it.unsure())),
            template_is_there: OnceCell::new(),
            stage: Some(Arc::clone(stage)),
            ..self.clone()
        }
    }
}

fn is_busy<T>(played: &Result<T, StepError>) -> bool {
    matches!(played, Err(StepError::Port(error)) if error.kind() == PortErrorKind::Busy)
}

/// Whether it belongs to what is foretold: the same would stop the deed.
fn is_told(error: &StepError) -> bool {
    match error {
        StepError::Person(_) | StepError::Wait { .. } => true,
        StepError::Port(error) => {
            matches!(error.kind(), PortErrorKind::Refused | PortErrorKind::Gone)
        }
        StepError::Store(_) | StepError::LostHold => false,
    }
}
