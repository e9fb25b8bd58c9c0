use std::fmt::Debug;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    content::{FileState, FolderRef},
    port_error::PortError,
};

/// The webhooks of our own application and user on the content side. Those of others are not to be
/// seen here.
#[async_trait]
pub trait Hooks: Debug + Send + Sync + 'static {
    /// All of them, with the folders that they watch.
    async fn list(&self) -> Result<Vec<HookRef>, PortError>;

    /// One of them, or `None` when it is not there any more.
    async fn hook(&self, id: &str) -> Result<Option<Hook>, PortError>;

    /// Makes one on a folder, or gives the one that the folder has. Safe to repeat.
    async fn create(
        &self,
        folder: &str,
        address: &str,
        triggers: &[String],
    ) -> Result<Created, PortError>;

    /// Gives one this address and exactly these triggers. Safe to repeat.
    async fn change(&self, id: &str, address: &str, triggers: &[String])
    -> Result<Hook, PortError>;

    /// Takes one away; one that is not there any more is none to take away. Safe to repeat.
    async fn remove(&self, id: &str) -> Result<(), PortError>;
}

/// A webhook by id.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct HookRef {
    /// Its id.
    pub id: String,
    /// The folder that it watches; `None` where that is something else.
    pub folder: Option<String>,
}

/// A webhook.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Hook {
    /// Its id.
    pub id: String,
    /// The folder that it watches; `None` where that is something else.
    pub folder: Option<String>,
    /// Where it calls.
    pub address: Option<String>,
    /// What it calls for.
    pub triggers: Vec<String>,
    /// What a server that sends a status says; Box documents none.
    pub status: Option<String>,
}

/// The answer to [`Hooks::create`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Created {
    /// Made.
    Made(Hook),
    /// The folder has this one already, and it was left as it is.
    There(Hook),
}

/// What happened on the content side, told afterwards: at least once, and in no order.
#[async_trait]
pub trait EventStream: Debug + Send + Sync + 'static {
    /// Its name: a position in one stream means nothing in another.
    fn name(&self) -> &str;

    /// What comes after this position. `None` is now: no events, and where to begin.
    async fn page(&self, from: Option<&str>) -> Result<EventPage, PortError>;
}

/// One answer of an [`EventStream`].
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events for which there are webhooks.
    pub events: Vec<Happening>,
    /// Whether there may be more after this.
    pub has_more: bool,
    /// Where to go on once these are dealt with.
    pub next: String,
}

/// An event, in the words of webhooks.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Its id in the stream.
    pub id: String,
    /// The webhook's trigger, such as `FILE.UPLOADED`.
    pub trigger: String,
    /// When it happened.
    pub at: Option<Timestamp>,
    /// Who did it, as a webhook would show it.
    pub by: Value,
    /// What it happened to, as a webhook would show it, or a stub with id and type.
    pub source: Value,
    /// Whether it happened for sure. What may only follow from it is a reason to look.
    pub is_certain: bool,
}

/// What lies in folders.
#[async_trait]
pub trait Tree: Debug + Send + Sync + 'static {
    /// What lies in the folder itself, as it is read. The paths of the files are whole.
    fn entries(&self, folder: &str) -> BoxStream<'_, Result<Entry, PortError>>;
}

/// Something in a folder.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file.
    File(FileState),
    /// A folder.
    Folder(FolderRef),
}
