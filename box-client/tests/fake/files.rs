use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Session, send};

#[tokio::test]
async fn a_file_shows_the_standard_fields_and_others_by_name_only() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "nda.pdf", "test").unwrap();
    let path = format!("2.0/files/{}", file.file_id);
    let standard = session.get(&path).await.json();
    assert_eq!(standard["sha1"], "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3");
    assert_eq!(standard["size"], 4);
    assert_eq!(standard["file_version"]["id"], json!(file.version_id));
    assert_eq!(standard["item_status"], "active");
    for absent in ["lock", "version_number", "extension", "permissions", "tags"] {
        assert!(standard.get(absent).is_none(), "{absent}");
    }
    let named = session
        .get(&format!("{path}?fields=lock,version_number,extension"))
        .await
        .json();
    let members: BTreeSet<_> = named
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "etag",
        "extension",
        "file_version",
        "id",
        "lock",
        "name",
        "sequence_id",
        "sha1",
        "type",
        "version_number",
    ];
    assert_eq!(members, BTreeSet::from(expected));
    assert_eq!(
        (&named["version_number"], &named["extension"]),
        (&json!("1"), &json!("pdf"))
    );
    assert!(named["lock"].is_null());
    // Folders and files have ids of their own.
    session.get("2.0/files/0").await.refused(404, "not_found");
    session.get("2.0/files/1").await.refused(404, "not_found");
}

#[tokio::test]
async fn etags_guard_reads_and_writes() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "x").unwrap();
    let path = format!("2.0/files/{}", file.file_id);
    let etag = session.get(&path).await.text("/etag");
    let known = session.request("GET", &path).header("if-none-match", &etag);
    let got = send(known).await;
    assert_eq!((got.status, got.body.len()), (304, 0));
    let change = || {
        session
            .request("PUT", &path)
            .json(&json!({ "description": "new" }))
    };
    assert_eq!(send(change().header("if-match", &etag)).await.status, 200);
    send(change().header("if-match", &etag))
        .await
        .refused(412, "precondition_failed");
    let stale = session.request("DELETE", &path).header("if-match", &etag);
    send(stale).await.refused(412, "precondition_failed");
    let reread = send(session.request("GET", &path).header("if-none-match", &etag)).await;
    assert_eq!(reread.status, 200);
}

#[tokio::test]
async fn a_file_is_renamed_moved_and_trashed() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    let file = session.fake.upload("0", "a", "x").unwrap();
    session.fake.upload(&folder, "taken", "x").unwrap();
    let path = format!("2.0/files/{}", file.file_id);
    let change = json!({ "name": "b", "parent": { "id": folder }, "description": "d" });
    let got = session.put(&path, change).await;
    assert_eq!(got.status, 200);
    assert_eq!(
        (got.text("/name"), got.text("/parent/id")),
        ("b".to_owned(), folder.clone())
    );
    assert_eq!(got.text("/description"), "d");
    session
        .put(&path, json!({ "name": "Taken" }))
        .await
        .refused(409, "item_name_in_use");
    session
        .put(&path, json!({ "name": "a/b" }))
        .await
        .refused(400, "item_name_invalid");
    session
        .put(&path, json!({ "parent": { "id": "9" } }))
        .await
        .refused(404, "not_found");
    let long = json!({ "description": "x".repeat(257) });
    session.put(&path, long).await.refused(400, "bad_request");
    // Nothing of what was refused has happened.
    let now = session.get(&path).await;
    assert_eq!(
        (now.text("/name"), now.text("/parent/id")),
        ("b".to_owned(), folder.clone())
    );
    assert_eq!(session.delete(&path).await.status, 204);
    session.get(&path).await.refused(404, "trashed");
    session.delete(&path).await.refused(404, "trashed");
    session
        .get(&format!("{path}/content"))
        .await
        .refused(404, "trashed");
}

#[tokio::test]
async fn somebody_elses_lock_keeps_others_from_writing() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "x").unwrap();
    let path = format!("2.0/files/{}", file.file_id);
    session.fake.lock(&file.file_id).unwrap();
    let denied = "access_denied_item_locked";
    session
        .put(&path, json!({ "name": "b" }))
        .await
        .refused(403, denied);
    session
        .put(&path, json!({ "lock": null }))
        .await
        .refused(403, denied);
    session.delete(&path).await.refused(403, denied);
    let new = session
        .upload(&format!("{}/content", file.file_id), &json!({}), b"y")
        .await;
    new.refused(403, denied);
    assert_eq!(session.get(&format!("{path}/content")).await.status, 302);
    let lock = session.get(&format!("{path}?fields=lock")).await.json()["lock"].clone();
    assert_eq!(
        (&lock["type"], &lock["created_by"]["login"]),
        (&json!("lock"), &json!("jo@example.com"))
    );
    session.fake.unlock(&file.file_id).unwrap();
    assert_eq!(session.put(&path, json!({ "name": "b" })).await.status, 200);
}

#[tokio::test]
async fn a_lock_is_set_by_either_word_and_runs_out() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "x").unwrap();
    let path = format!("2.0/files/{}?fields=lock", file.file_id);
    for word in ["access", "type"] {
        let got = session
            .put(&path, json!({ "lock": { word: "lock" } }))
            .await;
        assert_eq!(got.text("/lock/type"), "lock");
        let got = session.put(&path, json!({ "lock": null })).await;
        assert!(got.json()["lock"].is_null());
    }
    let expired = json!({ "lock": { "access": "lock", "expires_at": "2020-01-01T00:00:00Z" } });
    assert!(session.put(&path, expired).await.json()["lock"].is_null());
    session
        .put(&path, json!({ "lock": { "access": "open" } }))
        .await
        .refused(400, "bad_request");
}

#[tokio::test]
async fn a_lock_can_prevent_downloads_by_others() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "x").unwrap();
    let path = format!("2.0/files/{}", file.file_id);
    let ann = session.fake.create_user("Ann", "ann@example.com");
    let lock = json!({ "lock": { "access": "lock", "is_download_prevented": true } });
    let locked = session
        .request("PUT", &path)
        .header("as-user", &ann)
        .json(&lock);
    assert_eq!(send(locked).await.status, 200);
    session
        .get(&format!("{path}/content"))
        .await
        .refused(403, "access_denied_item_locked");
}

#[tokio::test]
async fn past_versions_are_listed_newest_first_and_can_come_back_or_go() {
    let session = Session::start().await;
    let first = session.fake.upload("0", "a", "1").unwrap();
    let file = &first.file_id;
    let second = session.fake.upload_version(file, "22").unwrap();
    let third = session.fake.upload_version(file, "333").unwrap();
    let versions = format!("2.0/files/{file}/versions");
    let list = session.get(&versions).await.json();
    let ids: Vec<_> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["id"].clone())
        .collect();
    assert_eq!(ids, [json!(second.version_id), json!(first.version_id)]);
    assert_eq!(
        (&list["total_count"], &list["entries"][0]["size"]),
        (&json!(2), &json!(2))
    );
    assert!(list["entries"][0].get("version_number").is_none());
    let page = session
        .get(&format!(
            "{versions}?limit=1&offset=1&fields=version_number"
        ))
        .await;
    assert_eq!(page.text("/entries/0/version_number"), "1");

    let current = json!({ "type": "file_version", "id": first.version_id });
    let promoted = session.post(&format!("{versions}/current"), current).await;
    assert_eq!(promoted.status, 201);
    assert_eq!(promoted.text("/sha1"), first.sha1);
    assert_ne!(promoted.text("/id"), first.version_id);
    assert_eq!(
        session
            .get(&format!("2.0/files/{file}"))
            .await
            .text("/sha1"),
        first.sha1
    );
    let unknown = json!({ "type": "file_version", "id": "1" });
    session
        .post(&format!("{versions}/current"), unknown)
        .await
        .refused(404, "not_found");

    let third_path = format!("{versions}/{}", third.version_id);
    assert_eq!(session.delete(&third_path).await.status, 204);
    session.delete(&third_path).await.refused(404, "not_found");
    let now_current = format!("{versions}/{}", promoted.text("/id"));
    session.delete(&now_current).await.refused(403, "forbidden");
    assert_eq!(session.get(&versions).await.json()["total_count"], 2);
}
