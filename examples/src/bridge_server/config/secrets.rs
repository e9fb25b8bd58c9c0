use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;

/// Where grants are kept.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Secrets {
    File {
        #[serde(default = "bridge_secrets")]
        path: PathBuf,
        key: Option<Secret>,
        passphrase: Option<Secret>,
    },
    /// In the database of the store.
    Postgres {
        key: Option<Secret>,
        passphrase: Option<Secret>,
    },
}

impl Secrets {
    pub(crate) fn key(&self) -> (Option<&Secret>, Option<&Secret>) {
        match self {
            Self::File {
                key, passphrase, ..
            }
            | Self::Postgres { key, passphrase } => (key.as_ref(), passphrase.as_ref()),
        }
    }

    /// Its paths and secrets, which start at the folder of the configuration.
    pub(super) fn at_home(&mut self, home: &std::path::Path) {
        if let Self::File { path, .. } = self {
            *path = home.join(&*path);
        }
        match self {
            Self::File {
                key, passphrase, ..
            }
            | Self::Postgres { key, passphrase } => {
                for secret in key.iter_mut().chain(passphrase) {
                    secret.at_home(home);
                }
            }
        }
    }

    pub(super) fn problems(&self, store_is_postgres: bool) -> Vec<&'static str> {
        let mut problems = Vec::new();
        let (key, passphrase) = self.key();
        if key.is_some() == passphrase.is_some() {
            problems.push("secrets: set exactly one of key and passphrase");
        }
        if matches!(self, Self::Postgres { .. }) && !store_is_postgres {
            problems.push("secrets: kind = \"postgres\" wants a store.url of postgres://…");
        }
        problems
    }
}

fn bridge_secrets() -> PathBuf {
    "bridge.secrets".into()
}
