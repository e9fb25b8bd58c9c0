//! A receiver where nothing runs but itself.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bridge::{
    Received, Receiver,
    store::memory::MemoryStore,
    webhook::{SignatureKeys, Verifier},
};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::Timestamp;
use sha2::Sha256;

#[test]
fn a_delivery_is_verified_and_pushed_without_any_runtime() {
    let now = Timestamp::now();
    let body = r#"{"type":"webhook_event","id":"e1","trigger":"FILE.UPLOADED",
        "source":{"type":"file","id":"7"}}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
    mac.update(body.as_bytes());
    mac.update(now.to_string().as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("box-delivery-timestamp", now.to_string()),
        ("box-signature-primary", signature),
        ("box-signature-version", "1".to_owned()),
        ("box-signature-algorithm", "HmacSHA256".to_owned()),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let keys = SignatureKeys::new(Some("key".into()), None).unwrap();
    let receiver = Receiver::new(Verifier::new(keys), Arc::new(MemoryStore::new()));
    let receive = pin!(receiver.receive(&headers, body.into(), now));
    let received = receive.poll(&mut Context::from_waker(Waker::noop()));
    assert!(
        matches!(received, Poll::Ready(Ok(Received::Accepted(_)))),
        "{received:?}"
    );
}
