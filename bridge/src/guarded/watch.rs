use async_trait::async_trait;
use futures_core::stream::BoxStream;

use super::Guarded;
use crate::{
    port_error::PortError,
    watch::{Created, Entry, EventPage, EventStream, Hook, HookRef, Hooks, Tree},
};

#[async_trait]
impl Hooks for Guarded<dyn Hooks> {
    async fn list(&self) -> Result<Vec<HookRef>, PortError> {
        self.call("list_webhooks", self.port.list()).await
    }

    async fn hook(&self, id: &str) -> Result<Option<Hook>, PortError> {
        self.call("webhook", self.port.hook(id)).await
    }

    async fn create(
        &self,
        folder: &str,
        address: &str,
        triggers: &[String],
    ) -> Result<Created, PortError> {
        let created = self.port.create(folder, address, triggers);
        self.call("create_webhook", created).await
    }

    async fn change(
        &self,
        id: &str,
        address: &str,
        triggers: &[String],
    ) -> Result<Hook, PortError> {
        let changed = self.port.change(id, address, triggers);
        self.call("change_webhook", changed).await
    }

    async fn remove(&self, id: &str) -> Result<(), PortError> {
        self.call("remove_webhook", self.port.remove(id)).await
    }
}

#[async_trait]
impl EventStream for Guarded<dyn EventStream> {
    fn name(&self) -> &str {
        self.port.name()
    }

    fn tells(&self, trigger: &str) -> bool {
        self.port.tells(trigger)
    }

    async fn page(&self, from: Option<&str>) -> Result<EventPage, PortError> {
        self.call("events", self.port.page(from)).await
    }
}

impl Tree for Guarded<dyn Tree> {
    fn entries(&self, folder: &str) -> BoxStream<'_, Result<Entry, PortError>> {
        self.list("entries", self.port.entries(folder))
    }
}
