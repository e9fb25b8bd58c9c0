use serde::Deserialize;

use super::Span;

/// The webhooks that the service looks after.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Watch {
    pub(crate) folders: Vec<String>,
    pub(crate) address: String,
    pub(crate) triggers: Vec<String>,
    pub(crate) check_every: Span,
    pub(crate) catch_up_every: Span,
    pub(crate) silent_after: Span,
    pub(crate) events: EventStream,
    pub(crate) scan_every: Span,
    pub(crate) scan_margin: Span,
    pub(crate) mapped_within: Span,
    pub(crate) most_ahead: u64,
}

/// Where to look for what no webhook told of.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventStream {
    #[default]
    User,
    Enterprise,
    None,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            address: String::new(),
            triggers: Vec::new(),
            check_every: Span::seconds(600),
            catch_up_every: Span::seconds(300),
            silent_after: Span::seconds(2 * 3600),
            events: EventStream::User,
            scan_every: Span::seconds(6 * 3600),
            scan_margin: Span::seconds(3 * 3600),
            mapped_within: Span::seconds(24 * 3600),
            most_ahead: 1000,
        }
    }
}

impl Watch {
    /// What cannot work, apart from the address and the numbers.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let folders = &self.folders;
        let is_folder = |id: &String| {
            id != "0" && !id.is_empty() && id.chars().all(|digit| digit.is_ascii_digit())
        };
        let folder = (!folders.iter().all(is_folder)).then_some(
            "watch.folders must be ids of folders, and not of the root, which can have no webhook",
        );
        let unknown = self.triggers.iter().filter_map(|trigger| {
            let known = bridge::webhook::Trigger::for_registration(trigger);
            known.err().map(|error| format!("watch.triggers: {error}"))
        });
        let problems: Vec<_> = folder
            .into_iter()
            .map(str::to_owned)
            .chain(unknown)
            .collect();
        problems.into_iter()
    }
}
