//! `provision`: a record's folders by hand.

use std::path::Path;

use bridge::{Crm, JobState, Provision, ProvisionRecord, action::FolderPreview, crm::Record};
use clap::Args;
use serde_json::json;

use crate::{
    Failure,
    build::{self, Ports},
    by_hand::{self, How},
    config::Config,
    in_one_line, say, secrets,
};

#[derive(Args)]
pub(crate) struct Options {
    /// The record, such as an Opportunity or Account, by its id of 15 or 18 characters.
    record_id: String,
    #[command(flatten)]
    how: How,
}

pub(crate) async fn run(config: &Path, options: Options) -> Result<(), Failure> {
    let Options { record_id, how } = options;
    let config = Config::read(config)?;
    let secrets = secrets::open(&config).await?;
    let parts = build::parts(&config, secrets.as_ref())?;
    let record = parts.crm.record(&record_id);
    let record = record.map_err(|error| Failure::Setup(vec![in_one_line(&error)]))?;
    let provisions = provisions(&config, &parts, &record)?;
    by_hand::is_there(&parts.crm, &record).await?;
    if how.dry_run {
        return preview(&record, &provisions, how.json).await;
    }
    // A person has asked for folders, and not for what else a rule does for a new record.
    let command = ProvisionRecord::new(&record.id).alone().into();
    let state = by_hand::carry_out(&config, parts, &command, &how).await?;
    let note = state.note.unwrap_or_default();
    match state.state {
        JobState::Done if how.json => say(json!({ "record": record.id, "done": note })),
        JobState::Done => say(format_args!("{}: {note}", record.id)),
        _ => Err(Failure::Run(note)),
    }
}

/// What the rules have for such a record.
fn provisions(
    config: &Config,
    parts: &build::Parts,
    record: &Record,
) -> Result<Vec<(String, Provision)>, Failure> {
    let object = record.object.as_deref().unwrap_or_default();
    let start = format!("{object}.");
    let ports = Ports::new(&parts.content, &parts.crm, &parts.circuits);
    let mut provisions = Vec::new();
    for rule in &config.rules {
        let Some(wanted) = &rule.provision else {
            continue;
        };
        if rule.triggers.iter().any(|it| it.starts_with(&start)) {
            let made = build::provision(wanted, &config.content, &ports);
            let made = made.map_err(|problem| Failure::Setup(vec![problem]))?;
            provisions.push((rule.name.clone(), made));
        }
    }
    if provisions.is_empty() {
        let what = if object.is_empty() {
            "such a record"
        } else {
            object
        };
        let none = format!("no rule has a provision for {what}");
        return Err(Failure::Setup(vec![none]));
    }
    Ok(provisions)
}

async fn preview(
    record: &Record,
    provisions: &[(String, Provision)],
    as_json: bool,
) -> Result<(), Failure> {
    for (rule, provision) in provisions {
        let folders = provision.preview(record).await.map_err(Failure::run)?;
        if as_json {
            say(json!({ "record": record.id, "rule": rule, "folders": folders }))?;
            continue;
        }
        say(format_args!("rule {rule}, for {}:", record.id))?;
        for FolderPreview {
            path,
            is_records,
            changes,
            ..
        } in folders
        {
            let mut line = format!("  /{}", path.join("/"));
            if is_records {
                line.push_str("  (its folder)");
            }
            if !changes.is_empty() {
                line = format!("{line}  ({})", changes.join(", "));
            }
            say(line)?;
        }
    }
    Ok(())
}
