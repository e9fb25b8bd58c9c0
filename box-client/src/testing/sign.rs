//! Signed deliveries, encoded the way Box's sender does it.

use std::fmt::{self, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::Sha256;

use super::clock::stamp;

/// A webhook delivery, ready to be posted.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// The `BOX-*` headers with content type and user agent.
    pub headers: Vec<(String, String)>,
    /// The body, to be sent byte by byte as it is.
    pub body: Vec<u8>,
}

impl Delivery {
    pub(super) fn new(
        id: String,
        keys: Option<&(SecretString, SecretString)>,
        body: Vec<u8>,
        at: Timestamp,
    ) -> Self {
        let timestamp = stamp(at);
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("user-agent".to_owned(), "Box-WH-Client/0.1".to_owned()),
            ("box-delivery-id".to_owned(), id),
            ("box-signature-version".to_owned(), "1".to_owned()),
            (
                "box-signature-algorithm".to_owned(),
                "HmacSHA256".to_owned(),
            ),
        ];
        if let Some((primary, secondary)) = keys {
            for (name, key) in [
                ("box-signature-primary", primary),
                ("box-signature-secondary", secondary),
            ] {
                headers.push((name.to_owned(), signature(key, &body, &timestamp)));
            }
        }
        headers.push(("box-delivery-timestamp".to_owned(), timestamp));
        Self { headers, body }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.header("box-delivery-id"))
            .field("body", &String::from_utf8_lossy(&self.body))
            .finish_non_exhaustive()
    }
}

/// JSON as PHP writes it: `/` escaped and everything beyond ASCII as lower-case `\u`. A receiver
/// that parses and prints the body again gets other bytes, and another signature.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    let plain = serde_json::to_string(value).unwrap_or_default();
    let mut text = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            // Slashes occur within strings only.
            '/' => text.push_str("\\/"),
            c if c.is_ascii() => text.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.into_bytes()
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn signature(key: &SecretString, body: &[u8], timestamp: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(body);
    mac.update(timestamp.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the tests of Box's own SDKs share.
    #[test]
    fn signatures_are_those_of_the_known_answers() {
        const AT: &str = "2020-01-01T00:00:00-07:00";
        let primary = SecretString::from("SamplePrimaryKey");
        let secondary = SecretString::from("SampleSecondaryKey");
        let plain = br#"{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}"#;
        let slash = br#"{"webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"\/"}}"#;
        for (key, body, expected) in [
            (
                &primary,
                &plain[..],
                "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=",
            ),
            (
                &secondary,
                &plain[..],
                "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=",
            ),
            (
                &primary,
                &slash[..],
                "t41PWT5ZB6OcysnD6SDy9Ud+p9hdXxIdXqcdweyZv/Q=",
            ),
        ] {
            assert_eq!(signature(key, body, AT), expected);
        }
    }

    #[test]
    fn bodies_are_encoded_the_php_way() {
        assert_eq!(encode(&"a/é😀\n"), br#""a\/\u00e9\ud83d\ude00\n""#);
    }
}
