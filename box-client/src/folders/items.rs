use std::fmt;

use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use http::Method;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::Folder;
use crate::{
    File, FolderId, SharedLinkAccess,
    call::Call,
    error::{Error, Result},
    transport::Transport,
};

/// More than this at once is refused.
const ITEMS_A_PAGE: &str = "1000";

/// Lists a folder. From [`Folders::items`](super::Folders::items).
#[must_use = "nothing is sent before the stream is read"]
pub struct ListItems<'a> {
    transport: &'a Transport,
    operation: &'static str,
    path: Vec<String>,
    fields: Vec<String>,
    shared_link: Option<SharedLinkAccess>,
}

impl<'a> ListItems<'a> {
    pub(super) fn new(transport: &'a Transport, folder: &FolderId) -> Self {
        let path = ["folders", folder.as_str(), "items"];
        Self::at(transport, "folders.items", path)
    }

    pub(super) fn at(transport: &'a Transport, operation: &'static str, path: [&str; 3]) -> Self {
        Self {
            transport,
            operation,
            path: path.map(str::to_owned).into(),
            fields: Vec::new(),
            shared_link: None,
        }
    }

    /// Asks for these fields of each item, besides id, type, name, etag and, of files, SHA-1 and
    /// current version.
    pub fn fields<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Opens the folder as one who holds this link.
    pub fn shared_link(mut self, link: SharedLinkAccess) -> Self {
        self.shared_link = Some(link);
        self
    }

    /// The items, a page of a thousand at a time as they are read. What comes or goes meanwhile
    /// may be missed or met.
    pub fn stream(self) -> impl Stream<Item = Result<Item>> + Send + use<'a> {
        let pages = stream::try_unfold((self, Some(None)), |(list, marker)| async move {
            let Some(marker) = marker else {
                return Ok(None);
            };
            let page = list.page(marker.as_deref()).await?;
            // The same marker again would go round for ever.
            let next = page
                .next_marker
                .filter(|next| Some(next) != marker.as_ref());
            let items = stream::iter(page.entries.into_iter().map(Ok));
            Ok::<_, Error>(Some((items, (list, next.map(Some)))))
        });
        pages.try_flatten()
    }

    pub(super) async fn page(&self, marker: Option<&str>) -> Result<Page> {
        let call = Call::new(self.operation, Method::GET, &self.path)
            .query("usemarker", "true")
            .query("limit", ITEMS_A_PAGE)
            .query_opt("marker", marker)
            .fields(&self.fields)
            .shared_link(self.shared_link.as_ref())?;
        self.transport.json(&call).await
    }
}

impl fmt::Debug for ListItems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListItems")
            .field("path", &self.path)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    pub(super) entries: Vec<Item>,
    /// At the end it is missing, null or empty.
    #[serde(default, deserialize_with = "marker")]
    pub(super) next_marker: Option<String>,
}

fn marker<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let marker = Option::<String>::deserialize(deserializer)?;
    Ok(marker.filter(|marker| !marker.is_empty()))
}

/// Something in a folder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Item {
    /// A file.
    File(Box<File>),
    /// A folder.
    Folder(Box<Folder>),
    /// A bookmark or something that this crate does not know, as it came.
    Other(Value),
}

impl Item {
    /// Its name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::File(file) => file.name.as_deref(),
            Self::Folder(folder) => folder.name.as_deref(),
            Self::Other(other) => other.get("name").and_then(Value::as_str),
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let item = match value.get("type").and_then(Value::as_str) {
            Some("file") => File::deserialize(value).map(|file| Self::File(Box::new(file))),
            Some("folder") => Folder::deserialize(value).map(|it| Self::Folder(Box::new(it))),
            _ => Ok(Self::Other(value)),
        };
        item.map_err(de::Error::custom)
    }
}
