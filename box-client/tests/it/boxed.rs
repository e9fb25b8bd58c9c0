//! A whole Box on loopback, which holds every request against Box's own document.

use std::{env, path::PathBuf, sync::OnceLock, time::Duration};

use box_client::{
    BoxClient, BoxClientBuilder, ClientCredentials, FileId, FolderId, RetryPolicy, Subject,
    testing::{FakeBox, FakeBoxBuilder, RecordedRequest, openapi::Spec},
};
use bytes::Bytes;
use sha1::{Digest, Sha1};

/// Small enough that a few bytes go in parts.
pub(crate) const PART: u64 = 1000;

pub(crate) struct Boxed {
    pub(crate) fake: FakeBox,
    pub(crate) client: BoxClient,
}

impl Boxed {
    pub(crate) async fn start() -> Self {
        Self::with(FakeBox::builder().upload_parts(PART, PART)).await
    }

    pub(crate) async fn with(builder: FakeBoxBuilder) -> Self {
        let builder = match document() {
            Some(spec) => builder.openapi(spec),
            None => builder,
        };
        Self::undocumented(builder).await
    }

    /// For what only Box's guides know.
    pub(crate) async fn undocumented(builder: FakeBoxBuilder) -> Self {
        let fake = builder.start().await.unwrap();
        let client = client(&fake).build().unwrap();
        Self { fake, client }
    }

    /// All requests of this method, by the end of their paths.
    pub(crate) fn sent(&self, method: &str, end: &str) -> Vec<RecordedRequest> {
        let requests = self.fake.requests().into_iter();
        requests
            .filter(|request| request.method == method && request.path.ends_with(end))
            .collect()
    }

    pub(crate) fn puts_of_parts(&self) -> Vec<RecordedRequest> {
        let mut puts = self.fake.requests();
        puts.retain(|it| it.method == "PUT" && it.path.contains("/upload_sessions/"));
        puts
    }

    /// The bytes of a file that Box has.
    pub(crate) async fn bytes(&self, file: &FileId) -> Bytes {
        let download = self.client.files().download(file).send().await.unwrap();
        download.bytes(1 << 26).await.unwrap()
    }

    pub(crate) fn files(&self) -> Vec<serde_json::Value> {
        self.fake.state()["files"].as_array().unwrap().clone()
    }

    /// To be called at the end of each test.
    pub(crate) fn done(self) {
        assert_eq!(self.fake.violations(), [] as [String; 0]);
    }
}

/// With tokens that can be renewed.
pub(crate) fn client(fake: &FakeBox) -> BoxClientBuilder {
    client_of(&fake.url())
}

/// The same for a fake of another process.
pub(crate) fn client_of(url: &str) -> BoxClientBuilder {
    let subject = Subject::Enterprise("12345".to_owned());
    let tokens = ClientCredentials::new(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET, subject);
    let retry = RetryPolicy::default().delays(Duration::from_millis(1), Duration::from_millis(2));
    BoxClient::builder(tokens).base_url(url).retry(retry)
}

pub(crate) fn root() -> FolderId {
    FolderId::root()
}

/// Bytes that differ everywhere.
pub(crate) fn bytes(length: u64) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    let digest = Sha1::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it is there at all is checked, loudly, where the other tests use it.
fn document() -> Option<Spec> {
    static SPEC: OnceLock<Option<Spec>> = OnceLock::new();
    SPEC.get_or_init(|| {
        let beside =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/box-openapi.json");
        let path = env::var_os("BOX_OPENAPI").map_or(beside, PathBuf::from);
        Spec::read(path).ok()
    })
    .clone()
}
