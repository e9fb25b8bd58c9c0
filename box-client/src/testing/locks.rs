//! Locks of files.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::Refused,
    clock::stamp,
    items::{File, Item},
    people::User,
};

#[derive(Clone, Debug)]
pub(super) struct Lock {
    pub(super) id: String,
    pub(super) created_by: User,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) prevents_download: bool,
}

/// What a caller wants of the lock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Lock {
        expires_at: Option<Timestamp>,
        prevents_download: bool,
    },
    Unlock,
}

impl Wish {
    pub(super) fn read(value: &Value) -> Result<Self, Refused> {
        if value.is_null() {
            return Ok(Self::Unlock);
        }
        // Box's older clients say `type` where its reference says `access`.
        let word = value
            .get("access")
            .or_else(|| value.get("type"))
            .and_then(Value::as_str);
        if word != Some("lock") {
            return Err(Refused::parameter("lock", "'access' must be 'lock'"));
        }
        let expires_at = match value.get("expires_at").filter(|at| !at.is_null()) {
            Some(at) => Some(
                at.as_str()
                    .and_then(|at| at.parse().ok())
                    .ok_or_else(|| Refused::parameter("expires_at", "not a date-time"))?,
            ),
            None => None,
        };
        let prevents_download = value
            .get("is_download_prevented")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        Ok(Self::Lock {
            expires_at,
            prevents_download,
        })
    }
}

impl Lock {
    pub(super) fn json(&self) -> Value {
        json!({
            "type": "lock",
            "id": self.id,
            "created_by": self.created_by.mini(),
            "created_at": stamp(self.created_at),
            "expired_at": self.expires_at.map(stamp),
            "is_download_prevented": self.prevents_download,
            "app_type": null,
        })
    }
}

impl File {
    /// The lock, while it holds.
    pub(super) fn lock(&self) -> Option<&Lock> {
        let holds = |lock: &&Lock| lock.expires_at.is_none_or(|at| at > Timestamp::now());
        self.lock.as_ref().filter(holds)
    }
}

/// Somebody else's lock keeps everybody from changing the file.
pub(super) fn may_write(item: &Item, actor: &User) -> Result<(), Refused> {
    match item.as_file().and_then(File::lock) {
        Some(lock) if lock.created_by.id != actor.id => Err(locked()),
        _ => Ok(()),
    }
}

pub(super) fn may_download(file: &File, actor: &User) -> Result<(), Refused> {
    match file.lock() {
        Some(lock) if lock.prevents_download && lock.created_by.id != actor.id => Err(locked()),
        _ => Ok(()),
    }
}

fn locked() -> Refused {
    Refused::new(
        403,
        "access_denied_item_locked",
        "Access denied - Item locked",
    )
}
