use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString, zeroize::Zeroizing};
use sha2::Sha256;

use super::{SecretError, SecretErrorKind};

const KEY: usize = 32;
pub(super) const SALT: usize = 16;
pub(super) const KEY_ID: usize = 16;

const DOING: &str = "read the key of the secrets";
const SHORTEST_PASSPHRASE: usize = 12;
/// Above OWASP's least (19 MiB, 2 passes), and still bearable at each start.
pub(super) const COST: Cost = Cost {
    memory: 64 * 1024,
    passes: 3,
    lanes: 1,
};
/// More would be no key of ours, but a way to use up our memory.
const MOST_MEMORY: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 16;

/// What secrets are encrypted with, at rest.
pub struct SecretKey(Material, Option<Box<SecretKey>>);

enum Material {
    Bytes(SecretBox<[u8; KEY]>),
    Passphrase(SecretString),
}

impl SecretKey {
    /// A key of 32 random bytes, in base64 or as 64 hexadecimal digits, as
    /// `openssl rand -base64 32` makes one.
    pub fn from_text(text: &SecretString) -> Result<Self, SecretError> {
        let text = text.expose_secret().trim();
        let bytes = Zeroizing::new(match text.len() {
            64 => from_hex(text),
            _ => from_base64(text),
        });
        Self::from_bytes(&bytes).map_err(|error| {
            error.with_cause("it has to be 32 bytes in base64, or 64 hexadecimal digits")
        })
    }

    /// A key of 32 random bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        let mut key = Box::new([0; KEY]);
        if bytes.len() != KEY {
            return Err(bad_key());
        }
        key.copy_from_slice(bytes);
        Ok(Self(Material::Bytes(SecretBox::new(key)), None))
    }

    /// A passphrase of at least 12 characters. The key is made from it by Argon2id, which takes
    /// 64 MiB of memory and some tenths of a second once in a process.
    pub fn passphrase(passphrase: SecretString) -> Result<Self, SecretError> {
        if passphrase.expose_secret().chars().count() < SHORTEST_PASSPHRASE {
            return Err(bad_key().with_cause("a passphrase has at least 12 characters"));
        }
        Ok(Self(Material::Passphrase(passphrase), None))
    }

    /// This key, and what `previous` has encrypted can be read too. That goes on to be encrypted by
    /// `previous` until somebody rotates the key, so that processes can be started with both keys
    /// before that, one after the other, and none is in the dark for a moment.
    #[must_use]
    pub fn or_previous(self, previous: Self) -> Self {
        Self(self.0, Some(Box::new(previous)))
    }

    /// Whether both encrypt alike, whatever they can read besides.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Material::Bytes(one), Material::Bytes(other)) => {
                one.expose_secret() == other.expose_secret()
            }
            (Material::Passphrase(one), Material::Passphrase(other)) => {
                one.expose_secret() == other.expose_secret()
            }
            _ => false,
        }
    }

    /// The key itself, and the one before it.
    pub(super) fn all(mut self) -> Vec<Self> {
        let previous = self.1.take();
        let mut all = vec![self];
        all.extend(previous.into_iter().flat_map(|previous| previous.all()));
        all
    }

    /// What makes the key, for something new.
    pub(super) fn cost(&self) -> Option<Cost> {
        match self.0 {
            Material::Bytes(_) => None,
            Material::Passphrase(_) => Some(COST),
        }
    }

    /// The keys for what was encrypted with this salt, or `None` where this is a key of another
    /// sort.
    pub(super) fn derive(&self, cost: Option<Cost>, salt: &[u8; SALT]) -> Option<Derived> {
        let mut made = Zeroizing::new([0; KEY]);
        let root = match (&self.0, cost) {
            (Material::Bytes(bytes), None) => bytes.expose_secret(),
            (Material::Passphrase(passphrase), Some(cost)) => {
                let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?);
                hash.hash_password_into(passphrase.expose_secret().as_bytes(), salt, &mut *made)
                    .ok()?;
                &*made
            }
            _ => return None,
        };
        let derive = |use_for: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(root).ok()?;
            mac.update(use_for);
            mac.update(salt);
            Some(Zeroizing::new(<[u8; KEY]>::from(
                mac.finalize().into_bytes(),
            )))
        };
        let sealing = derive(b"bridge secrets: sealing")?;
        let naming = derive(b"bridge secrets: key id")?;
        let mut id = [0; KEY_ID];
        id.copy_from_slice(naming.get(..KEY_ID)?);
        Some(Derived {
            salt: *salt,
            cost,
            id,
            sealing,
        })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").finish_non_exhaustive()
    }
}

/// What Argon2id takes to make a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cost {
    /// KiB.
    pub(super) memory: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Cost {
    fn params(self) -> Option<Params> {
        let bearable =
            self.memory <= MOST_MEMORY && self.passes <= MOST_PASSES && self.lanes <= MOST_LANES;
        bearable
            .then(|| Params::new(self.memory, self.passes, self.lanes, Some(KEY)).ok())
            .flatten()
    }

    pub(super) fn is_bearable(self) -> bool {
        self.params().is_some()
    }
}

/// The keys that belong to one salt.
#[derive(Clone)]
pub(super) struct Derived {
    pub(super) salt: [u8; SALT],
    pub(super) cost: Option<Cost>,
    /// Tells keys apart without giving anything of them away.
    pub(super) id: [u8; KEY_ID],
    pub(super) sealing: Zeroizing<[u8; KEY]>,
}

fn bad_key() -> SecretError {
    SecretError::new(SecretErrorKind::BadKey, DOING)
}

/// What cannot be read is left out, and the length tells.
fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = text.as_bytes().chunks_exact(2);
    bytes
        .filter_map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    let padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
    GeneralPurpose::new(&STANDARD, padding)
        .decode(&*text)
        .unwrap_or_default()
}
