//! Are our webhooks there, and as they should be?

use std::{collections::BTreeSet, fmt, sync::PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tracing::{info, warn};

use super::{
    error::WatchError,
    port::{Created, Hook},
    service::Watch,
    silence::Silence,
};
use crate::{
    ledger::EffectKey,
    observe,
    port_error::{PortError, PortErrorKind, in_one_line},
};

/// How a watched folder's webhook was found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HookStatus {
    /// The folder.
    pub folder: String,
    /// The webhook's id, where there is one.
    pub webhook: Option<String>,
    /// How it is.
    pub state: HookState,
    /// When something came from it last, to the minute, or when we have made or changed it.
    pub heard_at: Option<Timestamp>,
    /// What there is to say about it.
    pub note: Option<String>,
}

/// How a webhook is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HookState {
    /// As it should be.
    Fine,
    /// It was not there and is made.
    Made,
    /// It differed and is changed.
    Changed,
    /// It is not there.
    Missing,
    /// It differs.
    Differs,
    /// The folder's webhook calls somebody else, and we have not made it. It is left alone.
    Foreign,
    /// It is as it should be, but tells of nothing although there was something to tell. Once it is
    /// made anew for that; if the new one tells of nothing either, a person has to look at the way
    /// from Box to its address.
    Silent,
    /// It could not be looked at or put right.
    Failed,
}

impl HookState {
    /// Whether it works now.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Fine | Self::Made | Self::Changed)
    }
}

impl fmt::Display for HookState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::Made => "made",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Differs => "not as it should be",
            Self::Foreign => "somebody else's",
            Self::Silent => "silent",
            Self::Failed => "not to be looked at or put right",
        })
    }
}

impl Watch {
    /// Looks at the webhook of each watched folder, and with `repair` makes it as it should be.
    /// Without, nothing is changed.
    pub async fn check(&self, repair: bool) -> Result<Vec<HookStatus>, WatchError> {
        let mut all = Vec::new();
        for folder in &self.options.folders {
            let status = match self.check_one(folder, repair).await {
                Err(WatchError::Port(error)) if error.kind() != PortErrorKind::Outage => {
                    HookStatus::of(folder, None, HookState::Failed, Some(in_one_line(&error)))
                }
                status => status?,
            };
            let note = status.note.as_deref().unwrap_or_default();
            let webhook = status.webhook.as_deref().unwrap_or_default();
            match status.state {
                HookState::Fine => {}
                HookState::Made | HookState::Changed => {
                    info!(folder, webhook, note, "the webhook is put right");
                }
                _ => warn!(folder, webhook, state = ?status.state, note, "the webhook is not well"),
            }
            all.push(status);
        }
        observe::webhooks(&all);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.clone_from(&all);
        Ok(all)
    }

    async fn check_one(&self, folder: &str, repair: bool) -> Result<HookStatus, WatchError> {
        let key = EffectKey::new(["watch", "webhook", folder]);
        let ours: Option<String> = self.kept(&key).await?;
        let known = match &ours {
            Some(id) => self.hooks.hook(id).await?,
            None => None,
        };
        let is_here = |hook: &Hook| hook.folder.as_deref().is_none_or(|it| it == folder);
        let hook = match known.filter(is_here) {
            Some(hook) => hook,
            None => match self.find_or_make(folder, repair).await? {
                None => return Ok(HookStatus::of(folder, None, HookState::Missing, None)),
                Some(Created::Made(hook)) => {
                    self.keep(&key, json!(hook.id)).await?;
                    self.begins(&hook.id, self.clock.now()).await?;
                    let note = ours.map(|id| format!("webhook {id} was gone"));
                    return Ok(HookStatus::of(folder, Some(&hook), HookState::Made, note));
                }
                Some(Created::There(hook)) => {
                    // One call address belongs to one service, and so does its webhook.
                    if hook.address.as_deref() != Some(&self.options.address) {
                        let note = "the folder has a webhook that calls another address; delete \
                                    it if nobody needs it";
                        let note = Some(note.to_owned());
                        return Ok(HookStatus::of(
                            folder,
                            Some(&hook),
                            HookState::Foreign,
                            note,
                        ));
                    }
                    hook
                }
            },
        };
        let wrong = self.wrong(&hook);
        if repair {
            if ours.as_ref() != Some(&hook.id) {
                self.keep(&key, json!(hook.id)).await?;
            }
            if wrong.is_some() {
                let (address, triggers) = (&self.options.address, &self.options.triggers);
                let changed = self.hooks.change(&hook.id, address, triggers).await?;
                if let Some(still) = self.wrong(&changed) {
                    let cause = format!("after the change still: {still}");
                    let error = PortError::new(PortErrorKind::Busy, "change the webhook");
                    return Err(error.with_cause(cause).into());
                }
                self.begins(&hook.id, self.clock.now()).await?;
                return Ok(HookStatus::of(
                    folder,
                    Some(&hook),
                    HookState::Changed,
                    wrong,
                ));
            }
        }
        if wrong.is_some() {
            let state = HookState::Differs;
            return Ok(HookStatus::of(folder, Some(&hook), state, wrong));
        }
        let Some(silence) = self.silence(folder, &hook.id).await? else {
            let status = HookStatus::of(folder, Some(&hook), HookState::Fine, None);
            let heard_at = self.heard_last(&hook.id).await?;
            return Ok(HookStatus { heard_at, ..status });
        };
        self.listen(folder, hook, &silence, repair).await
    }

    /// What a webhook lacks that looks as it should nobody can see. Making it anew is all that can
    /// be done from here, and not worth doing twice.
    async fn listen(
        &self,
        folder: &str,
        hook: Hook,
        silence: &Silence,
        repair: bool,
    ) -> Result<HookStatus, WatchError> {
        let Silence { since, was_remade } = silence;
        if *was_remade || !repair {
            let advice = match was_remade {
                true => ", nor has the one before: look at the way from Box to its address",
                false => "",
            };
            let note = format!("it has told of nothing since {since:.0}{advice}");
            let status = HookStatus::of(folder, Some(&hook), HookState::Silent, Some(note));
            let heard_at = self.heard_last(&hook.id).await?;
            return Ok(HookStatus { heard_at, ..status });
        }
        let now = self.clock.now();
        self.remade(folder, silence, now).await?;
        self.hooks.remove(&hook.id).await?;
        let (address, triggers) = (&self.options.address, &self.options.triggers);
        let made = match self.hooks.create(folder, address, triggers).await? {
            Created::Made(made) | Created::There(made) => made,
        };
        let key = EffectKey::new(["watch", "webhook", folder]);
        self.keep(&key, json!(made.id)).await?;
        self.begins(&made.id, now).await?;
        let note = format!("webhook {} had told of nothing since {since:.0}", hook.id);
        Ok(HookStatus::of(
            folder,
            Some(&made),
            HookState::Made,
            Some(note),
        ))
    }

    async fn find_or_make(&self, folder: &str, make: bool) -> Result<Option<Created>, WatchError> {
        let (address, triggers) = (&self.options.address, &self.options.triggers);
        if make {
            return Ok(Some(self.hooks.create(folder, address, triggers).await?));
        }
        let listed = self.hooks.list().await?;
        let there = listed
            .into_iter()
            .find(|it| it.folder.as_deref() == Some(folder));
        let Some(there) = there else {
            return Ok(None);
        };
        Ok(self.hooks.hook(&there.id).await?.map(Created::There))
    }

    fn wrong(&self, hook: &Hook) -> Option<String> {
        let names = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        if hook.address.as_deref() != Some(&self.options.address) {
            return Some("it calls another address".to_owned());
        }
        if names(&hook.triggers) != names(&self.options.triggers) {
            return Some(format!("its triggers are {}", hook.triggers.join(", ")));
        }
        let status = hook.status.as_deref().filter(|status| *status != "enabled");
        status.map(|status| format!("its status is {status}"))
    }
}

impl HookStatus {
    fn of(folder: &str, hook: Option<&Hook>, state: HookState, note: Option<String>) -> Self {
        Self {
            folder: folder.to_owned(),
            webhook: hook.map(|hook| hook.id.clone()),
            state,
            heard_at: None,
            note,
        }
    }
}
