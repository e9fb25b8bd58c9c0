//! Salesforce as the CRM side.

use std::{borrow::Cow, error::Error as _};

use async_trait::async_trait;
use salesforce_client::{
    ContentVersion, Error, ErrorCode, ErrorKind, NewTask, RecordId, SalesforceClient, ShareType,
    Visibility, soql, truncate,
};
use serde::Deserialize;

use crate::{
    content::Content,
    crm::{Activity, Crm, Deal, NewFile, Origin, Place, Record, Stage, StoredVersion},
    port_error::{PortError, PortErrorKind},
    side::Side,
};

/// Salesforce behind [`Crm`]. Files are ContentVersions, activities are Tasks, deals are
/// Opportunities.
#[derive(Clone, Debug)]
pub struct SalesforceCrm {
    client: SalesforceClient,
    version_key: Option<String>,
    task_key: Option<String>,
    task_status: String,
    visibility: Visibility,
}

impl SalesforceCrm {
    /// Salesforce through this client.
    pub fn new(client: SalesforceClient) -> Self {
        Self {
            client,
            version_key: None,
            task_key: None,
            task_status: "Completed".to_owned(),
            visibility: Visibility::AllUsers,
        }
    }

    /// A unique external id field on ContentVersion for the Box version. With it Salesforce itself
    /// refuses a second copy.
    #[must_use]
    pub fn version_key_field(mut self, field: Option<String>) -> Self {
        self.version_key = field;
        self
    }

    /// A unique external id field on Task (made on Activity) for the event.
    #[must_use]
    pub fn task_key_field(mut self, field: Option<String>) -> Self {
        self.task_key = field;
        self
    }

    /// Who of those who see a record sees the files that are linked to it: everybody, unless set.
    /// Where the org has an Experience Cloud site, that includes its visitors.
    #[must_use]
    pub fn link_visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// The status that closes a Task in the org.
    #[must_use]
    pub fn task_status(mut self, status: impl Into<String>) -> Self {
        self.task_status = status.into();
        self
    }
}

impl SalesforceCrm {
    pub(crate) fn client(&self) -> &SalesforceClient {
        &self.client
    }
}

/// What is shown of each message of Salesforce's.
const LONGEST_MESSAGE: usize = 300;
/// Tasks of one subject on one record and day that are looked through.
const MOST_TASKS: usize = 2_000;

#[async_trait]
impl Crm for SalesforceCrm {
    fn record(&self, text: &str) -> Result<Record, PortError> {
        let id = id("read the record's id", text)?;
        Ok(Record {
            object: id.object().map(str::to_owned),
            id: id.to_string(),
        })
    }

    async fn upload(&self, file: &NewFile, content: Content) -> Result<String, PortError> {
        const DOING: &str = "upload to Salesforce";
        let request = self
            .client
            .files()
            .upload(&file.name)
            .description(marker(&file.origin));
        let request = match &file.place {
            Place::New { record } => request.first_publish_location(&id(DOING, &record.id)?),
            Place::VersionOf { document } => request.new_version_of(&id(DOING, document)?),
        };
        let request = match &self.version_key {
            Some(field) => request.field(field, file.origin.version.as_str()),
            None => request,
        };
        let Content { size, bytes } = content;
        match request.send(bytes, size).await {
            Ok(version) => Ok(version.to_string()),
            Err(error)
                if matches!(file.place, Place::VersionOf { .. }) && is_no_document(&error) =>
            {
                Err(PortError::new(PortErrorKind::Gone, DOING).with_cause(error))
            }
            Err(error) if self.version_key.is_some() && is_duplicate_value(&error) => {
                Err(PortError::new(PortErrorKind::Unknown, DOING).with_cause(error))
            }
            Err(error) => Err(port_error(DOING, error)),
        }
    }

    async fn stored(&self, version: &str) -> Result<StoredVersion, PortError> {
        const DOING: &str = "read the version back from Salesforce";
        let version = self.client.files().version(&id(DOING, version)?).await;
        version
            .map(stored)
            .map_err(|error| port_error(DOING, error))
    }

    async fn find(
        &self,
        origin: &Origin,
        record: &Record,
        document: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError> {
        const DOING: &str = "look for the file in Salesforce";
        let failed = |error| port_error(DOING, error);
        let files = self.client.files();
        if let Some(field) = &self.version_key {
            let found = files
                .find_by(field, &origin.version)
                .await
                .map_err(failed)?;
            // The field is the origin itself, whatever the description says.
            return Ok(found
                .map(|version| StoredVersion {
                    origin: Some(origin.clone()),
                    ..stored(version)
                })
                .into_iter()
                .collect());
        }
        let mut documents = files
            .on_record(&id(DOING, &record.id)?)
            .await
            .map_err(failed)?;
        if let Some(document) = document {
            let document = id(DOING, document)?;
            if !documents.contains(&document) {
                documents.push(document);
            }
        }
        let versions = files.versions_of(&documents).await.map_err(failed)?;
        Ok(versions.into_iter().map(stored).collect())
    }

    async fn link(&self, document: &str, record: &Record) -> Result<(), PortError> {
        const DOING: &str = "link the file in Salesforce";
        let (document, record) = (id(DOING, document)?, id(DOING, &record.id)?);
        let linked = self
            .client
            .files()
            .link(&document, &record, ShareType::Viewer)
            .visibility(self.visibility.clone())
            .await;
        linked.map(drop).map_err(|error| port_error(DOING, error))
    }

    async fn log_activity(&self, activity: &Activity) -> Result<String, PortError> {
        const DOING: &str = "create the Task in Salesforce";
        let mut task = NewTask::new(subject(activity))
            .description(description(activity))
            .status(&self.task_status)
            .activity_date(activity.date)
            .what_id(&id(DOING, &activity.record.id)?);
        if let Some(field) = &self.task_key {
            task = task.field(field, activity.key.as_str());
        }
        match self.client.tasks().create(&task).await {
            Ok(id) => Ok(id.to_string()),
            Err(error) if self.task_key.is_some() && is_duplicate_value(&error) => {
                Err(PortError::new(PortErrorKind::Unknown, DOING).with_cause(error))
            }
            Err(error) => Err(port_error(DOING, error)),
        }
    }

    async fn find_activity(&self, activity: &Activity) -> Result<Option<String>, PortError> {
        const DOING: &str = "look for the Task in Salesforce";
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Task {
            id: RecordId,
            description: Option<String>,
        }
        let query = match &self.task_key {
            Some(field) => soql(format!(
                "SELECT Id, Description FROM Task WHERE {field} = :key"
            ))
            .bind("key", &activity.key),
            // A description cannot be filtered by, so it is read and searched here.
            None => soql(
                "SELECT Id, Description FROM Task \
                 WHERE WhatId = :record AND Subject = :subject AND ActivityDate = :date",
            )
            .bind("record", &activity.record.id)
            .bind("subject", &*subject(activity))
            .bind("date", activity.date),
        };
        let tasks = self.client.query::<Task>(query).all(MOST_TASKS).await;
        let tasks = tasks.map_err(|error| port_error(DOING, error))?;
        let mark = mark(activity);
        let is_it = |task: &Task| {
            self.task_key.is_some()
                || task
                    .description
                    .as_ref()
                    .is_some_and(|text| text.lines().any(|it| it == mark))
        };
        Ok(tasks
            .into_iter()
            .find(is_it)
            .map(|task| task.id.to_string()))
    }

    async fn deal(&self, record: &Record) -> Result<Deal, PortError> {
        const DOING: &str = "read the Opportunity's stage";
        let failed = |error| port_error(DOING, error);
        let opportunities = self.client.opportunities();
        let now = opportunities
            .stage(&id(DOING, &record.id)?)
            .await
            .map_err(failed)?;
        let stages = opportunities.stages().await.map_err(failed)?.into_iter();
        Ok(Deal {
            stage: now.stage_name.unwrap_or_default(),
            is_closed: now.is_closed,
            changed_at: now.last_modified_date,
            stages: stages
                .map(|stage| Stage {
                    name: stage.api_name,
                    is_closed: stage.is_closed,
                })
                .collect(),
        })
    }

    async fn set_stage(
        &self,
        record: &Record,
        stage: &str,
        seen: &Deal,
    ) -> Result<bool, PortError> {
        const DOING: &str = "set the Opportunity's stage";
        let record = id(DOING, &record.id)?;
        match self
            .client
            .opportunities()
            .set_stage(&record, stage, seen.changed_at)
            .await
        {
            Ok(()) => Ok(true),
            // 412. A deal that an approval has locked is a conflict too, and lasts.
            Err(error) if error.kind() == ErrorKind::Conflict && !is_locked(&error) => Ok(false),
            Err(error) => Err(port_error(DOING, error)),
        }
    }
}

/// Kept in the version's description, where people can read it too.
fn marker(origin: &Origin) -> String {
    format!("Box file {}, version {}", origin.file, origin.version)
}

fn read_marker(description: &str) -> Option<Origin> {
    let (file, version) = description
        .strip_prefix("Box file ")?
        .split_once(", version ")?;
    Some(Origin {
        file: file.to_owned(),
        version: version.to_owned(),
    })
}

fn stored(version: ContentVersion) -> StoredVersion {
    StoredVersion {
        version: version.id.to_string(),
        document: version.content_document_id.to_string(),
        size: version.content_size,
        md5: version.checksum,
        origin: version.description.as_deref().and_then(read_marker),
    }
}

fn mark(activity: &Activity) -> String {
    format!("Box event {}", activity.key)
}

fn subject(activity: &Activity) -> Cow<'_, str> {
    truncate(&activity.subject, NewTask::LONGEST_SUBJECT)
}

/// The text, shortened where it has to be, and the mark on a line of its own.
fn description(activity: &Activity) -> String {
    let mark = mark(activity);
    let room = NewTask::LONGEST_DESCRIPTION.saturating_sub(mark.encode_utf16().count() + 2);
    let text = truncate(&activity.description, room);
    format!("{text}\n\n{mark}").trim_start().to_owned()
}

pub(crate) fn id(doing: &'static str, text: &str) -> Result<RecordId, PortError> {
    RecordId::new(text)
        .map_err(|cause| PortError::new(PortErrorKind::Refused, doing).with_cause(cause))
}

/// The document is deleted, or not ours to change any more.
fn is_no_document(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Deleted)
        || error.api().and_then(|api| api.code()).is_some_and(|code| {
            code == "INVALID_CROSS_REFERENCE_KEY" || code.starts_with("INSUFFICIENT_ACCESS")
        })
}

/// An earlier write has arrived after all: its own unique field says so, and a look finds it.
fn is_duplicate_value(error: &Error) -> bool {
    error.has_code(&ErrorCode::DUPLICATE_VALUE)
}

fn is_locked(error: &Error) -> bool {
    error.has_code(&ErrorCode::ENTITY_IS_LOCKED)
}

pub(crate) fn port_error(doing: &'static str, error: Error) -> PortError {
    let error = match from_content(error) {
        Ok(port_error) => return port_error,
        Err(error) => error,
    };
    let kind = match error.kind() {
        _ if error.may_have_happened() => PortErrorKind::Unknown,
        // A session that ended in the middle: the next call logs in anew.
        ErrorKind::Auth if error.is_retryable() => PortErrorKind::Busy,
        ErrorKind::Deleted => PortErrorKind::Gone,
        // A 404 without Salesforce's own body is a proxy's, or that of a wrong login URL.
        ErrorKind::NotFound if says_why(&error) => PortErrorKind::Gone,
        // These concern the user or the org as a whole: every other call would fare the same.
        ErrorKind::Auth
        | ErrorKind::Config
        | ErrorKind::DailyLimit
        | ErrorKind::StorageFull
        | ErrorKind::Store => PortErrorKind::Outage,
        ErrorKind::Forbidden if is_api_disabled(&error) => PortErrorKind::Outage,
        // Nor is a refusal without reason Salesforce's last word: its body may have broken off, and
        // with it that the effect is there already.
        ErrorKind::Forbidden | ErrorKind::Invalid
            if error.status().is_some() && !says_why(&error) =>
        {
            PortErrorKind::Busy
        }
        ErrorKind::Duplicate | ErrorKind::Forbidden | ErrorKind::Invalid | ErrorKind::TooLarge => {
            PortErrorKind::Refused
        }
        ErrorKind::Server | ErrorKind::Timeout | ErrorKind::Transport => PortErrorKind::Down,
        _ => PortErrorKind::Busy,
    };
    PortError::new(kind, doing)
        .with_retry_after(error.retry_after())
        .with_detail(explanation(&error))
        .with_cause(error)
}

/// Where an upload failed because its content did, the content side's own error says what to do.
fn from_content(error: Error) -> Result<PortError, Error> {
    let cause = error.source().and_then(|it| it.downcast_ref::<PortError>());
    match cause {
        Some(cause) if error.kind() == ErrorKind::Content => {
            let cause_side = cause.side().unwrap_or(Side::Content);
            let port_error =
                PortError::new(cause.kind(), cause.doing()).with_retry_after(cause.retry_after());
            // Nothing but the content comes from another side.
            Ok(port_error.with_side(cause_side).with_cause(error))
        }
        _ => Err(error),
    }
}

/// Whether the answer was Salesforce's own.
fn says_why(error: &Error) -> bool {
    error.api().is_some_and(|api| api.code().is_some())
}

fn is_api_disabled(error: &Error) -> bool {
    error.has_code(&ErrorCode::API_DISABLED_FOR_ORG)
        || error.has_code(&ErrorCode::API_CURRENTLY_DISABLED)
}

/// The org's own words, such as those of a validation rule, and the fields they are about: what a
/// person needs to put it right.
fn explanation(error: &Error) -> Option<String> {
    let items = error.api()?.iter().map(|item| {
        let message = &item.message;
        let message: String = message.chars().take(LONGEST_MESSAGE).collect();
        match item.fields.is_empty() {
            true => message,
            false => format!("{message} ({})", item.fields.join(", ")),
        }
    });
    let items: Vec<_> = items.filter(|item| !item.is_empty()).take(3).collect();
    (!items.is_empty()).then(|| items.join("; "))
}
