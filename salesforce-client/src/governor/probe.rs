use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

/// The calls that try whether there are calls again.
#[derive(Debug, Default)]
pub(super) struct Probes(Arc<Mutex<Option<watch::Sender<()>>>>);

/// A call that tries. Its end is heard by all who wait for it, also where it is dropped.
#[derive(Debug)]
pub(super) struct Probe {
    ended: Arc<Mutex<Option<watch::Sender<()>>>>,
    pub(super) began: Timestamp,
}

impl Probes {
    pub(super) fn begin(&self, began: Timestamp) -> Probe {
        *lock(&self.0) = Some(watch::Sender::new(()));
        Probe {
            ended: Arc::clone(&self.0),
            began,
        }
    }

    /// The end of the try that is under way, if one is.
    pub(super) fn end(&self) -> Option<impl Future<Output = ()> + use<>> {
        let mut ended = lock(&self.0).as_ref()?.subscribe();
        Some(async move {
            // The sender goes away when the try is over.
            while ended.changed().await.is_ok() {}
        })
    }

    /// An answer has come: whoever waits can look how things stand now.
    pub(super) fn told(&self) {
        *lock(&self.0) = None;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        *lock(&self.ended) = None;
    }
}

fn lock(probe: &Mutex<Option<watch::Sender<()>>>) -> MutexGuard<'_, Option<watch::Sender<()>>> {
    probe.lock().unwrap_or_else(PoisonError::into_inner)
}
