//! One delivery's signature, beside the bare HMAC: first in short turns, which is what the ratio
//! is to be taken from on a machine with other work to do, then with criterion's statistics.

#![allow(missing_docs)]

use std::{hint::black_box, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bridge::webhook::{SignatureKeys, Verifier};
use bridge_benches::{Failure, Role, contest::Contest};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use sha2::Sha256;

const KEY: &str = "a key of the length that Box gives";
const SENT_AT: &str = "2031-01-01T00:00:00-08:00";

fn main() -> Result<(), Failure> {
    let Role::Bench { is_full } = Role::of_this_process() else {
        return Err("this bench has no parts".into());
    };
    let works = [Work::new(1_536)?, Work::new(65_536)?];
    let rounds = if is_full { 400 } else { 1 };
    for work in &works {
        // About two milliseconds a turn.
        let times = 3_000_000 / work.body.len() as u64;
        let repeat = |one: &dyn Fn() -> bool| {
            let all_right = (0..times).all(|_| one());
            all_right.then_some(()).ok_or_else(|| "not verified".into())
        };
        let title = format!("deliveries of {} bytes", work.body.len());
        Contest::new(title, "delivery", times)
            .with("bare hmac and sha2 (floor)", || repeat(&|| work.bare()))
            .with("Verifier", || repeat(&|| work.ours()))
            .run(rounds)?;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let mut group = criterion.benchmark_group("verify");
    for work in &works {
        let size = work.body.len();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("bare hmac and sha2", size), |bencher| {
            bencher.iter(|| work.bare());
        });
        group.bench_function(BenchmarkId::new("Verifier", size), |bencher| {
            bencher.iter(|| work.ours());
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

struct Work {
    verifier: Verifier,
    mac: Hmac<Sha256>,
    headers: HeaderMap,
    body: Bytes,
    digest: Vec<u8>,
    now: Timestamp,
}

impl Work {
    fn new(size: usize) -> Result<Self, Failure> {
        let keys = SignatureKeys::new(Some(KEY.into()), None)?;
        let mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes())?;
        let body = Bytes::from(vec![b'x'; size]);
        let signed = mac.clone().chain_update(&body).chain_update(SENT_AT);
        let digest = signed.finalize().into_bytes().to_vec();
        Ok(Self {
            verifier: Verifier::new(keys),
            mac,
            headers: headers(&STANDARD.encode(&digest))?,
            body,
            digest,
            now: SENT_AT.parse()?,
        })
    }

    fn bare(&self) -> bool {
        let mac = self.mac.clone().chain_update(black_box(&self.body));
        mac.chain_update(SENT_AT).verify_slice(&self.digest).is_ok()
    }

    fn ours(&self) -> bool {
        let headers = black_box(&self.headers);
        self.verifier
            .verify(headers, self.body.clone(), self.now)
            .is_ok()
    }
}

/// All that Box sends with a delivery, and what a proxy adds.
fn headers(signature: &str) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "bridge.example"),
        ("user-agent", "Box-WH-Client"),
        ("accept", "*/*"),
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "1536"),
        ("x-forwarded-for", "192.0.2.7"),
        ("box-delivery-id", "f96bb54b-ee16-4fc5-aa65-8c2d9e5b546f"),
        ("box-delivery-timestamp", SENT_AT),
        ("box-signature-version", "1"),
        ("box-signature-algorithm", "HmacSHA256"),
        ("box-signature-primary", signature),
        ("box-signature-secondary", signature),
    ] {
        headers.insert(HeaderName::from_static(name), value.parse()?);
    }
    Ok(headers)
}
