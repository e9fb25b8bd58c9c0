//! The bridge's own way through: the event, its plan, the ledger, the hashes. Box's side is the
//! true one, and so is the upload; what else the action asks is answered here, so that the calls
//! on the wire are the floor's.

use std::sync::Arc;

use async_trait::async_trait;
use bridge::{
    Attach, BOX_WEBHOOK, BoxContent, ContentSource, Crm, Handler, Hold, InboxId, JobId, LeaseId,
    Leased, NewJob, Outcome, Pipeline, PortError, PortErrorKind, Rule, Target,
    content::{Content, FileState, FileVersion, FolderState, Mapping},
    crm::{Activity, Deal, NewFile, Origin, Record, StoredVersion},
    store::memory::MemoryStore,
};
use bridge_benches::{Failure, sample::SampleFile};
use jiff::Timestamp;
use salesforce_client::{SalesforceClient, Strategy};
use serde_json::{Map, json};

use crate::{Form, clients::Clients};

const DEAL: &str = "006000000000001AAA";
const DOCUMENT: &str = "069000000000001AAA";

#[derive(Clone)]
pub(crate) struct Bridged(Arc<Pipeline>);

impl Bridged {
    pub(crate) fn new(url: &str, form: Form, md5: &str) -> Result<Self, Failure> {
        let Clients { content, crm } = Clients::new(url)?;
        let attach = Attach::to([Target::Opportunity]);
        let rule = Rule::new("files", ["FILE.UPLOADED"], vec![Arc::new(attach)])?;
        let content = Documents(BoxContent::new(content, "enterprise", "mapping"));
        let crm = Records {
            client: crm,
            strategy: form.strategy(),
            md5: md5.to_owned(),
        };
        let ledger = MemoryStore::new();
        Ok(Self(Arc::new(Pipeline::new(
            Arc::new(content),
            Arc::new(crm),
            Arc::new(ledger),
            vec![rule],
        ))))
    }

    pub(crate) async fn carry(self, file: SampleFile) -> Result<(), Failure> {
        match self.0.handle(&job(&file)?, &Hold::forever()).await {
            Outcome::Done(note) if note.starts_with(DOCUMENT) => Ok(()),
            other => Err(format!("not attached: {other:?}").into()),
        }
    }
}

fn job(file: &SampleFile) -> Result<Leased, Failure> {
    let event = json!({
        "type": "webhook_event",
        "id": file.id,
        "created_at": "2031-01-01T00:00:00Z",
        "trigger": "FILE.UPLOADED",
        "webhook": {"id": "1", "type": "webhook"},
        "created_by": {"id": "2", "type": "user", "name": "Ada", "login": "ada@example.com"},
        "source": {
            "id": file.id,
            "type": "file",
            "name": "contract.pdf",
            "size": file.size,
            "sha1": file.sha1,
            "file_version": {"id": file.id, "type": "file_version", "sha1": file.sha1},
            "path_collection": {"total_count": 1, "entries": [
                {"id": "7", "type": "folder", "name": "Renewals"},
            ]},
        },
    });
    let lease = LeaseId {
        job: JobId(1),
        fence: 1,
        inbox: InboxId::default(),
    };
    let new = NewJob {
        dedupe: file.id.clone(),
        key: file.id.clone(),
        kind: BOX_WEBHOOK.to_owned(),
        body: serde_json::to_vec(&event)?.into(),
    };
    let now = Timestamp::now();
    Ok(Leased::new(lease, 1, now, now, new))
}

#[derive(Debug)]
struct Documents(BoxContent);

#[async_trait]
impl ContentSource for Documents {
    async fn file(&self, file: &str) -> Result<FileState, PortError> {
        self.0.file(file).await
    }

    async fn earlier_versions(&self, _: &str) -> Result<Vec<FileVersion>, PortError> {
        Ok(Vec::new())
    }

    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError> {
        self.0.open(file, version).await
    }

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        self.0.folder(folder).await
    }

    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError> {
        let values = Map::from_iter([("opportunity_id".to_owned(), DEAL.into())]);
        Ok(Some(Mapping {
            folder: folder.to_owned(),
            values,
        }))
    }
}

#[derive(Debug)]
struct Records {
    client: SalesforceClient,
    strategy: Strategy,
    md5: String,
}

#[async_trait]
impl Crm for Records {
    fn record(&self, text: &str) -> Result<Record, PortError> {
        Ok(Record {
            id: text.to_owned(),
            object: Some("Opportunity".to_owned()),
        })
    }

    async fn upload(&self, file: &NewFile, content: Content) -> Result<String, PortError> {
        let upload = self.client.files().upload(&file.name);
        let upload = upload.strategy(self.strategy);
        let sent = upload.send(content.bytes, content.size).await;
        sent.map(|id| id.to_string())
            .map_err(|error| PortError::new(PortErrorKind::Busy, "upload").with_cause(error))
    }

    async fn stored(&self, version: &str) -> Result<StoredVersion, PortError> {
        Ok(StoredVersion {
            version: version.to_owned(),
            document: DOCUMENT.to_owned(),
            size: None,
            md5: Some(self.md5.clone()),
            origin: None,
        })
    }

    async fn find(
        &self,
        _: &Origin,
        _: &Record,
        _: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError> {
        Ok(Vec::new())
    }

    async fn link(&self, _: &str, _: &Record) -> Result<(), PortError> {
        Ok(())
    }

    async fn log_activity(&self, _: &Activity) -> Result<String, PortError> {
        Err(not_asked())
    }

    async fn find_activity(&self, _: &Activity) -> Result<Option<String>, PortError> {
        Err(not_asked())
    }

    async fn deal(&self, _: &Record) -> Result<Deal, PortError> {
        Err(not_asked())
    }

    async fn set_stage(&self, _: &Record, _: &str, _: &Deal) -> Result<bool, PortError> {
        Err(not_asked())
    }
}

fn not_asked() -> PortError {
    PortError::new(PortErrorKind::Refused, "ask what no attachment asks")
}
