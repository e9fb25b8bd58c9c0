use bytes::Bytes;
use futures_util::stream;
use md5::{Digest, Md5};
use salesforce_client::testing::FakeSalesforce;
use serde_json::json;

use crate::support::{FORM_END, Session, form_start, send};

const PIECE: usize = 1 << 20;

/// All bytes in disorder, those of line ends among them.
fn piece() -> Bytes {
    (0..PIECE).map(|place| ((place * 31) >> 3) as u8).collect()
}

/// Sends so many mebibytes as a file; gives back its id.
async fn upload(session: &Session, mebibytes: usize) -> String {
    let start = Bytes::from(form_start(&json!({ "PathOnClient": "big.bin" })));
    let end = Bytes::from_static(FORM_END.as_bytes());
    let length = start.len() + mebibytes * PIECE + end.len();
    let pieces = std::iter::once(start)
        .chain(std::iter::repeat_n(piece(), mebibytes))
        .chain(std::iter::once(end));
    let body = stream::iter(pieces.map(Ok::<_, std::io::Error>));
    let request = session
        .form_request()
        .header("content-length", length)
        .body(reqwest::Body::wrap_stream(body));
    send(request).await.id()
}

#[tokio::test]
async fn a_file_of_any_size_leaves_its_size_and_checksum_only() {
    let session = Session::with(FakeSalesforce::builder().keep_bytes(false)).await;
    let id = upload(&session, 80).await;
    let record = session.fake.record(&id).unwrap();
    assert_eq!(record["ContentSize"], 80 << 20);
    let (piece, mut hash) = (piece(), Md5::new());
    (0..80).for_each(|_| hash.update(&piece));
    let digest = hash.finalize();
    let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(record["Checksum"], json!(checksum));
    assert_eq!(session.fake.bytes(&id), None);
}

#[tokio::test]
async fn a_file_over_the_kept_size_is_taken_without_its_bytes() {
    let session = Session::start().await;
    let kept = upload(&session, 64).await;
    assert_eq!(
        session.fake.bytes(&kept).map(|bytes| bytes.len()),
        Some(64 << 20)
    );
    let counted = upload(&session, 65).await;
    assert_eq!(session.fake.bytes(&counted), None);
    assert_eq!(
        session.fake.record(&counted).unwrap()["ContentSize"],
        65 << 20
    );
}

#[tokio::test]
#[ignore = "moves a gibibyte: run it by itself, to measure"]
async fn a_gibibyte_takes_no_memory() {
    let session = Session::with(FakeSalesforce::builder().keep_bytes(false)).await;
    let id = upload(&session, 1024).await;
    assert_eq!(
        session.fake.record(&id).unwrap()["ContentSize"],
        1_u64 << 30
    );
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kibibytes < 100 << 10, "{kibibytes} KiB at most");
    }
}
