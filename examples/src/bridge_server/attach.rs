//! `attach`: one file to its records, whatever the rules say.

use std::path::Path;

use bridge::AttachFile;
use clap::Args;

use crate::{
    Failure,
    by_hand::{self, How},
};

#[derive(Args)]
pub(crate) struct Options {
    /// The Box file's id.
    #[arg(value_name = "FILE_ID")]
    file: String,
    /// The Salesforce record to show it on, instead of those that its folder is mapped to.
    #[arg(long, value_name = "RECORD_ID")]
    to: Option<String>,
    #[command(flatten)]
    how: How,
}

pub(crate) async fn run(config: &Path, attach: Options) -> Result<(), Failure> {
    let Options { file, to, how } = attach;
    let file = AttachFile::new(file);
    let command = match to.clone() {
        Some(record) => file.to(record),
        None => file,
    };
    by_hand::run(config, &command.into(), to.as_deref(), &how).await
}
