//! How a secret looks at rest.
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | `BXSFSECR` |
//! | 1 | format, 1 |
//! | 1 | how the key is made: 0 it is the key, 1 Argon2id (version 1.3) |
//! | 12 | memory in KiB, passes and lanes of Argon2id, little-endian; 0 without it |
//! | 16 | salt |
//! | 16 | which key |
//! | 24 | nonce |
//! | … | what is sealed, by XChaCha20-Poly1305 with all of the above and the place as associated data |
//! | 16 | the beginning of the SHA-256 of all that, to tell damage from a wrong key |

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

use super::{
    SecretError, SecretErrorKind, SecretKey,
    key::{Cost, Derived, KEY_ID, SALT},
};

const MAGIC: &[u8; 8] = b"BXSFSECR";
const FORMAT: u8 = 1;
const NONCE: usize = 24;
const HEAD: usize = MAGIC.len() + 2 + 12 + SALT + KEY_ID + NONCE;
const TAG: usize = 16;
const CHECKSUM: usize = 16;
/// Salts whose keys are remembered: making one from a passphrase is slow by intent.
const REMEMBERED: usize = 8;

/// A key at work, and those before it.
pub(super) struct Sealer {
    keys: Vec<SecretKey>,
    /// Which of them opened last, and so seals.
    current: AtomicUsize,
    derived: Mutex<Vec<(usize, Derived)>>,
}

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unreadable(pub(super) SecretErrorKind, pub(super) &'static str);

impl Unreadable {
    pub(super) fn while_doing(self, doing: &'static str) -> SecretError {
        SecretError::new(self.0, doing).with_cause(self.1)
    }
}

impl Sealer {
    pub(super) fn new(key: SecretKey) -> Self {
        Self {
            keys: key.all(),
            current: AtomicUsize::new(0),
            derived: Mutex::default(),
        }
    }

    /// Seals `plain` for `place`, which whoever opens it has to name. The same salt serves as
    /// long as the process lives, and beyond it where something was opened before.
    pub(super) fn seal(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let derived = self.latest()?;
        let mut nonce = [0; NONCE];
        random(&mut nonce)?;
        let mut sealed = Vec::with_capacity(HEAD + plain.len() + TAG + CHECKSUM);
        sealed.extend_from_slice(MAGIC);
        sealed.extend_from_slice(&[FORMAT, u8::from(derived.cost.is_some())]);
        let cost = derived
            .cost
            .map_or([0; 3], |cost| [cost.memory, cost.passes, cost.lanes]);
        for number in cost {
            sealed.extend_from_slice(&number.to_le_bytes());
        }
        sealed.extend_from_slice(&derived.salt);
        sealed.extend_from_slice(&derived.id);
        sealed.extend_from_slice(&nonce);
        let body = cipher(&derived).encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: plain,
                aad: &[&sealed, place].concat(),
            },
        );
        sealed.extend(body.map_err(|_| broken("it cannot be encrypted"))?);
        let checksum = checksum(&sealed);
        sealed.extend_from_slice(&checksum);
        Ok(sealed)
    }

    /// Opens what was sealed for `place`.
    pub(super) fn open(
        &self,
        place: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let Parts {
            head,
            cost,
            salt,
            id,
            nonce,
            body,
        } = parts(sealed)?;
        let other_key = Unreadable(SecretErrorKind::WrongKey, "another key has sealed it");
        let places = 0..self.keys.len();
        let mut found = places.filter_map(|key| Some((key, self.for_salt(key, cost, salt)?)));
        let (key, derived) = found.find(|(_, it)| it.id == id).ok_or(other_key)?;
        self.current.store(key, Ordering::Relaxed);
        self.remember(key, &derived);
        let opened = cipher(&derived).decrypt(
            &XNonce::from(nonce),
            Payload {
                msg: body,
                aad: &[head, place].concat(),
            },
        );
        let opened = opened.map_err(|_| broken("it was changed, or moved from another place"));
        opened.map(Zeroizing::new)
    }

    fn latest(&self) -> Result<Derived, Unreadable> {
        let none = broken("no key can be made: is there memory for it?");
        let place = self.current.load(Ordering::Relaxed);
        let key = self.keys.get(place).ok_or(none)?;
        let cost = key.cost();
        let known = self.known(place, |it| it.cost == cost);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut salt = [0; SALT];
        random(&mut salt)?;
        let derived = key.derive(cost, &salt).ok_or(none)?;
        self.remember(place, &derived);
        Ok(derived)
    }

    fn for_salt(&self, key: usize, cost: Option<Cost>, salt: [u8; SALT]) -> Option<Derived> {
        self.known(key, |it| it.salt == salt && it.cost == cost)
            .or_else(|| self.keys.get(key)?.derive(cost, &salt))
    }

    fn known(&self, key: usize, fits: impl Fn(&Derived) -> bool) -> Option<Derived> {
        let derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        let known = derived.iter().find(|(of, it)| *of == key && fits(it));
        known.map(|(_, it)| it.clone())
    }

    fn remember(&self, key: usize, new: &Derived) {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if !derived
            .iter()
            .any(|(of, it)| *of == key && it.salt == new.salt)
        {
            derived.truncate(REMEMBERED - 1);
            derived.insert(0, (key, new.clone()));
        }
    }
}

struct Parts<'a> {
    head: &'a [u8],
    cost: Option<Cost>,
    salt: [u8; SALT],
    id: [u8; KEY_ID],
    nonce: [u8; NONCE],
    body: &'a [u8],
}

fn parts(sealed: &[u8]) -> Result<Parts<'_>, Unreadable> {
    let short = broken("it is cut short");
    match sealed.split_first_chunk::<8>() {
        Some((magic, _)) if magic == MAGIC => {}
        None if MAGIC.starts_with(sealed) => return Err(short),
        _ => {
            let why = "it does not begin as ours do";
            return Err(Unreadable(SecretErrorKind::Foreign, why));
        }
    }
    match sealed.get(MAGIC.len()) {
        Some(&FORMAT) => {}
        Some(_) => {
            let why = "its format is not known here";
            return Err(Unreadable(SecretErrorKind::Incompatible, why));
        }
        None => return Err(short),
    }
    let (all, expected) = sealed.split_last_chunk::<CHECKSUM>().ok_or(short)?;
    if all.len() < HEAD + TAG {
        return Err(short);
    }
    if checksum(all) != *expected {
        return Err(broken("its checksum is wrong: it is damaged or cut short"));
    }
    let (head, body) = all.split_at_checked(HEAD).ok_or(short)?;
    let mut rest = head.get(MAGIC.len() + 1..).ok_or(short)?;
    let [kind] = take(&mut rest).ok_or(short)?;
    let mut number = || take(&mut rest).map(u32::from_le_bytes).ok_or(short);
    let cost = Cost {
        memory: number()?,
        passes: number()?,
        lanes: number()?,
    };
    let cost = match kind {
        0 => None,
        1 if cost.is_bearable() => Some(cost),
        _ => return Err(broken("what it says of its key makes no sense")),
    };
    Ok(Parts {
        head,
        cost,
        salt: take(&mut rest).ok_or(short)?,
        id: take(&mut rest).ok_or(short)?,
        nonce: take(&mut rest).ok_or(short)?,
        body,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn cipher(derived: &Derived) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*derived.sealing).into())
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = <[u8; 32]>::from(Sha256::digest(bytes));
    std::array::from_fn(|at| digest[at])
}

fn random(bytes: &mut [u8]) -> Result<(), Unreadable> {
    let failed = Unreadable(
        SecretErrorKind::Unavailable,
        "the system has no random bytes",
    );
    getrandom::fill(bytes).map_err(|_| failed)
}

fn broken(why: &'static str) -> Unreadable {
    Unreadable(SecretErrorKind::Corrupt, why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(SecretKey::from_bytes(&[byte; 32]).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_with_the_same_key_and_place_only(
            plain in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let sealed = sealer(1).seal(b"here", &plain).unwrap();
            prop_assert_eq!(&*sealer(1).open(b"here", &sealed).unwrap(), &plain);
            let kind = |opened: Result<_, Unreadable>| opened.map(drop).unwrap_err().0;
            prop_assert_eq!(kind(sealer(1).open(b"there", &sealed)), SecretErrorKind::Corrupt);
            prop_assert_eq!(kind(sealer(2).open(b"here", &sealed)), SecretErrorKind::WrongKey);
        }

        /// Also where whoever changed it has made the checksum right again.
        #[test]
        fn no_byte_can_be_changed(at in any::<prop::sample::Index>(), change in 1_u8..) {
            let mut sealed = sealer(1).seal(b"here", b"a refresh token").unwrap();
            sealed.truncate(sealed.len() - CHECKSUM);
            let at = at.index(sealed.len());
            sealed[at] ^= change;
            sealed.extend_from_slice(&checksum(&sealed));
            prop_assert!(sealer(1).open(b"here", &sealed).is_err(), "byte {at}");
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let ours = [MAGIC, &[FORMAT][..], &bytes].concat();
            let right = [&ours[..], &checksum(&ours)].concat();
            for bytes in [bytes, ours, right] {
                prop_assert!(sealer(1).open(b"here", &bytes).is_err());
            }
        }
    }

    #[test]
    fn the_same_is_never_sealed_alike() {
        let sealer = sealer(1);
        let (one, other) = (
            sealer.seal(b"", b"a").unwrap(),
            sealer.seal(b"", b"a").unwrap(),
        );
        assert_ne!(one[HEAD - NONCE..HEAD], other[HEAD - NONCE..HEAD]);
        assert_ne!(one[HEAD..], other[HEAD..]);
    }
}
