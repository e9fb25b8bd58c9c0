//! Which of the calls that a far side allows something may use.

use std::future::Future;

use crate::{
    occurrence::{BOX_FOUND, BOX_MISSED},
    watch::SCAN,
};

tokio::task_local! {
    static CLASS: QuotaClass;
}

/// How urgent calls are. A side whose calls of the day are counted keeps some of them for what
/// happens now, and refuses backfill before that is touched: as
/// [`PortErrorKind::Later`](crate::PortErrorKind::Later), which costs a job no attempt.
///
/// It goes with the task: what runs in a [`scope`](Self::scope) calls with its class. A
/// [`Worker`](crate::Worker) gives each job the class of its kind.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum QuotaClass {
    /// It happens now, or somebody waits for it.
    #[default]
    Live,
    /// It can wait: what was missed, what was found lying there, and what is gone through as a whole.
    Backfill,
}

impl QuotaClass {
    /// That of the calls that are made here.
    pub fn current() -> Self {
        CLASS.try_with(|class| *class).unwrap_or_default()
    }

    /// That of jobs of this kind.
    pub fn of_kind(kind: &str) -> Self {
        match kind {
            BOX_MISSED | BOX_FOUND | SCAN => Self::Backfill,
            _ => Self::Live,
        }
    }

    /// Has the calls of this work be of this class, but not those of tasks that it spawns.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CLASS.scope(self, work).await
    }
}
