//! The far sides behind their circuits. Every call of a port asks first and tells afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::{
    circuit::Circuit,
    content::{Content, ContentSource, FileState, FileVersion, FolderState, Mapping},
    crm::{Activity, Crm, Deal, NewFile, Origin, Record, StoredVersion},
    observe,
    port_error::PortError,
    side::Side,
    worker::Hold,
};

/// A content side that is asked only while its circuit lets calls through.
#[derive(Debug)]
pub(crate) struct GuardedContent {
    pub(crate) side: Arc<dyn ContentSource>,
    pub(crate) circuit: Circuit,
}

/// A CRM side that is asked only while its circuit lets calls through.
#[derive(Debug)]
pub(crate) struct GuardedCrm {
    pub(crate) side: Arc<dyn Crm>,
    pub(crate) circuit: Circuit,
}

async fn guarded<T>(
    circuit: &Circuit,
    side: Side,
    operation: &'static str,
    call: impl Future<Output = Result<T, PortError>>,
) -> Result<T, PortError> {
    let pass = circuit.pass(side)?;
    let started = Instant::now();
    let result = call.await.map_err(|error| error.or_side(side));
    pass.ended(&result);
    let failure = result.as_ref().err().map(PortError::kind);
    observe::call(side, operation, failure, started.elapsed());
    result
}

#[async_trait]
impl ContentSource for GuardedContent {
    async fn file(&self, file: &str) -> Result<FileState, PortError> {
        guarded(&self.circuit, Side::Content, "file", self.side.file(file)).await
    }

    async fn earlier_versions(&self, file: &str) -> Result<Vec<FileVersion>, PortError> {
        let versions = self.side.earlier_versions(file);
        guarded(&self.circuit, Side::Content, "earlier_versions", versions).await
    }

    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError> {
        let open = self.side.open(file, version);
        let Content { size, bytes } = guarded(&self.circuit, Side::Content, "open", open).await?;
        let circuit = self.circuit.clone();
        let bytes = bytes.map(move |chunk| match chunk {
            Ok(chunk) => {
                observe::content(chunk.len());
                Ok(chunk)
            }
            Err(error) => {
                let error = error.or_side(Side::Content);
                circuit.failed(Side::Content, &error);
                Err(error)
            }
        });
        Ok(Content {
            size,
            bytes: bytes.boxed(),
        })
    }

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        guarded(
            &self.circuit,
            Side::Content,
            "folder",
            self.side.folder(folder),
        )
        .await
    }

    async fn is_final(&self, sign_request: &str) -> Result<bool, PortError> {
        let is_final = self.side.is_final(sign_request);
        guarded(&self.circuit, Side::Content, "is_final", is_final).await
    }

    async fn watched(&self, webhook: &str) -> Result<Option<FolderState>, PortError> {
        let watched = self.side.watched(webhook);
        guarded(&self.circuit, Side::Content, "watched", watched).await
    }

    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError> {
        guarded(
            &self.circuit,
            Side::Content,
            "mapping",
            self.side.mapping(folder),
        )
        .await
    }
}

#[async_trait]
impl Crm for GuardedCrm {
    fn record(&self, text: &str) -> Result<Record, PortError> {
        self.side.record(text)
    }

    async fn upload(&self, file: &NewFile, content: Content) -> Result<String, PortError> {
        guarded(
            &self.circuit,
            Side::Crm,
            "upload",
            self.side.upload(file, content),
        )
        .await
    }

    async fn stored(&self, version: &str) -> Result<StoredVersion, PortError> {
        guarded(
            &self.circuit,
            Side::Crm,
            "stored",
            self.side.stored(version),
        )
        .await
    }

    async fn stored_and_linked(
        &self,
        version: &str,
        records: &[Record],
    ) -> Result<(StoredVersion, Vec<Record>), PortError> {
        let stored = self.side.stored_and_linked(version, records);
        guarded(&self.circuit, Side::Crm, "stored_and_linked", stored).await
    }

    async fn find(
        &self,
        origin: &Origin,
        record: &Record,
        document: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError> {
        let find = self.side.find(origin, record, document);
        guarded(&self.circuit, Side::Crm, "find", find).await
    }

    async fn link(&self, document: &str, record: &Record) -> Result<(), PortError> {
        guarded(
            &self.circuit,
            Side::Crm,
            "link",
            self.side.link(document, record),
        )
        .await
    }

    async fn log_activity(&self, activity: &Activity) -> Result<String, PortError> {
        guarded(
            &self.circuit,
            Side::Crm,
            "log_activity",
            self.side.log_activity(activity),
        )
        .await
    }

    async fn log_activity_held(
        &self,
        activity: &Activity,
        hold: &Hold,
    ) -> Result<String, PortError> {
        let logged = self.side.log_activity_held(activity, hold);
        guarded(&self.circuit, Side::Crm, "log_activity", logged).await
    }

    async fn find_activity(&self, activity: &Activity) -> Result<Option<String>, PortError> {
        guarded(
            &self.circuit,
            Side::Crm,
            "find_activity",
            self.side.find_activity(activity),
        )
        .await
    }

    async fn deal(&self, record: &Record) -> Result<Deal, PortError> {
        guarded(&self.circuit, Side::Crm, "deal", self.side.deal(record)).await
    }

    async fn set_stage(
        &self,
        record: &Record,
        stage: &str,
        seen: &Deal,
    ) -> Result<bool, PortError> {
        let set = self.side.set_stage(record, stage, seen);
        guarded(&self.circuit, Side::Crm, "set_stage", set).await
    }
}
