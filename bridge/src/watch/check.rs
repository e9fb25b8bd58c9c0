//! Are our webhooks there, and as they should be?

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use tracing::{info, warn};

use super::{
    error::WatchError,
    port::{Created, Hook},
    service::Watch,
};
use crate::{
    ledger::EffectKey,
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
    /// It could not be looked at or put right.
    Failed,
}

impl HookState {
    /// Whether it works now.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Fine | Self::Made | Self::Changed)
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
                return Ok(HookStatus::of(
                    folder,
                    Some(&hook),
                    HookState::Changed,
                    wrong,
                ));
            }
        }
        let state = if wrong.is_some() {
            HookState::Differs
        } else {
            HookState::Fine
        };
        Ok(HookStatus::of(folder, Some(&hook), state, wrong))
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
            note,
        }
    }
}
