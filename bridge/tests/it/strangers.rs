//! What somebody can make the receiver do who knows no key.

use std::{sync::Arc, time::Duration};

use bridge::{
    Receiver, Refusal,
    store::memory::MemoryStore,
    webhook::{SignatureKeys, Verifier, VerifyError},
};
use http::HeaderMap;
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const SIGNATURE: &str = "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=";

fn receiver() -> Receiver {
    let keys = SignatureKeys::new(Some("key".to_owned().into()), None).unwrap();
    Receiver::new(Verifier::new(keys), Arc::new(MemoryStore::new()))
}

fn headers(sent_at: Timestamp) -> Vec<(&'static str, String)> {
    vec![
        ("box-signature-primary", SIGNATURE.to_owned()),
        ("box-signature-version", "1".to_owned()),
        ("box-signature-algorithm", "HmacSHA256".to_owned()),
        ("box-delivery-timestamp", sent_at.to_string()),
    ]
}

fn map(headers: &[(&'static str, String)]) -> HeaderMap {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<HeaderMap>()
}

#[test]
fn the_headers_alone_tell_what_is_not_worth_reading() {
    let (receiver, now) = (receiver(), Timestamp::now());
    let good = headers(now);
    receiver.look(&map(&good), now).unwrap();
    for missing in 0..good.len() {
        let mut some = good.clone();
        some.remove(missing);
        let refusal = receiver.look(&map(&some), now).unwrap_err();
        assert!(matches!(refusal, Refusal::Unverified(_)), "{refusal}");
    }
    let hour = Duration::from_secs(3600);
    for apart in [now.checked_sub(hour), now.checked_add(hour)] {
        let refusal = receiver.look(&map(&headers(apart.unwrap())), now);
        let Err(Refusal::Unverified(reason)) = refusal else {
            panic!("{refusal:?}");
        };
        assert!(matches!(
            reason,
            VerifyError::TooOld { .. } | VerifyError::TooFarAhead { .. }
        ));
    }
}

#[tokio::test]
async fn a_body_without_the_headers_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = bridge::axum::route("/", receiver());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut connection = TcpStream::connect(address).await.unwrap();
    // The body never comes.
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = connection.read_exact(&mut answer);
    // The receiver gives a body 30 seconds.
    timeout(Duration::from_secs(20), read)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
}
