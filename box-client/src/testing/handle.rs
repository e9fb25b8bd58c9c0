//! The handle to a running fake.

use std::{fmt, io, sync::Arc};

use serde_json::Value;
use tokio::sync::watch;

use super::{builder::FakeBoxBuilder, fault::Fault, record::RecordedRequest, server::Inner};

/// A running fake of Box. Clones are handles to the same one, which stops with the last of them.
#[derive(Clone)]
pub struct FakeBox {
    inner: Arc<Inner>,
    /// The server's tasks end when this is gone.
    alive: Arc<watch::Sender<bool>>,
}

impl FakeBox {
    /// The id of the application that is there if none was added.
    pub const CLIENT_ID: &str = "fake_client";
    /// Its secret.
    pub const CLIENT_SECRET: &str = "fake_secret";

    /// Sets up a fake.
    pub fn builder() -> FakeBoxBuilder {
        FakeBoxBuilder::new()
    }

    /// Starts a fake as it comes.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// The root of all URLs but those of downloads: `http://127.0.0.1:{port}`.
    pub fn url(&self) -> String {
        self.inner.urls[0].clone()
    }

    /// The root of the download host, which must see no token.
    pub fn download_url(&self) -> String {
        self.inner.urls[1].clone()
    }

    /// Closes the listeners and all connections. What was received can still be looked at.
    pub fn stop(&self) {
        self.alive.send_replace(true);
    }

    /// Makes something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.inner.faults.inject(fault);
    }

    /// Lets everything go well again.
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// The last 10,000 requests, the oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.inner.recorder.all()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.inner.recorder.clear();
    }

    /// Everything that this Box holds, without the bytes of files.
    pub fn state(&self) -> Value {
        self.inner.with(|state| state.json())
    }

    /// A developer token: an access token of the service account.
    pub fn issue_token(&self) -> String {
        self.inner.with(|state| {
            let holder = state.own();
            state.issue_access(holder, None)
        })
    }

    /// A refresh token of the service account and the first application.
    pub fn issue_refresh_token(&self) -> String {
        self.inner.with(|state| {
            let holder = state.own();
            state.issue_pair(holder, None).1
        })
    }

    /// An authorization code, as a browser would bring it back. It lives 30 seconds.
    pub fn issue_code(&self) -> String {
        self.inner.with(|state| state.issue_code())
    }

    /// What the OpenAPI document does not allow, of all that was sent.
    #[cfg(feature = "openapi")]
    pub fn violations(&self) -> Vec<String> {
        self.inner.violations.all()
    }

    pub(super) fn new(inner: Arc<Inner>, alive: watch::Sender<bool>) -> Self {
        Self {
            inner,
            alive: Arc::new(alive),
        }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl fmt::Debug for FakeBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeBox")
            .field("url", &self.inner.urls[0])
            .finish_non_exhaustive()
    }
}
