//! Tasks: what was done, or is to be done, about a record.

use std::{borrow::Cow, fmt, sync::Arc};

use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Record, RecordId, SObjects,
    error::{Error, ErrorKind, Result},
    sobjects::check_name,
    transport::Transport,
};

/// Calls on Tasks. From [`SalesforceClient::tasks`](crate::SalesforceClient::tasks).
#[derive(Clone, Copy)]
pub struct Tasks<'a> {
    transport: &'a Arc<Transport>,
}

impl std::fmt::Debug for Tasks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

const OPERATION: &str = "tasks.create";

impl<'a> Tasks<'a> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
        Self { transport }
    }

    /// Creates a Task. What Salesforce is known to refuse is an
    /// [`Invalid`](ErrorKind::Invalid) call that is not sent.
    pub async fn create(&self, task: &NewTask) -> Result<RecordId> {
        task.check()?;
        SObjects::<Record>::new(self.transport, "Task")
            .create(task)
            .await
    }
}

/// A Task to create.
///
/// ```
/// # use salesforce_client::NewTask;
/// let task = NewTask::new("Contract signed").status("Completed");
/// ```
///
/// Vendor: Object Reference, "Task".
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[must_use]
pub struct NewTask {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_date: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    who_id: Option<RecordId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_id: Option<RecordId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(flatten)]
    fields: Record,
}

/// Without its texts, which are the org's data.
impl fmt::Debug for NewTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTask")
            .field("status", &self.status)
            .field("activity_date", &self.activity_date)
            .field("who_id", &self.who_id)
            .field("what_id", &self.what_id)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl NewTask {
    /// The longest subject, in Salesforce's characters: see [`truncate`].
    pub const LONGEST_SUBJECT: usize = 255;
    /// The longest description, in Salesforce's characters: see [`truncate`].
    pub const LONGEST_DESCRIPTION: usize = 32_000;

    /// A Task about this.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            status: None,
            activity_date: None,
            who_id: None,
            what_id: None,
            description: None,
            fields: Record::new(),
        }
    }

    /// The org's word for how far it is, such as `Completed`; the org's default unless set.
    pub fn status(mut self, status: impl Into<String>) -> Self {
        self.status = Some(status.into());
        self
    }

    /// The day on which it is due, or was done.
    pub fn activity_date(mut self, date: Date) -> Self {
        self.activity_date = Some(date);
        self
    }

    /// The Contact or Lead. A Lead goes with no [`what_id`](Self::what_id).
    pub fn who_id(mut self, who: &RecordId) -> Self {
        self.who_id = Some(who.clone());
        self
    }

    /// The Account, Opportunity or other record.
    pub fn what_id(mut self, what: &RecordId) -> Self {
        self.what_id = Some(what.clone());
        self
    }

    /// More about it. Salesforce cannot filter by it.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Any other field, such as a custom one.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    fn check(&self) -> Result<()> {
        let refuse = |detail| Err(Error::new(ErrorKind::Invalid, OPERATION).detail(detail));
        if characters(&self.subject) > Self::LONGEST_SUBJECT {
            return refuse("the subject is longer than 255 characters");
        }
        let description = self.description.as_deref().unwrap_or_default();
        if characters(description) > Self::LONGEST_DESCRIPTION {
            return refuse("the description is longer than 32,000 characters");
        }
        let who = self.who_id.as_ref().and_then(RecordId::object);
        if who == Some("Lead") && self.what_id.is_some() {
            return refuse("a Task of a Lead has no other record");
        }
        let own = [
            "Subject",
            "Status",
            "ActivityDate",
            "WhoId",
            "WhatId",
            "Description",
        ];
        for name in self.fields.keys() {
            check_name(OPERATION, name)?;
            if own.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                return refuse("a field that has its own setter is set by it");
            }
        }
        Ok(())
    }
}

/// The text, shortened to `limit` of Salesforce's characters, which are units of UTF-16. A
/// shortened text ends with an ellipsis.
pub fn truncate(text: &str, limit: usize) -> Cow<'_, str> {
    if characters(text) <= limit {
        return Cow::Borrowed(text);
    }
    let mut left = limit.saturating_sub(1);
    let fits = text.char_indices().find(|(_, c)| {
        let fits = c.len_utf16() <= left;
        left = left.saturating_sub(c.len_utf16());
        !fits
    });
    let kept = fits.map_or(text, |(end, _)| &text[..end]);
    match limit {
        0 => Cow::Borrowed(""),
        _ => Cow::Owned(format!("{kept}…")),
    }
}

fn characters(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_salesforce_refuses_is_not_sent() {
        let lead = RecordId::new("00Q000000000001").unwrap();
        let deal = RecordId::new("006000000000001").unwrap();
        for task in [
            NewTask::new("x".repeat(256)),
            NewTask::new("😀".repeat(128)),
            NewTask::new("x").description("x".repeat(32_001)),
            NewTask::new("x").who_id(&lead).what_id(&deal),
            NewTask::new("x").field("a b", 1),
            NewTask::new("x").field("subject", "y"),
        ] {
            assert_eq!(task.check().unwrap_err().kind(), ErrorKind::Invalid);
        }
        let longest = NewTask::new("x".repeat(255)).description("x".repeat(32_000));
        assert!(longest.check().is_ok());
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let task = NewTask::new("Signed").field("Box_Event_Id__c", "e1");
        assert_eq!(
            serde_json::to_string(&task).unwrap(),
            r#"{"Subject":"Signed","Box_Event_Id__c":"e1"}"#
        );
    }

    proptest! {
        #[test]
        fn a_shortened_text_fits_and_is_a_beginning(text in any::<String>(), limit in 0_usize..40) {
            let short = truncate(&text, limit);
            prop_assert!(characters(&short) <= limit);
            let kept = if short == text { &*short } else { short.strip_suffix('…').unwrap_or(&short) };
            prop_assert!(text.starts_with(kept));
            if characters(&text) > limit && limit > 0 {
                // A pair of units is not split, so one unit can be left over.
                prop_assert!(characters(&short) + 1 >= limit);
            }
        }
    }
}
