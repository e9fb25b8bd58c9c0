use std::{
    fmt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

/// Where a secret is: in a variable of the environment, or in a file. Never in the configuration.
#[derive(Clone, Debug)]
pub(crate) enum Secret {
    Env(String),
    File(PathBuf),
}

impl Secret {
    pub(super) fn at_home(&mut self, home: &Path) {
        if let Self::File(path) = self {
            *path = home.join(&*path);
        }
    }

    pub(crate) fn read(&self) -> Result<SecretString, String> {
        let text = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the variable {name} is not set (or is not text)"))?,
            Self::File(path) => {
                let unreadable =
                    |error| format!("the file {} cannot be read: {error}", path.display());
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                is_guarded(path, &std::fs::metadata(path).map_err(unreadable)?)?;
                text
            }
        };
        // Editors put a mark at the beginning and a line break at the end.
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err(match self {
                Self::Env(name) => format!("the variable {name} is empty"),
                Self::File(path) => format!("the file {} is empty", path.display()),
            });
        }
        Ok(text.to_owned().into())
    }
}

/// What others can read they may know, as in a container's mount of secrets, which is made so; what
/// they can write is not to be trusted.
#[cfg(unix)]
fn is_guarded(path: &Path, meta: &std::fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let (path, mode) = (path.display(), meta.permissions().mode() & 0o777);
    if mode & 0o002 != 0 {
        return Err(format!(
            "everybody can write the file {path}, whose mode is {mode:03o}: chmod 600 it"
        ));
    }
    if mode & 0o004 != 0 {
        tracing::warn!("everybody can read the secret in {path}, whose mode is {mode:03o}");
    }
    Ok(())
}

/// Elsewhere a file inherits who may see it from its folder.
#[cfg(not(unix))]
fn is_guarded(_: &Path, _: &std::fs::Metadata) -> Result<(), String> {
    Ok(())
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Place)
    }
}

/// Written by hand, because serde's own message would repeat a secret that somebody has put there.
struct Place;

const WANTED: &str = "a secret never stands here: write { env = \"NAME\" } or { file = \"/path\" }";

impl<'de> Visitor<'de> for Place {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let wanted = || de::Error::custom(WANTED);
        let place = match map.next_key::<String>()?.as_deref() {
            Some("env") => Secret::Env(map.next_value().map_err(|_: A::Error| wanted())?),
            Some("file") => Secret::File(map.next_value().map_err(|_: A::Error| wanted())?),
            _ => return Err(wanted()),
        };
        match map.next_key::<String>()? {
            None => Ok(place),
            Some(_) => Err(wanted()),
        }
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Secret, E> {
        Err(E::custom(WANTED))
    }
}
