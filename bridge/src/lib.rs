#![doc = include_str!("../README.md")]

pub mod action;
#[cfg(feature = "axum")]
pub mod axum;
mod backoff;
#[cfg(feature = "axum")]
mod body;
#[cfg(feature = "box")]
mod box_content;
#[cfg(feature = "box")]
mod box_folders;
#[cfg(feature = "box")]
mod box_metadata;
mod checked;
mod circuit;
mod clock;
mod command;
pub mod content;
pub mod crm;
pub mod folders;
mod foresight;
mod guarded;
mod ledger;
mod mapping_template;
pub mod metadata;
mod observe;
mod occurrence;
mod once;
pub mod package_links;
mod patience;
mod pauses;
mod pipeline;
mod plan;
mod port_error;
mod queue;
mod quota_class;
mod receive;
mod record_event;
pub mod records;
mod resolve;
mod rules;
#[cfg(feature = "salesforce")]
mod salesforce_changes;
#[cfg(feature = "salesforce")]
mod salesforce_crm;
#[cfg(feature = "salesforce")]
mod salesforce_package_links;
#[cfg(feature = "salesforce")]
mod salesforce_records;
pub mod secrets;
#[cfg(any(feature = "axum", feature = "outbound"))]
mod shared_secret;
mod side;
mod situation;
pub mod source;
pub mod store;
mod store_error;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod tidy;
pub mod watch;
pub mod webhook;
mod worker;

pub use action::{
    Action, AdvanceStage, Attach, Layout, LayoutError, LogTask, Provision, Several, StepError,
    Target, Template, Whom, Work,
};
pub use backoff::Backoff;
#[cfg(feature = "box")]
pub use box_content::BoxContent;
pub use circuit::{CircuitState, Circuits};
pub use clock::{Clock, SteadyClock, SystemClock};
pub use command::{
    AttachFile, COMMAND, Command, CommandError, CommandState, Commands, IdempotencyKey,
    IdempotencyKeyError, LogRecordTask, ProvisionRecord,
};
pub use content::ContentSource;
pub use crm::Crm;
pub use folders::Folders;
pub use foresight::{Deed, Foresight, Looks};
pub use ledger::{Begin, Effect, EffectKey, EffectState, Ledger, Writer};
pub use mapping_template::{MappingTemplate, MappingTemplateError, WantedField};
pub use metadata::Metadata;
pub use occurrence::{BOX_FOUND, BOX_MISSED};
pub use package_links::PackageLinks;
pub use pauses::Pauses;
pub use pipeline::{Pipeline, PipelineOptions, Prepared};
pub use plan::{Plan, Step};
pub use port_error::{PortError, PortErrorKind};
pub use queue::{
    AfterDead, Counts, InboxId, Job, JobFilter, JobId, JobState, LeaseId, Leased, NewJob, Push,
    Queue, QueueAdmin, Settle,
};
pub use quota_class::QuotaClass;
pub use receive::{BOX_WEBHOOK, Received, Receiver, Refusal};
pub use record_event::{Change, RECORD_EVENT, RecordChange, RecordEvent};
pub use records::Records;
pub use resolve::MappingKeys;
pub use rules::{Rule, RuleError, Versions};
#[cfg(feature = "salesforce")]
pub use salesforce_crm::SalesforceCrm;
pub use side::Side;
pub use situation::{Person, Situation, Subject};
pub use store_error::{StoreError, StoreErrorKind};
pub use sync::SyncMetadata;
pub use tidy::{Retention, Tidied, tidy};
pub use worker::{Handler, Hold, Outcome, Worker, WorkerOptions};
