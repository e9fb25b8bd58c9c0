//! Whether a delivery comes from Box.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::event::{Event, EventError};

type HmacSha256 = Hmac<Sha256>;

/// The keys that sign an application's deliveries, from the Developer Console. With two of them
/// keys can be replaced one after the other without losing a delivery.
#[derive(Clone, Debug)]
pub struct SignatureKeys {
    primary: Option<SecretString>,
    secondary: Option<SecretString>,
}

/// Why these cannot be signature keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// With no key nothing could ever be verified.
    #[error("there is no signature key: at least one is needed")]
    NoKey,
    /// Anybody can sign with an empty key.
    #[error("the {0} signature key is empty")]
    EmptyKey(WhichKey),
}

/// One of the two keys.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum WhichKey {
    /// The primary.
    Primary,
    /// The secondary.
    Secondary,
}

/// Tells Box's deliveries from everybody else's.
#[derive(Clone)]
pub struct Verifier {
    /// The keys after their own blocks, so that a delivery costs its own bytes only.
    primary: Option<HmacSha256>,
    secondary: Option<HmacSha256>,
    max_age: Duration,
    max_ahead: Duration,
}

/// A delivery that Box has signed for this application, not long ago. Only [`Verifier::verify`]
/// makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    body: Bytes,
    sent_at: Timestamp,
    delivery_id: Option<HeaderValue>,
    key: WhichKey,
}

/// Why a delivery is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no signature by a key that is configured here.
    #[error("there is no signature by a configured key")]
    MissingSignature,
    /// A signature is not the base64 of 32 bytes.
    #[error("the signature is not the base64 of 32 bytes")]
    MalformedSignature,
    /// A header is there more than once, with different values.
    #[error("the header {0} is there with different values")]
    AmbiguousHeader(&'static str),
    /// A header holds something other than printable ASCII.
    #[error("the header {0} is not printable ASCII")]
    NonAsciiHeader(&'static str),
    /// `BOX-SIGNATURE-VERSION` is missing or not `1`.
    #[error("the signature version is not 1")]
    UnsupportedVersion,
    /// `BOX-SIGNATURE-ALGORITHM` is missing or not `HmacSHA256`.
    #[error("the signature algorithm is not HmacSHA256")]
    UnsupportedAlgorithm,
    /// There is no `BOX-DELIVERY-TIMESTAMP`.
    #[error("there is no delivery timestamp")]
    MissingTimestamp,
    /// `BOX-DELIVERY-TIMESTAMP` is no RFC 3339 time.
    #[error("the delivery timestamp is no RFC 3339 time")]
    MalformedTimestamp,
    /// It was sent longer ago than is believed: a delivery that somebody has kept and repeats, or
    /// a clock that is wrong.
    #[error("sent {} s ago, which is too long", age.as_secs())]
    TooOld {
        /// How long ago.
        age: Duration,
    },
    /// It claims to be sent in the future, by more than clocks differ.
    #[error("sent {} s ahead of this machine's clock", ahead.as_secs())]
    TooFarAhead {
        /// How far ahead.
        ahead: Duration,
    },
    /// The signature is not that of these bytes.
    #[error("the signature is not that of these bytes")]
    Mismatch,
}

impl SignatureKeys {
    /// The keys, of which there has to be one.
    pub fn new(
        primary: Option<SecretString>,
        secondary: Option<SecretString>,
    ) -> Result<Self, KeysError> {
        if primary.is_none() && secondary.is_none() {
            return Err(KeysError::NoKey);
        }
        for (which, key) in [
            (WhichKey::Primary, &primary),
            (WhichKey::Secondary, &secondary),
        ] {
            if key
                .as_ref()
                .is_some_and(|key| key.expose_secret().trim().is_empty())
            {
                return Err(KeysError::EmptyKey(which));
            }
        }
        Ok(Self { primary, secondary })
    }
}

impl Verifier {
    /// Verifies with these keys: at most 10 minutes old, as Box advises, and at most a minute
    /// ahead of this machine's clock.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub fn new(keys: SignatureKeys) -> Self {
        let mac = |key: SecretString| {
            HmacSha256::new_from_slice(key.expose_secret().as_bytes())
                .expect("HMAC takes keys of any length")
        };
        Self {
            primary: keys.primary.map(mac),
            secondary: keys.secondary.map(mac),
            max_age: Duration::from_secs(600),
            max_ahead: Duration::from_secs(60),
        }
    }

    /// With another greatest age.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// With another allowance for clocks that differ.
    #[must_use]
    pub fn max_ahead(mut self, max_ahead: Duration) -> Self {
        self.max_ahead = max_ahead;
        self
    }

    /// Verifies one delivery. `body` is the request's body byte for byte: parsing and writing it
    /// again would change what Box has signed.
    ///
    /// The headers are those of Box's
    /// [signature guide](https://developer.box.com/guides/webhooks/v2/signatures-v2/). The
    /// signatures are also found under `X-Box-Signature-Primary` and `-Secondary`, names that an
    /// older guide gives.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Verified, VerifyError> {
        let headers = Headers::read(headers)?;
        let (signed, timestamp, sent_at) = self.claim(&headers, now)?;

        let mut verdict = VerifyError::MalformedSignature;
        for (key, pair) in signed {
            let Some((mac, signature)) = pair else {
                continue;
            };
            match check(mac, signature, &body, timestamp) {
                Ok(()) => {
                    let delivery_id = headers.delivery_id.cloned();
                    return Ok(Verified {
                        body,
                        sent_at,
                        delivery_id,
                        key,
                    });
                }
                // Of two reasons the one that says more.
                Err(VerifyError::MalformedSignature) => {}
                Err(reason) => verdict = reason,
            }
        }
        Err(verdict)
    }

    /// Looks at what the headers alone can tell: whether there is a signature by a configured key,
    /// of the right kind, for a time that is believed. Whoever fails here need not be listened to
    /// any further; whoever passes has proved nothing yet.
    pub fn look(&self, headers: &HeaderMap, now: Timestamp) -> Result<(), VerifyError> {
        self.claim(&Headers::read(headers)?, now).map(drop)
    }

    /// The signatures with the keys to hold them against, and the time that was signed with them.
    fn claim<'a>(
        &'a self,
        headers: &Headers<'a>,
        now: Timestamp,
    ) -> Result<(Signed<'a>, &'a str, Timestamp), VerifyError> {
        let signed = [
            (
                WhichKey::Primary,
                self.primary.as_ref().zip(headers.primary),
            ),
            (
                WhichKey::Secondary,
                self.secondary.as_ref().zip(headers.secondary),
            ),
        ];
        if signed.iter().all(|(_, pair)| pair.is_none()) {
            return Err(VerifyError::MissingSignature);
        }
        if headers.version != Some("1") {
            return Err(VerifyError::UnsupportedVersion);
        }
        if headers.algorithm != Some("HmacSHA256") {
            return Err(VerifyError::UnsupportedAlgorithm);
        }
        let timestamp = headers.timestamp.ok_or(VerifyError::MissingTimestamp)?;
        let sent_at: Timestamp = timestamp
            .parse()
            .map_err(|_| VerifyError::MalformedTimestamp)?;
        self.check_age(sent_at, now)?;
        Ok((signed, timestamp, sent_at))
    }

    fn check_age(&self, sent_at: Timestamp, now: Timestamp) -> Result<(), VerifyError> {
        let age = now.duration_since(sent_at);
        let apart = age.unsigned_abs();
        if age.is_positive() && apart > self.max_age {
            return Err(VerifyError::TooOld { age: apart });
        }
        if age.is_negative() && apart > self.max_ahead {
            return Err(VerifyError::TooFarAhead { ahead: apart });
        }
        Ok(())
    }
}

/// Each configured key with the signature that is to be by it.
type Signed<'a> = [(WhichKey, Option<(&'a HmacSha256, &'a str)>); 2];

/// Holds one signature against one key: the body comes first, then the timestamp's text exactly
/// as it was received.
fn check(
    mac: &HmacSha256,
    signature: &str,
    body: &[u8],
    timestamp: &str,
) -> Result<(), VerifyError> {
    // The decoder reckons with a padding byte more than it writes.
    let mut expected = [0_u8; 33];
    let Ok(32) = STANDARD.decode_slice(signature, &mut expected) else {
        return Err(VerifyError::MalformedSignature);
    };
    mac.clone()
        .chain_update(body)
        .chain_update(timestamp)
        .verify_slice(&expected[..32])
        .map_err(|_| VerifyError::Mismatch)
}

/// The headers that count, found in one pass over all.
#[derive(Default)]
struct Headers<'h> {
    primary: Option<&'h str>,
    secondary: Option<&'h str>,
    version: Option<&'h str>,
    algorithm: Option<&'h str>,
    timestamp: Option<&'h str>,
    delivery_id: Option<&'h HeaderValue>,
}

impl<'h> Headers<'h> {
    fn read(headers: &'h HeaderMap) -> Result<Self, VerifyError> {
        let mut read = Self::default();
        for (name, value) in headers {
            let (slot, name) = match name.as_str() {
                "box-signature-primary" | "x-box-signature-primary" => {
                    (&mut read.primary, "BOX-SIGNATURE-PRIMARY")
                }
                "box-signature-secondary" | "x-box-signature-secondary" => {
                    (&mut read.secondary, "BOX-SIGNATURE-SECONDARY")
                }
                "box-signature-version" => (&mut read.version, "BOX-SIGNATURE-VERSION"),
                "box-signature-algorithm" => (&mut read.algorithm, "BOX-SIGNATURE-ALGORITHM"),
                "box-delivery-timestamp" => (&mut read.timestamp, "BOX-DELIVERY-TIMESTAMP"),
                "box-delivery-id" => {
                    if read
                        .delivery_id
                        .replace(value)
                        .is_some_and(|other| other != value)
                    {
                        return Err(VerifyError::AmbiguousHeader("BOX-DELIVERY-ID"));
                    }
                    continue;
                }
                _ => continue,
            };
            let text = value
                .to_str()
                .map_err(|_| VerifyError::NonAsciiHeader(name))?;
            if slot.replace(text).is_some_and(|other| other != text) {
                return Err(VerifyError::AmbiguousHeader(name));
            }
        }
        Ok(read)
    }
}

impl Verified {
    /// The delivery's bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The delivery's bytes.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// When Box sent it.
    pub fn sent_at(&self) -> Timestamp {
        self.sent_at
    }

    /// Box's name for this attempt; another at each redelivery of the same event. It is not
    /// signed: for logs only.
    pub fn delivery_id(&self) -> Option<&str> {
        self.delivery_id.as_ref()?.to_str().ok()
    }

    /// The key that it was verified with.
    pub fn key(&self) -> WhichKey {
        self.key
    }

    /// What it says.
    pub fn event(&self) -> Result<Event, EventError> {
        Event::parse(&self.body)
    }
}

impl VerifyError {
    /// A word for metrics and answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingSignature => "missing_signature",
            Self::MalformedSignature => "malformed_signature",
            Self::AmbiguousHeader(_) => "ambiguous_header",
            Self::NonAsciiHeader(_) => "non_ascii_header",
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::MissingTimestamp => "missing_timestamp",
            Self::MalformedTimestamp => "malformed_timestamp",
            Self::TooOld { .. } => "too_old",
            Self::TooFarAhead { .. } => "too_far_ahead",
            Self::Mismatch => "signature_mismatch",
        }
    }
}

impl fmt::Display for WhichKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("max_age", &self.max_age)
            .field("max_ahead", &self.max_ahead)
            .finish_non_exhaustive()
    }
}
