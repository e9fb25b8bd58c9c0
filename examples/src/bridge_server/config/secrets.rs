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
        previous_key: Option<Secret>,
        previous_passphrase: Option<Secret>,
    },
    /// In the database of the store.
    Postgres {
        key: Option<Secret>,
        passphrase: Option<Secret>,
        previous_key: Option<Secret>,
        previous_passphrase: Option<Secret>,
    },
    /// Vault has a key of its own.
    Vault {
        address: String,
        #[serde(default = "secret")]
        mount: String,
        #[serde(default = "bridge")]
        folder: String,
        namespace: Option<String>,
        token: Option<Secret>,
        role_id: Option<String>,
        secret_id: Option<Secret>,
    },
    /// AWS Secrets Manager encrypts by a key of KMS.
    Aws {
        region: Option<String>,
        endpoint: Option<String>,
        #[serde(default = "bridge")]
        folder: String,
        kms_key: Option<String>,
        access_key_id: Option<String>,
        secret_access_key: Option<Secret>,
        session_token: Option<Secret>,
    },
}

impl Secrets {
    pub(crate) fn key(&self) -> (Option<&Secret>, Option<&Secret>) {
        match self {
            Self::File {
                key, passphrase, ..
            }
            | Self::Postgres {
                key, passphrase, ..
            } => (key.as_ref(), passphrase.as_ref()),
            Self::Vault { .. } | Self::Aws { .. } => (None, None),
        }
    }

    /// What the secrets were encrypted with before.
    pub(crate) fn previous(&self) -> (Option<&Secret>, Option<&Secret>) {
        match self {
            Self::File {
                previous_key,
                previous_passphrase,
                ..
            }
            | Self::Postgres {
                previous_key,
                previous_passphrase,
                ..
            } => (previous_key.as_ref(), previous_passphrase.as_ref()),
            Self::Vault { .. } | Self::Aws { .. } => (None, None),
        }
    }

    /// Its paths and secrets, which start at the folder of the configuration.
    pub(super) fn at_home(&mut self, home: &std::path::Path) {
        if let Self::File { path, .. } = self {
            *path = home.join(&*path);
        }
        match self {
            Self::File {
                key,
                passphrase,
                previous_key,
                previous_passphrase,
                ..
            }
            | Self::Postgres {
                key,
                passphrase,
                previous_key,
                previous_passphrase,
            } => {
                let previous = previous_key.iter_mut().chain(previous_passphrase);
                for secret in key.iter_mut().chain(passphrase).chain(previous) {
                    secret.at_home(home);
                }
            }
            Self::Vault {
                token, secret_id, ..
            } => {
                for secret in token.iter_mut().chain(secret_id) {
                    secret.at_home(home);
                }
            }
            Self::Aws {
                secret_access_key,
                session_token,
                ..
            } => {
                for secret in secret_access_key.iter_mut().chain(session_token) {
                    secret.at_home(home);
                }
            }
        }
    }

    pub(super) fn problems(&self, store_is_postgres: bool) -> Vec<&'static str> {
        let mut problems = Vec::new();
        let (key, passphrase) = self.key();
        if let Self::Vault {
            token,
            role_id,
            secret_id,
            ..
        } = self
        {
            let given = [token.is_some(), role_id.is_some(), secret_id.is_some()];
            if !matches!(given, [true, false, false] | [false, true, true]) {
                problems.push("secrets: set either token, or role_id and secret_id");
            }
        } else if let Self::Aws {
            region,
            access_key_id,
            secret_access_key,
            session_token,
            ..
        } = self
        {
            if access_key_id.is_some() != secret_access_key.is_some() {
                problems.push("secrets: access_key_id and secret_access_key belong together");
            }
            if session_token.is_some() && access_key_id.is_none() {
                problems.push("secrets: session_token goes with access_key_id");
            }
            if access_key_id.is_some() && region.is_none() {
                problems.push("secrets: access_key_id wants a region");
            }
        } else if key.is_some() == passphrase.is_some() {
            problems.push("secrets: set exactly one of key and passphrase");
        }
        if let (Some(_), Some(_)) = self.previous() {
            problems.push("secrets: set at most one of previous_key and previous_passphrase");
        }
        if matches!(self, Self::Postgres { .. }) && !store_is_postgres {
            problems.push("secrets: kind = \"postgres\" wants a store.url of postgres://…");
        }
        problems
    }
}

fn secret() -> String {
    "secret".into()
}
fn bridge() -> String {
    "bridge".into()
}
fn bridge_secrets() -> PathBuf {
    "bridge.secrets".into()
}
