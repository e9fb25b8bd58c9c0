use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// An assertion whose form is right; its signature is still to be verified.
pub(super) struct Assertion<'a> {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
    expires: Timestamp,
    signed: &'a str,
    signature: Vec<u8>,
}

/// How far ahead an assertion may expire.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_mins(5);

impl<'a> Assertion<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = members(header)?;
        let claims = members(claims)?;
        let claim = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
        if header.get("alg")?.as_str() != Some("RS256") {
            return None;
        }
        Some(Self {
            issuer: claim("iss")?,
            subject: claim("sub").or_else(|| claim("prn"))?,
            audience: claim("aud")?,
            expires: seconds(claims.get("exp")?)?,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    pub(super) fn is_timely(&self, now: Timestamp) -> bool {
        self.expires > now && self.expires.duration_since(now) <= LONGEST_LIFE
    }

    #[cfg(feature = "jwt")]
    pub(super) fn is_signed_by(&self, public_key: &[u8]) -> bool {
        use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key);
        key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }

    /// Without the feature `jwt` there is nothing to verify a signature with.
    #[cfg(not(feature = "jwt"))]
    pub(super) fn is_signed_by(&self, _public_key: &[u8]) -> bool {
        !self.signed.is_empty() && !self.signature.is_empty()
    }
}

fn members(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A number or a string of digits; the vendor takes both.
fn seconds(value: &Value) -> Option<Timestamp> {
    let seconds = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_f64()? as i64,
    };
    Timestamp::from_second(seconds).ok()
}
