//! A store of grants that notes what happens to it and fails on demand.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use box_client::{Grant, RefreshToken, Stored, Swap, TokenStore, TokenStoreError};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Barrier, Notify};

#[derive(Debug)]
pub(crate) struct TestStore {
    state: Mutex<State>,
    /// The first load of each of several holders waits for the others.
    meet: Option<Barrier>,
    pub(crate) stored: Notify,
}

#[derive(Debug)]
struct State {
    stored: Option<Stored>,
    loads: usize,
    swaps: usize,
    releases: usize,
    failures: usize,
    /// Come to light at these loads.
    later: Vec<(usize, Grant)>,
}

impl TestStore {
    pub(crate) fn new(refresh_token: &str) -> Arc<Self> {
        Arc::new(Self::with(refresh_token, None))
    }

    pub(crate) fn for_two(refresh_token: &str) -> Arc<Self> {
        Arc::new(Self::with(refresh_token, Some(Barrier::new(2))))
    }

    pub(crate) fn empty() -> Arc<Self> {
        let store = Self::new("");
        store.state.lock().unwrap().stored = None;
        store
    }

    fn with(refresh_token: &str, meet: Option<Barrier>) -> Self {
        let stored = Stored {
            grant: Grant::new(refresh_token),
            version: 1,
        };
        Self {
            state: Mutex::new(State {
                stored: Some(stored),
                loads: 0,
                swaps: 0,
                releases: 0,
                failures: 0,
                later: Vec::new(),
            }),
            meet,
            stored: Notify::new(),
        }
    }

    pub(crate) fn fail(&self, times: usize) {
        self.state.lock().unwrap().failures = times;
    }

    /// Another holder's grant, seen from the `load`th load on.
    pub(crate) fn replace_at(&self, load: usize, grant: Grant) {
        self.state.lock().unwrap().later.push((load, grant));
    }

    pub(crate) fn swaps(&self) -> usize {
        self.state.lock().unwrap().swaps
    }

    /// How often the right to refresh was given back.
    pub(crate) fn releases(&self) -> usize {
        self.state.lock().unwrap().releases
    }

    pub(crate) fn refresh_token(&self) -> String {
        let state = self.state.lock().unwrap();
        let grant = &state.stored.as_ref().unwrap().grant;
        grant.refresh_token.expose_secret().to_owned()
    }

    pub(crate) fn access_token(&self) -> Option<String> {
        let state = self.state.lock().unwrap();
        let grant = &state.stored.as_ref()?.grant;
        Some(grant.access_token.as_ref()?.expose_secret().to_owned())
    }
}

#[async_trait]
impl TokenStore for TestStore {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        let (stored, loads) = {
            let mut state = self.state.lock().unwrap();
            state.loads += 1;
            let loads = state.loads;
            if let Some(due) = state.later.iter().position(|(load, _)| *load <= loads) {
                let (_, grant) = state.later.remove(due);
                let version = state.stored.as_ref().map_or(0, |stored| stored.version) + 1;
                state.stored = Some(Stored { grant, version });
            }
            (state.stored.clone(), state.loads)
        };
        if let Some(meet) = self.meet.as_ref().filter(|_| loads <= 2) {
            meet.wait().await;
        }
        Ok(stored)
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        let mut state = self.state.lock().unwrap();
        state.swaps += 1;
        if state.failures > 0 {
            state.failures -= 1;
            return Err("the disk is full".into());
        }
        if state.stored.as_ref().map_or(0, |stored| stored.version) != expected {
            return Ok(Swap::Conflict);
        }
        let version = expected + 1;
        state.stored = Some(Stored { grant, version });
        self.stored.notify_one();
        Ok(Swap::Stored)
    }

    async fn release(&self, _: &str) -> Result<(), TokenStoreError> {
        self.state.lock().unwrap().releases += 1;
        Ok(())
    }
}

pub(crate) const CLIENT: &str = "the-client-id";
pub(crate) const SECRET: &str = "the-client-secret";

pub(crate) fn source(store: &Arc<TestStore>) -> RefreshToken {
    RefreshToken::new(CLIENT, SECRET, Arc::clone(store))
}

/// A grant whose access token lives for an hour.
pub(crate) fn living(refresh_token: &str, access_token: &str) -> Grant {
    let mut grant = Grant::new(refresh_token);
    grant.access_token = Some(SecretString::from(access_token));
    grant.expires_at = Some(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1));
    grant
}
