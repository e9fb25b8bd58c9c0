//! Headers come from anybody. Without the key nothing is ever verified.
#![no_main]

use bridge::webhook::{SignatureKeys, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 7] = [
    "box-signature-primary",
    "box-signature-secondary",
    "x-box-signature-primary",
    "box-signature-version",
    "box-signature-algorithm",
    "box-delivery-timestamp",
    "box-delivery-id",
];

fuzz_target!(|delivery: (Vec<(u8, Vec<u8>)>, Vec<u8>, i64)| {
    let (values, body, now) = delivery;
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        let name = NAMES[usize::from(name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let keys = SignatureKeys::new(
        Some("a key".to_owned().into()),
        Some("another".to_owned().into()),
    );
    let verifier = Verifier::new(keys.expect("both keys have characters"));
    let now = jiff::Timestamp::from_second(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    assert!(verifier.verify(&headers, body.into(), now).is_err());
});
