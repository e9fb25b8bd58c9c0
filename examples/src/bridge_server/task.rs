//! `task`: a completed activity on a record, by hand.

use std::path::Path;

use bridge::LogRecordTask;
use clap::Args;

use crate::{
    Failure,
    by_hand::{self, How},
};

#[derive(Args)]
pub(crate) struct Options {
    /// The record, such as an Opportunity or Account, by its id of 15 or 18 characters.
    #[arg(value_name = "RECORD_ID")]
    record: String,
    /// What happened, in a line.
    #[arg(long, value_name = "TEXT")]
    subject: String,
    /// More of it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Shows it on the Contact with this e-mail address too.
    #[arg(long, value_name = "EMAIL")]
    contact: Option<String>,
    #[command(flatten)]
    how: How,
}

pub(crate) async fn run(config: &Path, task: Options) -> Result<(), Failure> {
    let logged = LogRecordTask::new(&task.record, task.subject).description(task.description);
    let logged = match task.contact {
        Some(email) => logged.contact(email),
        None => logged,
    };
    by_hand::run(config, &logged.into(), Some(&task.record), &task.how).await
}
