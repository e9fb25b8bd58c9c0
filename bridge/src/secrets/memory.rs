use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{SecretError, SecretName, SecretStore, Swap, Versioned, port};

/// Forgets everything when the process ends: for tests, and to try things out.
#[derive(Default)]
pub struct MemorySecrets(Mutex<State>);

#[derive(Default)]
struct State {
    secrets: HashMap<SecretName, Versioned>,
    leases: HashMap<SecretName, (String, Instant)>,
}

impl MemorySecrets {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemorySecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySecrets").finish_non_exhaustive()
    }
}

#[async_trait]
impl SecretStore for MemorySecrets {
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError> {
        Ok(self.state().secrets.get(name).cloned())
    }

    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError> {
        port::check(&secret)?;
        let mut state = self.state();
        let current = state.secrets.get(name);
        if let Some(current) = current.filter(|it| it.is_swapped(seen, &secret)) {
            return Ok(Swap::Swapped(current.version));
        }
        if current.map(|it| it.version) != seen {
            return Ok(Swap::Conflict(current.cloned()));
        }
        let version = seen.unwrap_or(0) + 1;
        let stored = Versioned { version, secret };
        state.secrets.insert(name.clone(), stored);
        Ok(Swap::Swapped(version))
    }

    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError> {
        let mut state = self.state();
        let now = Instant::now();
        if let Some((holder, until)) = state.leases.get(name)
            && holder != owner
            && *until > now
        {
            return Ok(false);
        }
        state
            .leases
            .insert(name.clone(), (owner.to_owned(), now + hold));
        Ok(true)
    }

    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError> {
        let mut state = self.state();
        if state
            .leases
            .get(name)
            .is_some_and(|(holder, _)| holder == owner)
        {
            state.leases.remove(name);
        }
        Ok(())
    }
}
