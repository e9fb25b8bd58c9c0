use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bridge::webhook::{
    Event, SignatureKeys, Source, Trigger, TriggerError, Verified, Verifier, VerifyError, WhichKey,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use proptest::prelude::*;

/// Known answers from the tests of Box's own SDKs.
const SENT: &str = "2020-01-01T00:00:00-07:00";
const BODY: &str = r#"{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}"#;
const PRIMARY: &str = "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=";
const SECONDARY: &str = "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=";
const OTHERS: [(&str, &str); 3] = [
    (
        "eyJ3ZWJob29rIjp7ImlkIjoiMTIzNDU2Nzg5MCJ9LCJ0cmlnZ2VyIjoiRklMRS5VUExPQURFRCIsInNvdXJjZSI6eyJpZCI6IjEyMzQ1Njc4OTAiLCJ0eXBlIjoiZmlsZSIsIm5hbWUiOiJcdTMwYjlcdTMwYWZcdTMwZWFcdTMwZmNcdTMwZjNcdTMwYjdcdTMwZTdcdTMwYzNcdTMwYzggMjAyMC0wOC0wNS50eHQifX0=",
        "LV2uCu+5NJtIHrCXDYgZ0v/PP5THGRuegw3RtdnEyuE=",
    ),
    (
        "eyJ3ZWJob29rIjp7ImlkIjoiMTIzNDU2Nzg5MCJ9LCJ0cmlnZ2VyIjoiRklMRS5VUExPQURFRCIsInNvdXJjZSI6eyJpZCI6IjEyMzQ1Njc4OTAiLCJ0eXBlIjoiZmlsZSIsIm5hbWUiOiJcLyJ9fQ==",
        "t41PWT5ZB6OcysnD6SDy9Ud+p9hdXxIdXqcdweyZv/Q=",
    ),
    (
        "eyJ3ZWJob29rIjp7ImlkIjoiMTIzNDU2Nzg5MCJ9LCJ0cmlnZ2VyIjoiRklMRS5VUExPQURFRCIsInNvdXJjZSI6eyJpZCI6IjEyMzQ1Njc4OTAiLCJ0eXBlIjoiZmlsZSIsIm5hbWUiOiJ0ZXN0IFxyIn19",
        "SVkbKgy3dEEf2PbbzpNu2lDZS7zZ/aboU7HOZgBGrJk=",
    ),
];

fn verifier(primary: Option<&str>, secondary: Option<&str>) -> Verifier {
    let key = |key: &str| key.to_owned().into();
    Verifier::new(SignatureKeys::new(primary.map(key), secondary.map(key)).unwrap())
}

fn both() -> Verifier {
    verifier(Some("SamplePrimaryKey"), Some("SampleSecondaryKey"))
}

fn headers(changes: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let usual = [
        ("box-signature-version", "1"),
        ("box-signature-algorithm", "HmacSHA256"),
        ("box-delivery-timestamp", SENT),
        ("box-delivery-id", "f96bb54b"),
        ("box-signature-primary", PRIMARY),
        ("box-signature-secondary", SECONDARY),
    ];
    for (name, value) in usual.iter().chain(changes) {
        let name = HeaderName::from_static(name);
        if value.is_empty() {
            headers.remove(name);
        } else {
            headers.insert(name, value.parse().unwrap());
        }
    }
    headers
}

fn verify(verifier: &Verifier, headers: &HeaderMap, body: &[u8]) -> Result<Verified, VerifyError> {
    verifier.verify(headers, Bytes::copy_from_slice(body), SENT.parse().unwrap())
}

#[test]
fn the_known_answers_are_right() {
    let verified = verify(&both(), &headers(&[]), BODY.as_bytes()).unwrap();
    assert_eq!(verified.key(), WhichKey::Primary);
    assert_eq!(verified.delivery_id(), Some("f96bb54b"));
    for (body, signature) in OTHERS {
        let body = STANDARD.decode(body).unwrap();
        verify(
            &both(),
            &headers(&[("box-signature-primary", signature)]),
            &body,
        )
        .unwrap();
    }
}

#[test]
fn either_key_is_enough_and_each_only_by_its_own_header() {
    let secondary_only = headers(&[("box-signature-primary", "")]);
    let verified = verify(&both(), &secondary_only, BODY.as_bytes()).unwrap();
    assert_eq!(verified.key(), WhichKey::Secondary);
    let crossed = headers(&[
        ("box-signature-primary", SECONDARY),
        ("box-signature-secondary", PRIMARY),
    ]);
    assert_eq!(
        verify(&both(), &crossed, BODY.as_bytes()).unwrap_err(),
        VerifyError::Mismatch
    );
    let rotated = verifier(Some("TheNextKey"), Some("SampleSecondaryKey"));
    verify(&rotated, &headers(&[]), BODY.as_bytes()).unwrap();
}

#[test]
fn the_older_spelling_is_understood() {
    let alias = headers(&[
        ("box-signature-primary", ""),
        ("x-box-signature-primary", PRIMARY),
    ]);
    let only = verifier(Some("SamplePrimaryKey"), None);
    verify(&only, &alias, BODY.as_bytes()).unwrap();
    let differing = headers(&[("x-box-signature-primary", SECONDARY)]);
    let error = verify(&only, &differing, BODY.as_bytes()).unwrap_err();
    assert!(matches!(error, VerifyError::AmbiguousHeader(_)), "{error}");
}

#[test]
fn each_refusal_has_its_reason() {
    let wrong = verifier(Some("IncorrectKey"), Some("IncorrectKey"));
    let error = verify(&wrong, &headers(&[]), BODY.as_bytes()).unwrap_err();
    assert_eq!(error, VerifyError::Mismatch);
    for (change, expected) in [
        (
            ("box-signature-version", "2"),
            VerifyError::UnsupportedVersion,
        ),
        (
            ("box-signature-version", ""),
            VerifyError::UnsupportedVersion,
        ),
        (
            ("box-signature-algorithm", "HmacSHA1"),
            VerifyError::UnsupportedAlgorithm,
        ),
        (
            ("box-delivery-timestamp", ""),
            VerifyError::MissingTimestamp,
        ),
        (
            ("box-delivery-timestamp", "yesterday"),
            VerifyError::MalformedTimestamp,
        ),
    ] {
        let error = verify(&both(), &headers(&[change]), BODY.as_bytes()).unwrap_err();
        assert_eq!(error, expected);
    }
    let none = headers(&[
        ("box-signature-primary", ""),
        ("box-signature-secondary", ""),
    ]);
    let error = verify(&both(), &none, BODY.as_bytes()).unwrap_err();
    assert_eq!(error, VerifyError::MissingSignature);
    let short = headers(&[
        ("box-signature-primary", "AAAA"),
        ("box-signature-secondary", "%%%"),
    ]);
    let error = verify(&both(), &short, BODY.as_bytes()).unwrap_err();
    assert_eq!(error, VerifyError::MalformedSignature);
}

#[test]
fn age_counts_in_both_directions() {
    let at = |text: &str, verifier: Verifier| {
        let now: Timestamp = text.parse().unwrap();
        verifier.verify(&headers(&[]), BODY.into(), now).map(drop)
    };
    let late = "2020-01-01T00:15:00-07:00";
    assert_eq!(
        at(late, both()),
        Err(VerifyError::TooOld {
            age: Duration::from_secs(900)
        })
    );
    at(late, both().max_age(Duration::from_secs(1200))).unwrap();
    at("2019-12-31T23:59:30-07:00", both()).unwrap();
    let ahead = at("2019-12-31T23:50:00-07:00", both());
    assert_eq!(
        ahead,
        Err(VerifyError::TooFarAhead {
            ahead: Duration::from_secs(600)
        })
    );
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(bit in 0..BODY.len() * 8) {
        let mut body = BODY.as_bytes().to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(&both(), &headers(&[]), &body).is_err());
    }

    #[test]
    fn any_flipped_bit_of_signature_or_timestamp_is_refused(bit in 0..44 * 8_usize, stamp: bool) {
        let text = if stamp { SENT } else { PRIMARY };
        let mut changed = text.as_bytes().to_vec();
        let at = bit % (changed.len() * 8);
        changed[at / 8] ^= 1 << (at % 8);
        let mut headers = headers(&[("box-signature-secondary", "")]);
        let name = if stamp { "box-delivery-timestamp" } else { "box-signature-primary" };
        if let Ok(value) = http::HeaderValue::from_bytes(&changed) {
            headers.insert(name, value);
            prop_assert!(verify(&both(), &headers, BODY.as_bytes()).is_err());
        }
    }

    #[test]
    fn no_bytes_are_too_strange_for_the_parser(bytes: Vec<u8>) {
        let _ = Event::parse(&bytes);
    }
}

#[test]
fn every_shape_of_source_and_info_is_read() {
    let event = |source: &str, info: &str| {
        Event::parse(
            format!(
                r#"{{"type":"webhook_event","id":"e","trigger":"X.Y","webhook":{{"id":7}},"new":1
                ,"source":{source},"additional_info":{info}}}"#
            )
            .as_bytes(),
        )
        .unwrap()
    };
    let stub = event(r#"{"id":"1","type":"file"}"#, "[]");
    assert!(matches!(&stub.source, Source::File(file) if file.name.is_none()));
    assert_eq!(stub.ordering_key(), "box-file/1");
    let pending = event(r#"{"type":"collaboration","id":"5","item":null}"#, "null");
    assert_eq!(pending.ordering_key(), "box-collaboration/5");
    let accepted = event(
        r#"{"type":"collaboration","id":"5","item":{"type":"folder","id":"9"}}"#,
        "{}",
    );
    assert_eq!(accepted.ordering_key(), "box-folder/9");
    let moved = event(r#"{"id":"2","type":"folder"}"#, r#"{"after":{"id":"3"}}"#);
    assert_eq!(moved.additional_info.0["after"]["id"], "3");
    let strange = event(r#"{"type":"hologram","id":4,"size":1e30}"#, "[1]");
    assert_eq!(strange.source.id(), Some("4"));
    assert_eq!(event("null", "[]").source, Source::None);
    let big = event(r#"{"id":"1","type":"file","size":1.2e3,"etag":3}"#, "[]");
    assert!(matches!(&big.source, Source::File(file) if file.size == Some(1200)));
}

#[test]
fn what_is_no_event_says_why() {
    for (body, says) in [
        (&b"{"[..], "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "not a JSON object"),
        (br#"{"trigger":"X"}"#, "there is no"),
        (br#"{"id":"","trigger":"X"}"#, ""),
    ] {
        let error = Event::parse(body).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let long = format!(r#"{{"id":"{}","trigger":"X"}}"#, "9".repeat(1000));
    Event::parse(long.as_bytes()).unwrap_err();
    let deep = format!(
        r#"{{"id":"1","trigger":"X","source":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    Event::parse(deep.as_bytes()).unwrap_err();
}

#[test]
fn the_trigger_that_never_was_is_refused_with_the_real_ones() {
    let error = Trigger::for_registration("FILE.VERSION.RESTORED").unwrap_err();
    assert_eq!(error, TriggerError::NoVersionTrigger);
    assert!(error.to_string().contains("FILE.UPLOADED"));
    assert!(Trigger::for_registration("FILE.UPLOADED").is_ok());
    assert!(Trigger::for_registration("FILE.EATEN").is_err());
}
