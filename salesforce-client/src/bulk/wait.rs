use std::{fmt, sync::Arc, time::Duration};

use http::Method;
use tokio::time::Instant;

use super::JobInfo;
use crate::{
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "bulk.wait";

type Progress<'a> = Box<dyn FnMut(&JobInfo) + Send + 'a>;

/// Waits for a job's end by asking now and then. Dropped, it stops asking; the job goes on.
#[must_use = "nothing is asked before send()"]
pub struct Wait<'a> {
    transport: Arc<Transport>,
    path: [String; 3],
    progress: Option<Progress<'a>>,
    first: Duration,
    longest: Duration,
    timeout: Duration,
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<'a> Wait<'a> {
    pub(super) fn new(transport: &Arc<Transport>, path: [&str; 3]) -> Self {
        Self {
            transport: Arc::clone(transport),
            path: path.map(str::to_owned),
            progress: None,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            timeout: Duration::from_secs(60 * 60),
        }
    }

    /// Called with each answer, the last one as well.
    pub fn on_progress(mut self, progress: impl FnMut(&JobInfo) + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// How long to wait between two questions: `first` at the beginning, growing by half each time
    /// up to `longest`. 1 s and 30 s unless set; each question is an API call.
    pub fn poll_every(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first.max(Duration::from_millis(1));
        self.longest = longest.max(self.first);
        self
    }

    /// How long to wait at all, an hour unless set. After it comes a
    /// [`Timeout`](ErrorKind::Timeout), and the job goes on.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Waits. A job that is done is `Ok` even if rows of it have failed; one that failed or was
    /// aborted as a whole is a [`JobFailed`](ErrorKind::JobFailed).
    pub async fn send(mut self) -> Result<JobInfo> {
        let started = Instant::now();
        let [kind, resource, id] = &self.path;
        let call = self
            .transport
            .call(OPERATION, Method::GET, &[kind, resource, id]);
        let mut pause = self.first;
        loop {
            let info: JobInfo = self.transport.json(&call).await?;
            if let Some(progress) = &mut self.progress {
                progress(&info);
            }
            if info.state.is_over() {
                return info.failure().map_or(Ok(info), Err);
            }
            // Jobs that begin together shall not ask together for ever.
            let wait = pause.mul_f64(0.75 + fastrand::f64() / 4.0);
            if started.elapsed().saturating_add(wait) > self.timeout {
                return Err(Error::new(ErrorKind::Timeout, OPERATION)
                    .detail("the job is not over yet: wait on for its id"));
            }
            tokio::time::sleep(wait).await;
            pause = pause.mul_f64(1.5).min(self.longest);
        }
    }
}
