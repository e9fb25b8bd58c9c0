//! What the file holds, once it is opened.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use super::{SecretName, Versioned, disk};

#[derive(Default, Deserialize)]
pub(super) struct Content {
    secrets: BTreeMap<String, Secret>,
    #[serde(default)]
    leases: BTreeMap<String, Lease>,
}

#[derive(Deserialize)]
struct Secret {
    version: u64,
    value: SecretString,
}

#[derive(Deserialize, Serialize)]
struct Lease {
    owner: String,
    since: Timestamp,
    hold_millis: u64,
}

#[derive(Serialize)]
struct Shown<'a> {
    secrets: BTreeMap<&'a str, ShownSecret<'a>>,
    leases: &'a BTreeMap<String, Lease>,
}

#[derive(Serialize)]
struct ShownSecret<'a> {
    version: u64,
    value: &'a str,
}

impl Content {
    pub(super) fn read(plain: &[u8]) -> Option<Self> {
        serde_json::from_slice(plain).ok()
    }

    /// As text, unless it is more than a file may hold.
    pub(super) fn written(&self) -> Option<Zeroizing<Vec<u8>>> {
        let shown = |(name, secret): (&'_ String, &'_ Secret)| -> usize {
            name.len() + 2 * secret.value.expose_secret().len() + 64
        };
        // Room for nearly anything, so that nothing is left behind by growing.
        let room = self.secrets.iter().map(shown).sum::<usize>() + 256 * (1 + self.leases.len());
        let mut plain = Zeroizing::new(Vec::with_capacity(room));
        let shown = Shown {
            secrets: self
                .secrets
                .iter()
                .map(|(name, secret)| {
                    let shown = ShownSecret {
                        version: secret.version,
                        value: secret.value.expose_secret(),
                    };
                    (name.as_str(), shown)
                })
                .collect(),
            leases: &self.leases,
        };
        serde_json::to_writer(&mut *plain, &shown).ok()?;
        (plain.len() < disk::MOST / 2).then_some(plain)
    }

    pub(super) fn secret(&self, name: &SecretName) -> Option<Versioned> {
        self.secrets.get(name.as_str()).map(|secret| Versioned {
            version: secret.version,
            secret: secret.value.clone(),
        })
    }

    pub(super) fn put(&mut self, name: &SecretName, new: Versioned) {
        let secret = Secret {
            version: new.version,
            value: new.secret,
        };
        self.secrets.insert(name.as_str().to_owned(), secret);
    }

    pub(super) fn lease(
        &mut self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
        now: Timestamp,
    ) -> bool {
        if let Some(lease) = self.leases.get(name.as_str())
            && lease.owner != owner
            && lease.is_held(now)
        {
            return false;
        }
        let lease = Lease {
            owner: owner.to_owned(),
            since: now,
            hold_millis: u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
        };
        self.leases.insert(name.as_str().to_owned(), lease);
        true
    }

    /// Whether somebody has a right now.
    pub(super) fn is_leased(&self, now: Timestamp) -> bool {
        self.leases.values().any(|lease| lease.is_held(now))
    }

    /// Whether there was anything to release.
    pub(super) fn release(&mut self, name: &SecretName, owner: &str) -> bool {
        let is_owners = |lease: &Lease| lease.owner == owner;
        self.leases.get(name.as_str()).is_some_and(is_owners)
            && self.leases.remove(name.as_str()).is_some()
    }
}

impl Lease {
    /// A clock that was set back does not make a lease longer than twice its time.
    fn is_held(&self, now: Timestamp) -> bool {
        let distance = now.duration_since(self.since).unsigned_abs();
        distance < Duration::from_millis(self.hold_millis)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lease_ends_also_when_the_clock_is_set_back() {
        let name = SecretName::new("box").unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let hold = Duration::from_secs(10);
        let mut content = Content::default();
        assert!(content.lease(&name, "a", hold, at(1000)));
        assert!(!content.lease(&name, "b", hold, at(1009)));
        assert!(!content.lease(&name, "b", hold, at(995)));
        assert!(content.lease(&name, "b", hold, at(100)));
        assert!(content.lease(&name, "a", hold, at(110)));
    }
}
