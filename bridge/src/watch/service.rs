use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    check::{HookState, HookStatus},
    error::WatchError,
    newly_mapped::Looked,
    port::{EventStream, Hooks, Tree},
    room,
    silence::Silences,
    whereabouts::Paths,
};
use crate::{
    clock::{Clock, SystemClock},
    content::ContentSource,
    ledger::{EffectKey, EffectState, Ledger},
    metadata::MappedFolders,
    port_error::in_one_line,
    queue::QueueAdmin,
    resolve::MappingKeys,
};

/// Ensures our webhooks on the configured folders, on start and on a schedule, and fills in what
/// they missed.
///
/// Everything that it does can be done twice without harm, so any number of processes may watch
/// the same folders: a webhook that another has made meanwhile is found by its conflict, and an event
/// that another has pushed is known to the inbox.
pub struct Watch {
    pub(super) hooks: Arc<dyn Hooks>,
    pub(super) tree: Arc<dyn Tree>,
    pub(super) events: Option<Arc<dyn EventStream>>,
    pub(super) mappings: Option<(Arc<dyn ContentSource>, MappingKeys)>,
    pub(super) mapped_folders: Option<Arc<dyn MappedFolders>>,
    mappings_looked_at: Mutex<Looked>,
    pub(super) queue: Arc<dyn QueueAdmin>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: WatchOptions,
    wake: Notify,
    /// When what comes again and again had its way last.
    woken: Mutex<Option<Instant>>,
    pub(super) silences: Silences,
    pub(super) paths: Mutex<Paths>,
    /// As the webhooks were found last.
    pub(super) found: Mutex<Vec<HookStatus>>,
}

/// What a [`Watch`] watches, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchOptions {
    /// The folders; each has one webhook, which tells of everything below it.
    pub folders: Vec<String>,
    /// Where our webhooks call. One that calls anywhere else, and that we have not made, is somebody
    /// else's.
    pub address: String,
    /// What they call for.
    pub triggers: Vec<String>,
    /// How often the webhooks are looked at.
    pub check_every: Duration,
    /// How often the event stream is asked for what no webhook told of.
    pub catch_up_every: Duration,
    /// After what time a webhook counts as silent, if there was something to tell all the while
    /// and it has told of nothing. Box repeats a delivery that fails for two hours.
    pub silent_after: Duration,
    /// How often the folders are looked through where there is no event stream.
    pub scan_every: Duration,
    /// How far back a look through the folders reaches beyond the last time that is covered.
    pub scan_margin: Duration,
    /// Of a folder that is mapped only now, files changed within this time are brought.
    pub mapped_within: Duration,
    /// Nothing is added to an inbox that has more than so many events waiting that are due, or can
    /// wait for as long as what would be added.
    pub most_ahead: u64,
}

impl WatchOptions {
    /// To watch these folders by webhooks that call this address for these triggers.
    pub fn new<F: Into<String>, T: Into<String>>(
        folders: impl IntoIterator<Item = F>,
        address: impl Into<String>,
        triggers: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            folders: folders.into_iter().map(Into::into).collect(),
            address: address.into(),
            triggers: triggers.into_iter().map(Into::into).collect(),
            check_every: Duration::from_secs(600),
            catch_up_every: Duration::from_secs(300),
            silent_after: Duration::from_secs(2 * 3600),
            scan_every: Duration::from_secs(6 * 3600),
            scan_margin: Duration::from_secs(3 * 3600),
            mapped_within: Duration::from_secs(24 * 3600),
            most_ahead: 1000,
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// Watches by these webhooks and folders, and puts what they missed into this inbox.
    pub fn new(
        hooks: Arc<dyn Hooks>,
        tree: Arc<dyn Tree>,
        queue: Arc<dyn QueueAdmin>,
        ledger: Arc<dyn Ledger>,
        options: WatchOptions,
    ) -> Self {
        let clock = Arc::new(SystemClock);
        Self {
            hooks,
            tree,
            events: None,
            mappings: None,
            mapped_folders: None,
            mappings_looked_at: Mutex::default(),
            queue,
            ledger,
            silences: Silences::since(clock.now()),
            clock,
            options,
            wake: Notify::new(),
            woken: Mutex::new(None),
            paths: Mutex::default(),
            found: Mutex::default(),
        }
    }

    /// With an event stream to catch up from. Without one, the folders are looked through.
    #[must_use]
    pub fn events(mut self, events: Option<Arc<dyn EventStream>>) -> Self {
        self.events = events;
        self
    }

    /// With the mappings of folders, as the pipeline reads them: a folder whose metadata changes is
    /// looked through only when it is mapped to other records than before. Without, it always is.
    #[must_use]
    pub fn mappings(mut self, content: Arc<dyn ContentSource>, keys: MappingKeys) -> Self {
        self.mappings = Some((content, keys));
        self
    }

    /// With all folders that are mapped, so that those are found and looked through that were
    /// mapped while nobody told of it; together with [`mappings`](Self::mappings).
    #[must_use]
    pub fn mapped_folders(mut self, folders: Arc<dyn MappedFolders>) -> Self {
        self.mapped_folders = Some(folders);
        self
    }

    pub(super) fn mapping_keys(&self) -> Option<&MappingKeys> {
        self.mappings.as_ref().map(|(_, keys)| keys)
    }

    pub(super) fn looked_for_mappings(&self) -> MutexGuard<'_, Looked> {
        let looked = self.mappings_looked_at.lock();
        looked.unwrap_or_else(PoisonError::into_inner)
    }

    /// By another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.silences = Silences::since(clock.now());
        self.clock = clock;
        self
    }

    /// How the webhooks were found when this process looked at them last; nothing before that.
    pub fn found(&self) -> Vec<HookStatus> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    /// Checks and catches up at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The same, at most once in [`check_every`](WatchOptions::check_every): for what a check may not
    /// put right, so that it comes again and again.
    pub(super) fn wake_now_and_then(&self) {
        let now = Instant::now();
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.is_none_or(|at| now.duration_since(at) >= self.options.check_every) {
            *woken = Some(now);
            self.wake();
        }
    }

    /// Watches until `stop`. What it is at then is left as it is: the next run goes on with it.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        self.say_what_is_not_told();
        let mut stop = std::pin::pin!(stop);
        let (mut check_at, mut catch_up_at) = (Instant::now(), Instant::now());
        loop {
            let round = async {
                if check_at <= Instant::now() {
                    let checked = self.checked().await;
                    check_at = next(checked, self.options.check_every);
                }
                if catch_up_at <= Instant::now() {
                    let caught_up = self.caught_up().await;
                    catch_up_at = next(caught_up, self.options.catch_up_every);
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = round => {}
            }
            tokio::select! {
                () = &mut stop => return,
                () = sleep_until(check_at.min(catch_up_at)) => {}
                () = self.wake.notified() => {
                    let now = Instant::now();
                    (check_at, catch_up_at) = (now, now);
                }
            }
        }
    }

    fn say_what_is_not_told(&self) {
        let Some(events) = &self.events else {
            return;
        };
        let triggers = self.options.triggers.iter();
        let untold: Vec<_> = triggers.filter(|it| !events.tells(it)).cloned().collect();
        if !untold.is_empty() {
            warn!(
                stream = events.name(),
                triggers = untold.join(", "),
                "the event stream does not tell of these: what webhooks miss of them is lost"
            );
        }
    }

    async fn checked(&self) -> bool {
        match self.check(true).await {
            // About a silent one nothing is to be done but to wait.
            Ok(hooks) => hooks
                .iter()
                .all(|hook| hook.state.is_well() || hook.state == HookState::Silent),
            Err(error) => {
                let error = in_one_line(&error);
                warn!(error, "the webhooks could not be checked");
                false
            }
        }
    }

    async fn caught_up(&self) -> bool {
        match self.catch_up().await {
            Ok(done) => {
                if done.pushed > 0 {
                    info!(
                        events = done.pushed,
                        "put into the inbox what no webhook told of"
                    );
                }
                true
            }
            Err(error) => {
                let error = in_one_line(&error);
                warn!(error, "what webhooks missed could not be read to the end");
                false
            }
        }
    }

    /// What the ledger keeps for us under this name.
    pub(super) async fn kept<T: DeserializeOwned>(
        &self,
        key: &EffectKey,
    ) -> Result<Option<T>, WatchError> {
        Ok(match self.ledger.read(key).await? {
            Some(EffectState::Finished(value)) => serde_json::from_value(value).ok(),
            _ => None,
        })
    }

    pub(super) async fn keep(&self, key: &EffectKey, value: Value) -> Result<(), WatchError> {
        let now: Timestamp = self.clock.now();
        Ok(self.ledger.finish(key, value, now).await?)
    }

    /// Waits for nothing: whoever finds the inbox full comes back later.
    pub(super) async fn room(&self) -> Result<(), WatchError> {
        let most = self.options.most_ahead.saturating_add(1);
        let ahead = room::ahead(&*self.queue, most, self.clock.now()).await?;
        match ahead >= most {
            true => Err(WatchError::Full(ahead)),
            false => Ok(()),
        }
    }

    /// The same for whoever needs room for so many, at least: how many it has room for.
    pub(super) async fn room_for(&self, least: u64) -> Result<u64, WatchError> {
        let most = self.options.most_ahead;
        let ahead = room::ahead(&*self.queue, most, self.clock.now()).await?;
        match most.saturating_sub(ahead) {
            room if room < least => Err(WatchError::Full(ahead)),
            room => Ok(room),
        }
    }
}

/// What failed is tried again sooner, but never at once.
fn next(is_well: bool, every: Duration) -> Instant {
    const SOON: Duration = Duration::from_secs(30);
    /// As good as never, and near enough to be added to any clock.
    const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
    let pause = every.min(if is_well { NEVER } else { SOON });
    Instant::now() + pause
}
