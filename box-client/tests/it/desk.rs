//! A client at work with `FakeBox`, which holds each request against Box's document.

use std::{env, path::PathBuf, sync::OnceLock, time::Duration};

use box_client::{
    BoxClient, DeveloperToken, FileId, FolderId, Result,
    testing::{FakeBox, FakeBoxBuilder, openapi::Spec},
};
use futures_util::{Stream, TryStreamExt};

use crate::vendor::quick;

pub(crate) struct Desk {
    pub(crate) fake: FakeBox,
    pub(crate) client: BoxClient,
    pub(crate) folder: FolderId,
}

impl Desk {
    pub(crate) async fn start() -> Self {
        Self::with(FakeBox::builder()).await
    }

    pub(crate) async fn with(builder: FakeBoxBuilder) -> Self {
        let builder = match spec() {
            Some(spec) => builder.openapi(spec.clone()),
            None => builder,
        };
        let fake = builder.start().await.unwrap();
        let client = BoxClient::builder(DeveloperToken::new(fake.issue_token()))
            .base_url(&fake.url())
            .retry(quick().deadline(Duration::from_secs(20)))
            .build()
            .unwrap();
        let folder = fake.create_folder("0", "Deals").unwrap();
        Self {
            fake,
            client,
            folder: FolderId::new(folder).unwrap(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> FileId {
        let uploaded = self.fake.upload(self.folder.as_str(), name, "signed");
        FileId::new(uploaded.unwrap().file_id).unwrap()
    }

    pub(crate) fn subfolder(&self, name: &str) -> FolderId {
        let folder = self.fake.create_folder(self.folder.as_str(), name);
        FolderId::new(folder.unwrap()).unwrap()
    }

    /// How many requests of this kind came.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let requests = self.fake.requests();
        let same = requests
            .iter()
            .filter(|it| it.method == method && it.path == path);
        same.count()
    }
}

/// Nobody may send what Box does not document.
impl Drop for Desk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.fake.violations(), Vec::<String>::new());
        }
    }
}

pub(crate) fn spec() -> Option<&'static Spec> {
    static SPEC: OnceLock<Option<Spec>> = OnceLock::new();
    let spec = SPEC.get_or_init(|| document().map(|path| Spec::read(path).unwrap()));
    spec.as_ref()
}

/// Box's OpenAPI document. Without it nothing is checked, loudly; in CI that is a failure.
pub(crate) fn document() -> Option<PathBuf> {
    let path = env::var_os("BOX_OPENAPI").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/box-openapi.json"),
        PathBuf::from,
    );
    if path.is_file() {
        return Some(path);
    }
    let missing = format!("Box's OpenAPI document is not at {}", path.display());
    assert!(env::var_os("CI").is_none(), "{missing}");
    eprintln!("SKIPPED: {missing}: set BOX_OPENAPI");
    None
}

pub(crate) async fn all<T>(stream: impl Stream<Item = Result<T>>) -> Vec<T> {
    stream.try_collect().await.unwrap()
}
