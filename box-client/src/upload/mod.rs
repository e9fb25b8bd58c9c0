//! Uploads: in one request, or in parts that can be taken up again.

mod body;
mod chunked;
mod content;
mod deliver;
mod exchange;
#[cfg(feature = "fs")]
mod file;
mod parts;
mod preflight;
mod session;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde_json::{Map, Value};

use self::deliver::{Deliver, Destination};
pub use self::{
    content::Content,
    preflight::Preflight,
    session::{SendSession, UploadPart, UploadSession, UploadSessions},
};
use crate::{
    Change, File, FileId, Files, FolderId,
    error::{Error, ErrorKind, Result},
    names::check_name,
    transport::Transport,
};

/// From here on the guides want parts.
const CHUNKED_FROM: u64 = 50 * 1000 * 1000;
/// Box advises three to five.
const PARALLEL: usize = 4;

impl<'a> Files<'a> {
    /// Uploads a file. A name that is in use is a [`Conflict`](ErrorKind::Conflict) whose
    /// [`name_in_use`](Error::name_in_use) is the item that has it, unless
    /// [`if_absent`](UploadFile::if_absent) or [`or_new_version`](UploadFile::or_new_version) says
    /// what to do then.
    ///
    /// Vendor: <https://developer.box.com/reference/post-files-content/>; large ones by
    /// <https://developer.box.com/reference/resources/upload-session/>.
    ///
    /// ```no_run
    /// # use box_client::{BoxClient, FolderId};
    /// # async fn example(client: BoxClient, folder: FolderId) -> box_client::Result<()> {
    /// let files = client.files();
    /// let uploaded = files.upload(&folder, "nda.pdf", "the bytes").or_new_version().send().await?;
    /// println!("{:?}: {}", uploaded.change, uploaded.file.id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn upload(
        &self,
        folder: &FolderId,
        name: impl Into<String>,
        content: impl Into<Content>,
    ) -> UploadFile<'a> {
        UploadFile {
            transport: self.transport(),
            folder: folder.clone(),
            name: name.into(),
            content: content.into(),
            taken: Taken::Refuse,
            options: Options::default(),
        }
    }

    /// Uploads a new version of a file.
    ///
    /// Vendor: <https://developer.box.com/reference/post-files-id-content/>; large ones by
    /// <https://developer.box.com/reference/post-files-id-upload-sessions/>.
    pub fn upload_version(&self, file: &FileId, content: impl Into<Content>) -> UploadVersion<'a> {
        UploadVersion {
            transport: self.transport(),
            file: file.clone(),
            name: None,
            if_match: None,
            content: content.into(),
            options: Options::default(),
        }
    }
}

/// What is the same for files and versions.
struct Options {
    attributes: Map<String, Value>,
    chunked_from: u64,
    parallel: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attributes: Map::new(),
            chunked_from: CHUNKED_FROM,
            parallel: PARALLEL,
        }
    }
}

/// What to do about a file that has the name already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    Refuse,
    Keep,
    Version,
}

/// What an upload has led to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The file as it stands now.
    pub file: File,
    /// What had to be done: [`Created`](Change::Created) a file, [`Updated`](Change::Updated) one
    /// by a new version, or [`None`](Change::None), where the file that was there was kept or has
    /// the same bytes.
    pub change: Change,
}

macro_rules! options {
    () => {
        /// When the content was made, if that was before now.
        pub fn content_created_at(mut self, at: Timestamp) -> Self {
            let at = at.to_string().into();
            self.options
                .attributes
                .insert("content_created_at".to_owned(), at);
            self
        }

        /// When the content was last changed, if that was before now.
        pub fn content_modified_at(mut self, at: Timestamp) -> Self {
            let at = at.to_string().into();
            self.options
                .attributes
                .insert("content_modified_at".to_owned(), at);
            self
        }

        /// From which size on the content goes in parts: 50 MB unless set. Box takes no parts of
        /// a file below 20 MB, and asks not to send more than 50 MB at once.
        pub fn chunked_from(mut self, bytes: u64) -> Self {
            self.options.chunked_from = bytes;
            self
        }

        /// How many parts are on their way at once: four unless set. An upload in parts holds so
        /// many in memory, each as large as Box says (8 MB and more with the file's size), and one
        /// in a single request none.
        pub fn parallel(mut self, parts: usize) -> Self {
            self.options.parallel = parts.max(1);
            self
        }
    };
}

/// Uploads a file. From [`Files::upload`].
#[must_use = "nothing is sent before send()"]
pub struct UploadFile<'a> {
    transport: &'a Arc<Transport>,
    folder: FolderId,
    name: String,
    content: Content,
    taken: Taken,
    options: Options,
}

impl UploadFile<'_> {
    /// Keeps a file that has the name already, and gives that one.
    pub fn if_absent(mut self) -> Self {
        self.taken = Taken::Keep;
        self
    }

    /// Makes the content a new version of a file that has the name already, unless that has the
    /// same bytes.
    pub fn or_new_version(mut self) -> Self {
        self.taken = Taken::Version;
        self
    }

    options!();

    /// Sends it. The request is completed only after the content has ended well and at its size,
    /// and Box's SHA-1 of it is held against that of what was sent.
    ///
    /// A content that can be had again is sent again where the attempt before can have had no
    /// effect. After a lost answer the file is looked for by its name and SHA-1. What remains
    /// unknown is an error that [may have happened](Error::may_have_happened).
    pub async fn send(self) -> Result<Uploaded> {
        check_name(&self.name).map_err(|cause| {
            Error::new(ErrorKind::Invalid, deliver::OPERATION)
                .detail("Box takes no such name")
                .cause(cause)
        })?;
        let deliver = Deliver {
            transport: self.transport,
            content: &self.content,
            options: &self.options,
            sha1: self.content.known_sha1().await,
        };
        match self.taken {
            Taken::Refuse => deliver.create(&self.folder, &self.name).await,
            Taken::Keep => deliver.settle(&self.folder, &self.name, false).await,
            Taken::Version => deliver.settle(&self.folder, &self.name, true).await,
        }
    }
}

impl fmt::Debug for UploadFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadFile")
            .field("folder", &self.folder)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// Uploads a new version of a file. From [`Files::upload_version`].
#[must_use = "nothing is sent before send()"]
pub struct UploadVersion<'a> {
    transport: &'a Arc<Transport>,
    file: FileId,
    name: Option<String>,
    if_match: Option<String>,
    content: Content,
    options: Options,
}

impl UploadVersion<'_> {
    /// Gives the file another name with it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only if the file still has this etag; otherwise a [`Conflict`](ErrorKind::Conflict) with
    /// the code `precondition_failed`.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    options!();

    /// Sends it, as [`UploadFile::send`] does. An unknown outcome is reported: compare the file's
    /// SHA-1 before another attempt.
    pub async fn send(self) -> Result<File> {
        if let Some(name) = &self.name {
            check_name(name).map_err(|cause| {
                Error::new(ErrorKind::Invalid, deliver::OPERATION)
                    .detail("Box takes no such name")
                    .cause(cause)
            })?;
        }
        let deliver = Deliver {
            transport: self.transport,
            content: &self.content,
            options: &self.options,
            sha1: self.content.known_sha1().await,
        };
        let destination = Destination::File {
            id: &self.file,
            name: self.name.as_deref(),
            if_match: self.if_match.as_deref(),
        };
        deliver.to(destination).await.file
    }
}

impl fmt::Debug for UploadVersion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadVersion")
            .field("file", &self.file)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}
