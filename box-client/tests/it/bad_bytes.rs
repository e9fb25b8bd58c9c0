//! No bytes from outside make the client panic or wait for ever.

use std::time::Duration;

use box_client::{BoxClient, DeveloperToken, FileId, FolderId, RetryPolicy, SharedLinkAccess};
use futures_util::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::timeout;

use crate::wire::{Then, Turn, Wire};

fn client_of(wire: &Wire) -> BoxClient {
    let retry = RetryPolicy::default()
        .max_attempts(2)
        .delays(Duration::from_millis(1), Duration::from_millis(1))
        .deadline(Duration::from_secs(5));
    BoxClient::builder(DeveloperToken::new("token"))
        .base_url(&wire.uri())
        .idle_timeout(Duration::from_millis(500))
        .retry(retry)
        .build()
        .unwrap()
}

/// Gives every call the same answer and lets each have its try.
fn survive(turn: impl Fn() -> Turn) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let wire = Wire::start((0..64).map(|_| turn())).await.leading_astray();
        let client = client_of(&wire);
        let id = FileId::new("777").unwrap();
        client.files().get(&id).send().await.ok();
        let versions = client.files().versions(&id).try_collect::<Vec<_>>();
        versions.await.ok();
        let root = FolderId::root();
        client.metadata().on_folder(&root, "global", "x").await.ok();
        client.metadata().list(&root).await.ok();
        let found = client.search().query("x").stream();
        found.try_collect::<Vec<_>>().await.ok();
        let logs = client.events().admin_logs().stream();
        logs.try_collect::<Vec<_>>().await.ok();
        for (first, last) in [(0, u64::MAX), (3, 5)] {
            let request = client.files().download(&id).range(first, last);
            if let Ok(download) = request.send().await {
                download.bytes(1 << 20).await.ok();
            }
        }
        let request = client.files().download(&id).expect_sha1("");
        if let Ok(download) = request.send().await {
            download.bytes(1 << 20).await.ok();
        }
    });
}

/// The same for what writes.
fn survive_writing(turn: impl Fn() -> Turn) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let wire = Wire::start((0..64).map(|_| turn())).await.leading_astray();
        let client = client_of(&wire);
        let (root, files, folders) = (FolderId::root(), client.files(), client.folders());
        let upload = |name: &str| files.upload(&root, name, "bytes");
        upload("a").send().await.ok();
        upload("b").or_new_version().send().await.ok();
        let parts = upload("c").chunked_from(0).send();
        // An answer of 202 to the commit is waited out for long.
        timeout(Duration::from_secs(1), parts).await.ok();
        let items = folders.items(&root).stream().take(100);
        items.try_collect::<Vec<_>>().await.ok();
        folders.ensure_path("/a/b").send().await.ok();
        let link = SharedLinkAccess::new("https://app.box.com/s/x");
        client.shared_links().find(&link).await.ok();
        client.shared_links().folder(&root).get().await.ok();
    });
}

fn any_status() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(200_u16),
        Just(202),
        Just(204),
        Just(206),
        Just(302),
        Just(304),
        Just(401),
        Just(404),
        Just(409),
        Just(416),
        Just(429),
        Just(503),
        200_u16..600
    ]
}

/// A number, a word or noise.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,30}",
        any::<u64>().prop_map(|number| number.to_string()),
        Just("18446744073709551616".to_owned()),
        Just("Mon, 01 Mar 9999 09:00:00 GMT".to_owned()),
        Just("0".to_owned()),
    ]
}

fn any_header() -> impl Strategy<Value = String> {
    let number = || prop_oneof![0_u64..20, Just(u64::MAX), Just(u64::MAX - 1)];
    prop_oneof![
        any_value().prop_map(|value| format!("retry-after: {value}\r\n")),
        any_value().prop_map(|value| format!("location: {value}\r\n")),
        any_value().prop_map(|value| format!("content-range: {value}\r\n")),
        any_value().prop_map(|value| format!("box-request-id: {value}\r\n")),
        any_value().prop_map(|value| format!("www-authenticate: Bearer error={value}\r\n")),
        any_value().prop_map(|value| format!("www-authenticate: Bearer error=\"{value}\r\n")),
        (number(), number(), number())
            .prop_map(|(a, b, c)| format!("content-range: bytes {a}-{b}/{c}\r\n")),
        number().prop_map(|length| format!("content-length: {length}\r\n")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_status_headers_and_body(
        status in any_status(),
        headers in prop::collection::vec(any_header(), 0..4),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let status = format!("{status} X");
        survive(|| Turn::partial(&status, &headers.concat(), &body));
    }

    #[test]
    fn any_json(
        status in any_status(),
        code in any_value(),
        body in "[\\[\\]{}:,\"0-9a-z]{0,40}",
    ) {
        let whole = format!(
            r#"{{"id":{body},"code":"{code}","total_count":9,"limit":{body},"entries":[{body}]}}"#
        );
        let status = format!("{status} X");
        survive(|| Turn::answer(&status, "", whole.as_bytes()));
        survive(|| Turn::answer(&status, "", body.as_bytes()));
    }

    #[test]
    fn bytes_that_are_no_http(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survive(|| Turn::new(bytes.clone(), Then::Close));
        survive(|| Turn::new([b"HTTP/1.1 200 OK\r\n".as_slice(), &bytes].concat(), Then::Close));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_json_to_what_writes(
        status in any_status(),
        code in any_value(),
        body in "[\\[\\]{}:,\"0-9a-z]{0,40}",
        part_size in prop_oneof![0_u64..9, Just(u64::MAX), Just(1 << 29)],
        offset in prop_oneof![0_u64..9, Just(u64::MAX)],
        kind in prop::sample::select(vec!["file", "folder", "web_link", ""]),
    ) {
        let item = json!({
            "type": kind, "id": "777", "name": "a", "size": offset,
            "part_id": code, "offset": offset, "sha1": body,
        });
        let whole = json!({
            "id": "777", "type": kind, "code": "item_name_in_use", "part_size": part_size,
            "part": item, "entries": [item], "context_info": { "conflicts": item },
            "next_marker": code, "shared_link": { "url": body },
        });
        let status = format!("{status} X");
        survive_writing(|| Turn::answer(&status, "", whole.to_string().as_bytes()));
    }
}
