//! `provision`: a record's folders by hand.

use std::path::Path;

use bridge::{Command, Crm, Deed, Foresight, JobState, Prepared, ProvisionRecord, crm::Record};
use clap::Args;
use serde_json::json;

use crate::{
    Failure, build,
    by_hand::{self, How},
    config::Config,
    in_one_line, say, secrets,
    store::Store,
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
    // A person has asked for folders, and not for what else a rule does for a new record.
    let command = ProvisionRecord::new(&record.id).alone().into();
    by_hand::check(&parts, &command, &how).await?;
    by_hand::is_there(&parts.crm, &record).await?;
    if how.dry_run {
        return foretell(&config, parts, &record, &command, how.json).await;
    }
    let state = by_hand::carry_out(&config, parts, &command, &how).await?;
    let note = state.note.unwrap_or_default();
    match state.state {
        JobState::Done if how.json => say(json!({ "record": record.id, "done": note })),
        JobState::Done => say(format_args!("{}: {note}", record.id)),
        _ => Err(Failure::Run(note)),
    }
}

/// What the same would do without `--dry-run`, by what is in Box, in Salesforce and in the store
/// now.
async fn foretell(
    config: &Config,
    parts: build::Parts,
    record: &Record,
    command: &Command,
    as_json: bool,
) -> Result<(), Failure> {
    let store = Store::open_if_there(config).await?;
    let now = store.clock.now();
    let pipeline = build::pipeline(config, parts, &store);
    let prepared = pipeline.prepare_command(command, now).await;
    let prepared = prepared.map_err(Failure::run)?;
    if let Prepared::Nothing(why) = prepared {
        return Err(Failure::Run(why));
    }
    let foresights = pipeline.foresee_command(command, &prepared).await;
    for Foresight { rule, deeds, .. } in foresights.map_err(Failure::run)? {
        let deeds = deeds.unwrap_or_default();
        if as_json {
            say(json!({ "record": record.id, "rule": rule, "deeds": deeds }))?;
            continue;
        }
        say(format_args!(
            "{} by rule {rule}, where + is what would be written:",
            record.id
        ))?;
        print(&deeds)?;
    }
    Ok(())
}

pub(crate) fn print(deeds: &[Deed]) -> Result<(), Failure> {
    deeds.iter().try_for_each(|deed| say(line(deed)))
}

/// One line, whatever a record's name has in it: no name is to pass for a deed.
fn line(deed: &Deed) -> String {
    let mark = if deed.writes { "  + " } else { "    " };
    let mut line = mark.to_owned();
    for c in deed.does.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_line_break_makes_no_second_line() {
        let deed = Deed::write("make_folder", "make folder /A\n  + rename folder /B");
        assert_eq!(line(&deed), "  + make folder /A\\n  + rename folder /B");
    }
}
