//! Files and folders: what is asked, and what is read.

use box_client::{ErrorKind, FileId, FileVersion, FolderId};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use wiremock::Request;

use crate::vendor::{TOKEN, Vendor, error, file, header, reply};

fn id() -> FileId {
    FileId::new("777").unwrap()
}

fn parameter(request: &Request, name: &str) -> Option<String> {
    let mut query = request.url.query_pairs();
    query.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

#[tokio::test]
async fn a_file_is_read_as_box_documents_it() {
    let vendor = Vendor::start().await;
    let body = json!({
        "type": "file", "id": "777", "sequence_id": "0", "etag": "1", "name": "NDA – final.pdf",
        "sha1": "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", "size": 48213, "description": "",
        "file_version": { "type": "file_version", "id": "888", "sha1": "a94a" },
        "path_collection": { "total_count": 2, "entries": [
            { "type": "folder", "id": "0", "sequence_id": null, "etag": null, "name": "All Files" },
            { "type": "folder", "id": "100", "sequence_id": "1", "etag": "1", "name": "Acme" },
        ]},
        "parent": { "type": "folder", "id": "100", "name": "Acme" },
        "created_at": "2026-03-01T10:10:32-08:00", "modified_at": "2026-03-01T18:10:32Z",
        "item_status": "active", "shared_link": null,
    });
    vendor
        .answers("GET", "/2.0/files/777", [reply(200, body)])
        .await;
    let file = vendor.client().files().get(&id()).send().await.unwrap();
    assert_eq!(file.name.as_deref(), Some("NDA – final.pdf"));
    assert_eq!(file.size, Some(48213));
    assert_eq!(file.created_at, file.modified_at);
    assert_eq!(file.file_version.unwrap().id.as_str(), "888");
    assert_eq!(file.path_collection.unwrap().entries[1].id.as_str(), "100");
    assert_eq!(file.parent.unwrap().id.as_str(), "100");
    assert!(file.lock.is_none());
    assert_eq!(file.extra["sequence_id"], "0");

    let request = vendor.request().await;
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(header(&request, "authorization"), Some(bearer.as_str()));
    assert_eq!(request.url.query(), None);
    let agent = header(&request, "user-agent").unwrap();
    assert!(agent.starts_with("box-client/"), "{agent}");
    vendor.done().await;
}

#[tokio::test]
async fn the_fields_asked_for_are_sent_and_read() {
    let vendor = Vendor::start().await;
    let body = json!({
        "type": "file", "id": 777, "etag": 3, "size": 1.5e12,
        "lock": {
            "id": "9", "type": "lock", "created_at": "2026-03-01T10:00:00Z",
            "expired_at": "2026-03-01T11:00:00Z", "is_download_prevented": true,
            "created_by": { "type": "user", "id": "33", "name": "", "login": "jo@example.com" },
        },
        "metadata": { "enterprise_12345": { "deal": { "stage": "Won" } } },
    });
    vendor
        .answers("GET", "/2.0/files/777", [reply(200, body)])
        .await;
    let client = vendor.client();
    let request = client.files().get(&id());
    let request = request.fields(["lock", "metadata.enterprise_12345.deal"]);
    let file = request.send().await.unwrap();
    assert_eq!(file.id, id());
    assert_eq!(file.etag.as_deref(), Some("3"));
    assert_eq!(file.size, Some(1_500_000_000_000));
    let lock = file.lock.unwrap();
    assert!(lock.is_download_prevented);
    assert!(lock.holds_at("2026-03-01T10:59:59Z".parse().unwrap()));
    assert!(!lock.holds_at("2026-03-01T11:00:00Z".parse().unwrap()));
    let deal = &file.extra["metadata"]["enterprise_12345"]["deal"];
    assert_eq!(deal["stage"], "Won");
    let fields = parameter(&vendor.request().await, "fields");
    assert_eq!(
        fields.as_deref(),
        Some("lock,metadata.enterprise_12345.deal")
    );
    vendor.done().await;
}

#[tokio::test]
async fn a_file_in_the_trash_says_so() {
    let vendor = Vendor::start().await;
    let trashed = error(404, "trashed");
    vendor.answers("GET", "/2.0/files/777", [trashed]).await;
    let failure = vendor.client().files().get(&id()).send().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::NotFound);
    assert_eq!(failure.api().unwrap().code(), Some("trashed"));
    vendor.done().await;
}

#[tokio::test]
async fn the_root_folder_is_read_with_all_that_it_lacks() {
    let vendor = Vendor::start().await;
    let body = json!({
        "type": "folder", "id": "0", "etag": null, "name": "All Files", "parent": null,
        "path_collection": { "total_count": 0, "entries": [] },
        "created_at": null, "modified_at": null, "item_status": "active",
    });
    vendor
        .answers("GET", "/2.0/folders/0", [reply(200, body)])
        .await;
    let client = vendor.client();
    let request = client.folders().get(&FolderId::root());
    let folder = request.send().await.unwrap();
    assert_eq!(folder.id, FolderId::root());
    assert_eq!((folder.etag, folder.parent), (None, None));
    let fields = parameter(&vendor.request().await, "fields").unwrap();
    assert!(fields.contains("path_collection") && !fields.contains("item_collection"));
    vendor.done().await;
}

fn page(offset: u64, total: u64, limit: u64, ids: &[&str]) -> Value {
    let entries: Vec<_> = ids
        .iter()
        .map(|id| json!({ "type": "file_version", "id": id, "sha1": "a94a", "size": 4 }))
        .collect();
    json!({ "total_count": total, "limit": limit, "offset": offset, "entries": entries })
}

#[tokio::test]
async fn versions_go_on_by_the_limit_that_box_answers_with() {
    let vendor = Vendor::start().await;
    // An empty page in the middle: entries can be hidden, limit and total count all the same.
    let answers = [
        reply(200, page(0, 5, 2, &["9", "8"])),
        reply(200, page(2, 5, 2, &[])),
        reply(200, page(4, 5, 2, &["5"])),
    ];
    vendor
        .answers("GET", "/2.0/files/777/versions", answers)
        .await;
    let client = vendor.client();
    let found: Vec<FileVersion> = client.files().versions(&id()).try_collect().await.unwrap();
    let ids: Vec<_> = found.iter().map(|version| version.id.as_str()).collect();
    assert_eq!(ids, ["9", "8", "5"]);
    let requests = vendor.requests().await;
    let offsets: Vec<_> = requests
        .iter()
        .filter_map(|request| parameter(request, "offset"))
        .collect();
    assert_eq!(offsets, ["0", "2", "4"]);
    vendor.done().await;
}

#[tokio::test]
async fn versions_end_after_an_error() {
    let vendor = Vendor::start().await;
    let answers = [reply(200, page(0, 2, 1, &["9"])), error(403, "forbidden")];
    vendor
        .answers("GET", "/2.0/files/777/versions", answers)
        .await;
    let client = vendor.client();
    let mut found = std::pin::pin!(client.files().versions(&id()));
    assert_eq!(found.try_next().await.unwrap().unwrap().id.as_str(), "9");
    let failure = found.try_next().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Forbidden);
    assert!(found.try_next().await.unwrap().is_none());
    vendor.done().await;
}

#[tokio::test]
async fn one_client_serves_many_tasks() {
    let vendor = Vendor::start().await;
    let answers = (0..8).map(|_| reply(200, file()));
    vendor.answers("GET", "/2.0/files/777", answers).await;
    let client = vendor.client();
    let calls = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.files().get(&id()).send().await })
    });
    for call in futures_util::future::join_all(calls).await {
        call.unwrap().unwrap();
    }
    vendor.done().await;
}
