//! The far sides behind their circuits. Every call of a port asks first and tells afterwards.

mod content;
mod crm;
mod watch;

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::{
    Circuits, ContentSource, Crm, Folders, Metadata, PackageLinks, Records,
    circuit::{Circuit, Room},
    metadata::MappedFolders,
    observe,
    port_error::PortError,
    side::Side,
    watch::{EventStream, Hooks, Tree},
};

/// A port that is asked only while the circuit of its side lets calls through.
#[derive(Debug)]
pub(crate) struct Guarded<P: ?Sized> {
    port: Arc<P>,
    side: Side,
    circuit: Circuit,
    /// For new files.
    room: Room,
}

impl<P: ?Sized + Send + Sync> Guarded<P> {
    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let pass = self.circuit.pass(self.side)?;
        let started = Instant::now();
        let result = call.await.map_err(|error| error.or_side(self.side));
        pass.ended(&result);
        observe::call(
            self.side,
            operation,
            result.as_ref().err(),
            started.elapsed(),
        );
        result
    }

    /// A list that is read piece by piece. One call, however many pages it takes: what lets the
    /// first entry through lets them all through, and what fails on the way is told.
    fn list<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        mut entries: BoxStream<'a, Result<T, PortError>>,
    ) -> BoxStream<'a, Result<T, PortError>> {
        let begun = async move {
            let first = self.call(operation, async { entries.next().await.transpose() });
            match first.await {
                Err(error) => stream::iter([Err(error)]).boxed(),
                Ok(None) => stream::empty().boxed(),
                Ok(Some(first)) => {
                    let rest = entries.map_err(|error| {
                        let error = error.or_side(self.side);
                        self.circuit.failed(self.side, &error);
                        error
                    });
                    stream::iter([Ok(first)]).chain(rest).boxed()
                }
            }
        };
        stream::once(begun).flatten().boxed()
    }
}

/// Ports behind the circuits: what is built from them asks a far side only while it is let through,
/// tells how the call ended, and is counted. Give each port through here once: the
/// [`Pipeline`](crate::Pipeline) does so itself with those that it is given.
impl Circuits {
    fn guarded<P: ?Sized>(&self, port: Arc<P>, side: Side) -> Arc<Guarded<P>> {
        Arc::new(Guarded {
            port,
            side,
            circuit: self.of(side).clone(),
            room: self.room().clone(),
        })
    }

    /// The content side, for whoever is not the pipeline.
    pub fn content(&self, port: Arc<dyn ContentSource>) -> Arc<dyn ContentSource> {
        self.guarded(port, Side::Content)
    }

    /// The CRM side, for whoever is not the pipeline.
    pub fn crm(&self, port: Arc<dyn Crm>) -> Arc<dyn Crm> {
        self.guarded(port, Side::Crm)
    }

    /// Folders, for [`Provision`](crate::Provision).
    pub fn folders(&self, port: Arc<dyn Folders>) -> Arc<dyn Folders> {
        self.guarded(port, Side::Content)
    }

    /// Metadata, for [`Provision`](crate::Provision) and [`SyncMetadata`](crate::SyncMetadata).
    pub fn metadata(&self, port: Arc<dyn Metadata>) -> Arc<dyn Metadata> {
        self.guarded(port, Side::Content)
    }

    /// The folders that are mapped, for a [`SyncAll`](crate::sync::SyncAll).
    pub fn mapped_folders(&self, port: Arc<dyn MappedFolders>) -> Arc<dyn MappedFolders> {
        self.guarded(port, Side::Content)
    }

    /// Records, for actions and sources.
    pub fn records(&self, port: Arc<dyn Records>) -> Arc<dyn Records> {
        self.guarded(port, Side::Crm)
    }

    /// The package's links, for [`Provision::package`](crate::Provision::package).
    pub fn package_links(&self, port: Arc<dyn PackageLinks>) -> Arc<dyn PackageLinks> {
        self.guarded(port, Side::Crm)
    }

    /// Webhooks, for a [`Watch`](crate::watch::Watch).
    pub fn hooks(&self, port: Arc<dyn Hooks>) -> Arc<dyn Hooks> {
        self.guarded(port, Side::Content)
    }

    /// An event stream, for a [`Watch`](crate::watch::Watch).
    pub fn events(&self, port: Arc<dyn EventStream>) -> Arc<dyn EventStream> {
        self.guarded(port, Side::Content)
    }

    /// Folders' content, for a [`Watch`](crate::watch::Watch) or a
    /// [`Backfill`](crate::watch::Backfill).
    pub fn tree(&self, port: Arc<dyn Tree>) -> Arc<dyn Tree> {
        self.guarded(port, Side::Content)
    }
}
