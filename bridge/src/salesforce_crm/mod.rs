//! Salesforce as the CRM side.

mod deals;
mod failure;
mod links;
mod looks;
mod origin;
mod read_back;
mod task_key;
mod tasks;
mod together;

use std::time::Duration;

use async_trait::async_trait;
use salesforce_client::{ErrorKind, Priority, SalesforceClient, Visibility};

pub(crate) use self::failure::{id, port_error};
use self::{
    deals::{Deals, Known, Stages},
    failure::{is_duplicate_value, is_locked, is_no_document},
    links::{LinkRow, Links},
    looks::Looks,
    origin::{marker, stored},
    tasks::{TaskRow, Tasks},
    together::Together,
};
use crate::{
    content::Content,
    crm::{Activity, Crm, Deal, NewFile, Origin, Place, Record, StoredVersion},
    port_error::{PortError, PortErrorKind},
    quota_class::QuotaClass,
    worker::Hold,
};

/// Salesforce behind [`Crm`]. Files are ContentVersions, activities are Tasks, deals are
/// Opportunities.
///
/// What jobs ask for at the same time goes to Salesforce together, up to 200 Tasks, links or stages
/// to a call. Who asks alone does not wait for others.
#[derive(Clone, Debug)]
pub struct SalesforceCrm {
    settings: Settings,
    live: Lane,
    backfill: Lane,
    known_stages: Known,
}

/// What goes to Salesforce with one urgency, and together with nothing of another.
#[derive(Clone, Debug)]
struct Lane {
    client: SalesforceClient,
    tasks: Together<Tasks>,
    looks: Together<Looks>,
    links: Together<Links>,
    deals: Together<Deals>,
    stages: Together<Stages>,
}

#[derive(Clone, Debug)]
struct Settings {
    version_key: Option<String>,
    task_key: Option<String>,
    task_status: String,
    visibility: Visibility,
    linger: Duration,
    bulk_from: usize,
    remember_stages: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version_key: None,
            task_key: None,
            task_status: "Completed".to_owned(),
            visibility: Visibility::AllUsers,
            linger: Duration::from_millis(50),
            // Salesforce's own advice. A job takes about eight calls, as do 1,600 Tasks.
            bulk_from: 2_000,
            remember_stages: Duration::from_secs(60),
        }
    }
}

impl SalesforceCrm {
    /// Salesforce through this client.
    pub fn new(client: SalesforceClient) -> Self {
        Self::with(client, Settings::default())
    }

    fn with(client: SalesforceClient, settings: Settings) -> Self {
        let known_stages = Known::new(settings.remember_stages);
        let patient = client.with_priority(Priority::Backfill);
        Self {
            live: Lane::new(client, QuotaClass::Live, &settings, &known_stages),
            backfill: Lane::new(patient, QuotaClass::Backfill, &settings, &known_stages),
            settings,
            known_stages,
        }
    }

    pub(crate) fn client(&self) -> &SalesforceClient {
        &self.lane().client
    }

    /// That of whoever calls.
    fn lane(&self) -> &Lane {
        match QuotaClass::current() {
            QuotaClass::Live => &self.live,
            QuotaClass::Backfill => &self.backfill,
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        Self::with(self.live.client, self.settings)
    }

    /// A unique external id field on ContentVersion for the Box version. With it Salesforce itself
    /// refuses a second copy.
    #[must_use]
    pub fn version_key_field(self, field: Option<String>) -> Self {
        self.set(|it| it.version_key = field)
    }

    /// A unique external id field on Task (made on Activity) for the event, a text of 64 characters
    /// or more.
    #[must_use]
    pub fn task_key_field(self, field: Option<String>) -> Self {
        self.set(|it| it.task_key = field)
    }

    /// Who of those who see a record sees the files that are linked to it: everybody, unless set.
    /// Where the org has an Experience Cloud site, that includes its visitors.
    #[must_use]
    pub fn link_visibility(self, visibility: Visibility) -> Self {
        self.set(|it| it.visibility = visibility)
    }

    /// The status that closes a Task in the org.
    #[must_use]
    pub fn task_status(self, status: impl Into<String>) -> Self {
        self.set(|it| it.task_status = status.into())
    }

    /// How long what is asked for waits for more of its kind, while there is much to do: 50 ms
    /// unless set.
    #[must_use]
    pub fn linger(self, linger: Duration) -> Self {
        self.set(|it| it.linger = linger)
    }

    /// From how many waiting Tasks on they are created by Bulk 2.0: 2,000 unless set. Only with a
    /// [`task_key_field`](Self::task_key_field), by which the rows of a job are told apart, and
    /// with a worker that has as many jobs in hand.
    #[must_use]
    pub fn bulk_from(self, tasks: usize) -> Self {
        self.set(|it| it.bulk_from = tasks.max(1))
    }

    /// How long the org's list of stages is remembered: a minute unless set. Where a deal stands is
    /// always asked for.
    #[must_use]
    pub fn remember_stages(self, remember: Duration) -> Self {
        self.set(|it| it.remember_stages = remember)
    }
}

impl Lane {
    fn new(
        client: SalesforceClient,
        class: QuotaClass,
        settings: &Settings,
        known_stages: &Known,
    ) -> Self {
        let tasks = Tasks {
            client: client.clone(),
            key: settings.task_key.clone(),
            bulk_from: settings.bulk_from,
        };
        let looks = Looks {
            client: client.clone(),
            key: settings.task_key.clone(),
        };
        let links = Links {
            client: client.clone(),
            visibility: settings.visibility.clone(),
        };
        let deals = Deals {
            client: client.clone(),
        };
        let stages = Stages {
            client: client.clone(),
            known: known_stages.clone(),
        };
        let linger = settings.linger;
        Self {
            client,
            tasks: Together::new(tasks, linger, class),
            looks: Together::new(looks, linger, class),
            links: Together::new(links, linger, class),
            deals: Together::new(deals, linger, class),
            stages: Together::new(stages, linger, class),
        }
    }
}

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
            .client()
            .files()
            .upload(&file.name)
            .description(marker(&file.origin));
        let request = match &file.place {
            Place::New { record } => request.first_publish_location(&id(DOING, &record.id)?),
            Place::VersionOf { document } => request.new_version_of(&id(DOING, document)?),
        };
        let request = match &self.settings.version_key {
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
            Err(error) if self.settings.version_key.is_some() && is_duplicate_value(&error) => {
                Err(PortError::new(PortErrorKind::Unknown, DOING).with_cause(error))
            }
            Err(error) => Err(port_error(DOING, error)),
        }
    }

    async fn stored(&self, version: &str) -> Result<StoredVersion, PortError> {
        const DOING: &str = "read the version back from Salesforce";
        let version = self.client().files().version(&id(DOING, version)?).await;
        version
            .map(stored)
            .map_err(|error| port_error(DOING, error))
    }

    async fn stored_and_linked(
        &self,
        version: &str,
        records: &[Record],
    ) -> Result<(StoredVersion, Vec<Record>), PortError> {
        if records.is_empty() {
            return Ok((self.stored(version).await?, Vec::new()));
        }
        let version = id("read the version back from Salesforce", version)?;
        let visibility = &self.settings.visibility;
        read_back::stored_and_linked(self.client(), &version, records, visibility).await
    }

    async fn find(
        &self,
        origin: &Origin,
        record: &Record,
        document: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError> {
        const DOING: &str = "look for the file in Salesforce";
        let failed = |error| port_error(DOING, error);
        let files = self.client().files();
        if let Some(field) = &self.settings.version_key {
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
        self.lane()
            .links
            .ask(LinkRow { document, record }, None)
            .await
    }

    async fn log_activity(&self, activity: &Activity) -> Result<String, PortError> {
        let row = TaskRow::of(activity, &self.settings.task_status)?;
        self.lane().tasks.ask(row, None).await
    }

    async fn log_activity_held(
        &self,
        activity: &Activity,
        hold: &Hold,
    ) -> Result<String, PortError> {
        let row = TaskRow::of(activity, &self.settings.task_status)?;
        self.lane().tasks.ask(row, Some(hold)).await
    }

    async fn find_activity(&self, activity: &Activity) -> Result<Option<String>, PortError> {
        self.lane().looks.ask(activity.clone(), None).await
    }

    async fn deal(&self, record: &Record) -> Result<Deal, PortError> {
        const DOING: &str = "read the Opportunity's stage";
        let now = self.lane().deals.ask(id(DOING, &record.id)?, None).await?;
        let stages = match self.known_stages.fresh() {
            Some(stages) => stages,
            None => self.lane().stages.ask((), None).await?,
        };
        Ok(Deal {
            stage: now.stage_name.unwrap_or_default(),
            is_closed: now.is_closed,
            changed_at: now.last_modified_date,
            stages,
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
            .client()
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
