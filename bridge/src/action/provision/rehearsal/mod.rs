//! Provisioning played through: it is the same walk, on a stage that reads both sides and keeps
//! every write to itself. So what is foretold is what would be done.

mod content;
mod crm;
mod ledger;
mod metadata;
mod stage;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OnceCell, Semaphore};

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

/// So often a walk is begun anew.
const TRIES: usize = 3;

impl Provision {
    /// What would be done for a record, and what is there already.
    pub(super) async fn rehearse(
        &self,
        record: &Record,
        situation: &Situation,
        looks: &Looks,
    ) -> Result<Vec<Deed>, StepError> {
        let stage = Arc::new(Stage::of(self, looks));
        let ledger = ledger::Played::on(Arc::clone(&looks.ledger));
        let (hold, transfers) = (Hold::forever(), Semaphore::new(1));
        let options = PipelineOptions {
            // What is under way is played as it will be.
            settle_after: Duration::ZERO,
            ..looks.options.clone()
        };
        let work = Work {
            situation,
            content: &*stage,
            crm: &*looks.crm,
            ledger: &ledger,
            queue: None,
            clock: &*looks.clock,
            hold: &hold,
            options: &options,
            transfers: &transfers,
        };
        let mut tries = 1;
        let played = loop {
            match self.on(&stage).provision(record, &work).await {
                // The deed, too, begins anew where something that it remembered is gone.
                Err(StepError::Port(error))
                    if error.kind() == PortErrorKind::Busy && tries < TRIES =>
                {
                    tries += 1;
                    stage.begin_anew();
                }
                played => break played,
            }
        };
        let mut deeds = stage.deeds().await?;
        match played {
            Ok(_) if deeds.is_empty() => {
                deeds.push(Deed::there("nothing", "there is nothing to do"));
            }
            Ok(_) => {}
            Err(error) if is_told(&error) => {
                let why = format!("stops here: {}", in_one_line(&error));
                deeds.push(Deed::there("stop", why));
            }
            Err(error) => return Err(error),
        }
        Ok(deeds)
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
