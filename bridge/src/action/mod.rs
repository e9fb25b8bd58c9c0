//! What a rule can do. Services add their own by implementing [`Action`].

mod advance_stage;
mod attach;
pub(crate) mod digest;
mod log_task;
mod provision;
mod template;

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Semaphore;

pub use self::{
    advance_stage::AdvanceStage,
    attach::{Attach, Target},
    log_task::{LogTask, Several, Whom},
    provision::{Collaborate, Layout, LayoutError, Provision, Who},
    template::{Template, TemplateError},
};
pub(crate) use self::{
    advance_stage::{Move, judge},
    attach::ATTACH,
    provision::{Given, folder_of, records_with_folders},
};
use crate::{
    clock::Clock,
    content::ContentSource,
    crm::Crm,
    foresight::{Deed, Looks},
    ledger::Ledger,
    pipeline::PipelineOptions,
    plan::Step,
    port_error::PortError,
    queue::Queue,
    situation::Situation,
    store_error::StoreError,
    worker::Hold,
};

/// Something that a rule does.
#[async_trait]
pub trait Action: Debug + Send + Sync + 'static {
    /// Its name, as in a configuration.
    fn name(&self) -> &str;

    /// What it would do here, in a line for people; `None` when there is nothing for it to do.
    /// Pure.
    fn plan(&self, situation: &Situation) -> Option<String>;

    /// What it would really do here, and what it would find done, in the order in which it would;
    /// `None` where it tells no more than its [plan](Action::plan). Reads both sides and writes
    /// nothing.
    async fn foresee(
        &self,
        situation: &Situation,
        looks: &Looks,
    ) -> Result<Option<Vec<Deed>>, StepError> {
        let _ = (situation, looks);
        Ok(None)
    }

    /// The fields of a record of this kind that it goes by, as such a record names them
    /// (`Account.Name` for that of the Account it belongs to): a change of others alone is nothing to
    /// it. `None` where every change is something.
    fn goes_by(&self, _object: &str) -> Option<Vec<String>> {
        None
    }

    /// Does it and tells in a line what was done. It can be called again for the same step after
    /// a failure or a crash, so each effect goes by [`Ledger`] and happens once.
    async fn apply(&self, step: &Step, work: &Work<'_>) -> Result<String, StepError>;
}

/// What an action works with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Work<'a> {
    /// What has happened.
    pub situation: &'a Situation,
    /// The side with the documents.
    pub content: &'a dyn ContentSource,
    /// The side with the records.
    pub crm: &'a dyn Crm,
    /// What was done before.
    pub ledger: &'a dyn Ledger,
    /// The inbox, where the pipeline was given one: for what is to be done later.
    pub queue: Option<&'a dyn Queue>,
    /// The time.
    pub clock: &'a dyn Clock,
    /// To be asked before each write.
    pub hold: &'a Hold,
    pub(crate) options: &'a PipelineOptions,
    /// Places for files on their way.
    pub(crate) transfers: &'a Semaphore,
}

/// A step did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A far side failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not yet.
    #[error("{reason}")]
    Wait {
        /// What it waits for.
        reason: String,
        /// Until when.
        until: Timestamp,
    },
    /// The job may be another worker's by now.
    #[error("the lease ran out")]
    LostHold,
    /// Only a person can help.
    #[error("{0}")]
    Person(String),
}
