use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::Guarded;
use crate::{
    content::{Content, ContentSource, FileState, FileVersion, FolderState, Mapping},
    folders::{Ensured, FolderName, Folders, Invitation, Invited, Invitee, Named, Placed},
    metadata::{
        Claimed, Instance, MappedFolder, MappedFolders, Metadata, TemplateField, ValueChange,
    },
    observe,
    port_error::PortError,
};

#[async_trait]
impl ContentSource for Guarded<dyn ContentSource> {
    fn file_id(&self, text: &str) -> Result<String, PortError> {
        self.port.file_id(text)
    }

    async fn file(&self, file: &str) -> Result<FileState, PortError> {
        self.call("file", self.port.file(file)).await
    }

    async fn earlier_versions(&self, file: &str) -> Result<Vec<FileVersion>, PortError> {
        let versions = self.port.earlier_versions(file);
        self.call("earlier_versions", versions).await
    }

    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError> {
        let open = self.port.open(file, version);
        let Content { size, bytes } = self.call("open", open).await?;
        let (circuit, side) = (self.circuit.clone(), self.side);
        let bytes = bytes.map(move |chunk| match chunk {
            Ok(chunk) => {
                observe::content(chunk.len());
                Ok(chunk)
            }
            Err(error) => {
                let error = error.or_side(side);
                circuit.failed(side, &error);
                Err(error)
            }
        });
        Ok(Content {
            size,
            bytes: bytes.boxed(),
        })
    }

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        self.call("folder", self.port.folder(folder)).await
    }

    async fn is_final(&self, sign_request: &str) -> Result<bool, PortError> {
        let is_final = self.port.is_final(sign_request);
        self.call("is_final", is_final).await
    }

    async fn watched(&self, webhook: &str) -> Result<Option<FolderState>, PortError> {
        self.call("watched", self.port.watched(webhook)).await
    }

    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError> {
        self.call("mapping", self.port.mapping(folder)).await
    }
}

#[async_trait]
impl Folders for Guarded<dyn Folders> {
    fn name(&self, text: &str, mark: Option<&str>) -> FolderName {
        self.port.name(text, mark)
    }

    async fn ensure(&self, parent: &str, name: &str) -> Result<Ensured, PortError> {
        self.call("ensure_folder", self.port.ensure(parent, name))
            .await
    }

    async fn place(&self, folder: &str, parent: &str, name: &str) -> Result<Placed, PortError> {
        self.call("place_folder", self.port.place(folder, parent, name))
            .await
    }

    async fn discard(&self, folder: &str) -> Result<bool, PortError> {
        self.call("discard_folder", self.port.discard(folder)).await
    }

    async fn invite(&self, folder: &str, invitation: &Invitation) -> Result<Invited, PortError> {
        self.call("invite", self.port.invite(folder, invitation))
            .await
    }

    async fn end_collaboration(&self, collaboration: &str) -> Result<(), PortError> {
        self.call(
            "end_collaboration",
            self.port.end_collaboration(collaboration),
        )
        .await
    }

    async fn named(&self, parent: &str, name: &str) -> Result<Option<Named>, PortError> {
        self.call("named", self.port.named(parent, name)).await
    }

    async fn standing(
        &self,
        folder: &str,
        invitee: &Invitee,
    ) -> Result<Option<Invited>, PortError> {
        self.call("standing", self.port.standing(folder, invitee))
            .await
    }
}

#[async_trait]
impl Metadata for Guarded<dyn Metadata> {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        self.call("read_metadata", self.port.read(folder)).await
    }

    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError> {
        self.call("set_metadata", self.port.set(folder, values))
            .await
    }

    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError> {
        self.call("claim_metadata", self.port.claim(folder, values))
            .await
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        self.call("change_metadata", self.port.change(folder, changes))
            .await
    }

    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError> {
        self.call("ensure_template", self.port.ensure_template(fields))
            .await
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        self.call("template", self.port.shape()).await
    }

    async fn find(&self, under: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        self.call("find_metadata", self.port.find(under, key, text))
            .await
    }

    async fn above(&self, folder: &str) -> Result<Vec<String>, PortError> {
        self.call("folders_above", self.port.above(folder)).await
    }
}

impl MappedFolders for Guarded<dyn MappedFolders> {
    fn mapped(&self, key: &str) -> BoxStream<'_, Result<MappedFolder, PortError>> {
        self.list("mapped_folders", self.port.mapped(key))
    }
}
