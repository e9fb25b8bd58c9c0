//! Which events lead to which actions.

use std::{fmt, sync::Arc};

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::{
    action::Action,
    situation::{Situation, Subject},
    webhook::Trigger,
};

/// One rule: when one of these triggers comes for something that fits, do these actions in order.
#[derive(Clone)]
pub struct Rule {
    name: String,
    triggers: Vec<String>,
    folder: Option<GlobMatcher>,
    file: Option<GlobMatcher>,
    versions: Option<Versions>,
    actions: Vec<Arc<dyn Action>>,
}

/// Which versions of a file a rule is for: Box tells of a new file and of a new version of one in the
/// same way.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Versions {
    /// The first one: the file is new.
    First,
    /// Any but the first.
    Later,
}

/// A rule cannot be as written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The pattern is none.
    #[error("`{pattern}` is no pattern")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing would ever start it.
    #[error("rule `{0}` has no triggers")]
    NoTriggers(String),
    /// It would do nothing.
    #[error("rule `{0}` has no actions")]
    NoActions(String),
}

impl Rule {
    /// A rule for these triggers, such as `FILE.UPLOADED`, `Opportunity.CREATED` or, for all that
    /// happens to Opportunities, `Opportunity.*`. `Opportunity.CHANGED` stands for made, changed
    /// or brought back. Its name stands in the ledger: a rule of another name is another rule.
    ///
    /// With both `FILE.UPLOADED` and `SIGN_REQUEST.COMPLETED` it leaves out the versions that Box
    /// Sign makes of a file with each signer's turn: the end brings the signed one.
    pub fn new<T: Into<String>>(
        name: impl Into<String>,
        triggers: impl IntoIterator<Item = T>,
        actions: Vec<Arc<dyn Action>>,
    ) -> Result<Self, RuleError> {
        let name = name.into();
        let triggers: Vec<String> = triggers.into_iter().map(Into::into).collect();
        if triggers.is_empty() {
            return Err(RuleError::NoTriggers(name));
        }
        if actions.is_empty() {
            return Err(RuleError::NoActions(name));
        }
        Ok(Self {
            name,
            triggers,
            folder: None,
            file: None,
            versions: None,
            actions,
        })
    }

    /// Only for what is in, or below, a folder whose name fits the pattern, such as `Contracts`, and
    /// for such a folder itself.
    /// Letters match in either case, as names do in Box.
    pub fn in_folder(mut self, pattern: &str) -> Result<Self, RuleError> {
        self.folder = Some(matcher(pattern)?);
        Ok(self)
    }

    /// Only for files whose name fits the pattern, such as `*.pdf`.
    pub fn for_files(mut self, pattern: &str) -> Result<Self, RuleError> {
        self.file = Some(matcher(pattern)?);
        Ok(self)
    }

    /// Only for these versions of files.
    #[must_use]
    pub fn for_versions(mut self, versions: Versions) -> Self {
        self.versions = Some(versions);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What starts it.
    pub fn triggers(&self) -> &[String] {
        &self.triggers
    }

    /// What it does, in order.
    pub fn actions(&self) -> &[Arc<dyn Action>] {
        &self.actions
    }

    pub(crate) fn wants(&self, trigger: &str) -> bool {
        self.triggers
            .iter()
            .any(|wanted| match wanted.strip_suffix('*') {
                Some(start) => start.ends_with('.') && trigger.starts_with(start),
                None => {
                    one_spelling(wanted) == one_spelling(trigger) || is_a_change(wanted, trigger)
                }
            })
    }

    pub(crate) fn fits(&self, subject: &Subject) -> bool {
        let (file, above) = match subject {
            Subject::File(file) => (Some(&file.name), &file.folders),
            Subject::Folder(folder) => (None, &folder.with_itself()),
            Subject::Record(_) => (None, &Vec::new()),
        };
        let in_folder = |pattern: &GlobMatcher| above.iter().any(|it| pattern.is_match(&it.name));
        let is_file = |pattern: &GlobMatcher| file.is_some_and(|name| pattern.is_match(name));
        self.file.as_ref().is_none_or(is_file) && self.folder.as_ref().is_none_or(in_folder)
    }
}

impl Rule {
    /// Whether it has to be known which version of its file an event is about.
    pub(crate) fn asks_for_versions(&self) -> bool {
        self.versions.is_some()
    }

    pub(crate) fn is_for_version(&self, situation: &Situation) -> bool {
        self.versions.is_none() || self.versions == situation.versions
    }

    /// A rule about uploads and about the end of sign requests takes a file that is being signed
    /// once, at the end.
    pub(crate) fn waits_for_the_end(&self, situation: &Situation) -> bool {
        situation.is_being_signed && self.wants(Trigger::SIGN_REQUEST_COMPLETED.as_str())
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.name)
            .field("triggers", &self.triggers)
            .field(
                "folder",
                &self.folder.as_ref().map(|pattern| pattern.glob().glob()),
            )
            .field(
                "file",
                &self.file.as_ref().map(|pattern| pattern.glob().glob()),
            )
            .field("versions", &self.versions)
            .field("actions", &self.actions)
            .finish()
    }
}

/// Whether the trigger is one of those that `CHANGED` stands for.
fn is_a_change(wanted: &str, trigger: &str) -> bool {
    let done = wanted
        .strip_suffix("CHANGED")
        .and_then(|start| trigger.strip_prefix(start));
    matches!(done, Some("CREATED" | "UPDATED" | "UNDELETED"))
}

/// Box's guide and its OpenAPI document spell some Sign triggers differently.
fn one_spelling(trigger: &str) -> &str {
    match trigger {
        "SIGN_REQUEST.SIGN_SIGNER_SIGNED" => "SIGN_REQUEST.SIGNER_SIGNED",
        "SIGN_REQUEST.SIGN_DOCUMENT_CREATED" => "SIGN_REQUEST.SIGNATURE_REQUESTED",
        "SIGN_REQUEST.SIGN_ERROR_FINALIZING" => "SIGN_REQUEST.ERROR_FINALIZING",
        trigger => trigger,
    }
}

fn matcher(pattern: &str) -> Result<GlobMatcher, RuleError> {
    GlobBuilder::new(pattern)
        .case_insensitive(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|cause| RuleError::Pattern {
            pattern: pattern.to_owned(),
            cause: cause.into(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        action::AdvanceStage,
        content::{FileState, FileVersion, FolderRef, FolderState},
    };

    fn path(folders: &[&str]) -> Vec<FolderRef> {
        let folder = |name: &&str| FolderRef {
            id: format!("f-{name}"),
            name: (*name).to_owned(),
        };
        folders.iter().map(folder).collect()
    }

    fn file(name: &str, folders: &[&str]) -> Subject {
        Subject::File(FileState {
            id: "1".into(),
            name: name.into(),
            version: FileVersion {
                id: "2".into(),
                sha1: None,
                size: None,
                created_at: None,
                is_deleted: false,
            },
            folders: path(folders),
        })
    }

    fn folder(name: &str, folders: &[&str]) -> Subject {
        Subject::Folder(FolderState {
            id: "1".into(),
            name: name.into(),
            folders: path(folders),
        })
    }

    fn rule() -> Rule {
        let act: Arc<dyn Action> = Arc::new(AdvanceStage::new("Closed Won"));
        Rule::new("r", ["FILE.UPLOADED"], vec![act]).unwrap()
    }

    #[test]
    fn patterns_match_names_in_either_case_and_folders_at_any_depth() {
        let rule = rule()
            .in_folder("contract*")
            .unwrap()
            .for_files("*.pdf")
            .unwrap();
        assert!(rule.fits(&file(
            "NDA.PDF",
            &["All Files", "Acme", "Contracts", "2026"]
        )));
        assert!(!rule.fits(&file("NDA.docx", &["Contracts"])));
        assert!(!rule.fits(&file("NDA.pdf", &["Proposals"])));
    }

    #[test]
    fn a_pattern_for_files_leaves_folders_out_and_one_for_folders_takes_the_folder_itself() {
        let contracts = rule().in_folder("contract*").unwrap();
        assert!(contracts.fits(&folder("Contracts", &["Acme"])));
        assert!(contracts.fits(&folder("2026", &["Acme", "Contracts"])));
        assert!(!contracts.fits(&folder("Acme", &[])));
        let files = contracts.for_files("*").unwrap();
        assert!(!files.fits(&folder("Contracts", &["Acme"])));
    }

    #[test]
    fn a_trigger_can_stand_for_all_that_happens_to_one_kind_of_thing() {
        let rule = Rule::new("r", ["Opportunity.*"], rule().actions().to_vec()).unwrap();
        assert!(rule.wants("Opportunity.CREATED") && rule.wants("Opportunity.UPDATED"));
        let changed = ["Opportunity.CHANGED"];
        let changed = Rule::new("r", changed, rule.actions().to_vec()).unwrap();
        for (trigger, is_wanted) in [
            ("Opportunity.CREATED", true),
            ("Opportunity.UPDATED", true),
            ("Opportunity.UNDELETED", true),
            ("Opportunity.CHANGED", true),
            ("Opportunity.DELETED", false),
            ("Account.UPDATED", false),
        ] {
            assert_eq!(changed.wants(trigger), is_wanted, "{trigger}");
        }
        let signed = ["SIGN_REQUEST.SIGNER_SIGNED"];
        let signed = Rule::new("r", signed, rule.actions().to_vec()).unwrap();
        assert!(signed.wants("SIGN_REQUEST.SIGN_SIGNER_SIGNED"));
        assert!(!rule.wants("OpportunityLineItem.CREATED") && !rule.wants("Account.CREATED"));
    }

    #[test]
    fn a_rule_that_can_never_do_anything_is_refused() {
        assert!(matches!(
            Rule::new("r", ["X"], vec![]),
            Err(RuleError::NoActions(_))
        ));
        let none: [&str; 0] = [];
        let actions = rule().actions().to_vec();
        assert!(matches!(
            Rule::new("r", none, actions),
            Err(RuleError::NoTriggers(_))
        ));
        assert!(matches!(
            rule().for_files("[z-"),
            Err(RuleError::Pattern { .. })
        ));
    }
}
