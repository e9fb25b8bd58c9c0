use std::collections::BTreeSet;

use box_client::testing::FakeBox;
use serde_json::{Value, json};

use crate::support::{Session, send};

#[tokio::test]
async fn a_folder_shows_its_path_from_the_root_without_itself() {
    let session = Session::start().await;
    let acme = session.fake.create_folder("0", "Acme").unwrap();
    let body = json!({ "name": "Contracts", "parent": { "id": acme } });
    let got = session.post("2.0/folders", body).await;
    assert_eq!(got.status, 201);
    let folder = session
        .get(&format!("2.0/folders/{}", got.text("/id")))
        .await
        .json();
    let path = folder["path_collection"]["entries"].as_array().unwrap();
    let names: Vec<_> = path
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["All Files", "Acme"]);
    assert_eq!(path[0]["id"], "0");
    assert_eq!(
        (&path[0]["etag"], &path[0]["sequence_id"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(folder["path_collection"]["total_count"], 2);
    assert_eq!(folder["item_collection"]["total_count"], 0);
    assert!(folder["id"].is_string() && folder["etag"].is_string());
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_whatever_its_case_and_names_the_item_in_a_list() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Acme").unwrap();
    let file = session.fake.upload("0", "Report", "x").unwrap();
    for (name, kind, id) in [
        ("aCME", "folder", &folder),
        ("report", "file", &file.file_id),
    ] {
        let body = json!({ "name": name, "parent": { "id": "0" } });
        let error = session
            .post("2.0/folders", body)
            .await
            .refused(409, "item_name_in_use");
        let conflicts = error["context_info"]["conflicts"].as_array().unwrap();
        assert_eq!(
            (&conflicts[0]["type"], &conflicts[0]["id"]),
            (&json!(kind), &json!(id))
        );
    }
}

#[tokio::test]
async fn names_and_parents_are_checked() {
    let session = Session::start().await;
    for (name, code) in [
        ("a/b", "item_name_invalid"),
        ("a\\b", "item_name_invalid"),
        ("a ", "item_name_invalid"),
        ("..", "item_name_invalid"),
        ("", "item_name_invalid"),
        (&"x".repeat(256), "item_name_too_long"),
    ] {
        let body = json!({ "name": name, "parent": { "id": "0" } });
        session.post("2.0/folders", body).await.refused(400, code);
    }
    let body = json!({ "name": "a", "parent": { "id": "9" } });
    session
        .post("2.0/folders", body)
        .await
        .refused(404, "not_found");
    session
        .post("2.0/folders", json!({ "name": "a" }))
        .await
        .refused(400, "bad_request");
    let garbage = session.request("POST", "2.0/folders").body("{");
    send(garbage).await.refused(400, "bad_request");
}

#[tokio::test]
async fn only_an_empty_folder_goes_without_being_asked_twice() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Acme").unwrap();
    let file = session.fake.upload(&folder, "a.txt", "x").unwrap();
    let path = format!("2.0/folders/{folder}");
    session.delete(&path).await.refused(400, "folder_not_empty");
    assert_eq!(
        session
            .delete(&format!("{path}?recursive=true"))
            .await
            .status,
        204
    );
    session.get(&path).await.refused(404, "trashed");
    session
        .get(&format!("2.0/files/{}", file.file_id))
        .await
        .refused(404, "trashed");
    // The name is free again.
    assert!(session.fake.create_folder("0", "acme").is_ok());
    let root = session.delete("2.0/folders/0?recursive=true").await;
    root.refused(403, "access_denied_insufficient_permissions");
}

#[tokio::test]
async fn a_folder_moves_but_not_into_itself() {
    let session = Session::start().await;
    let outer = session.fake.create_folder("0", "Outer").unwrap();
    let inner = session.fake.create_folder(&outer, "Inner").unwrap();
    let into = |id: &str| json!({ "parent": { "id": id } });
    let path = format!("2.0/folders/{outer}");
    session
        .put(&path, into(&inner))
        .await
        .refused(400, "cyclical_folder_structure");
    session
        .put(&path, into(&outer))
        .await
        .refused(400, "cyclical_folder_structure");
    let got = session
        .put(&format!("2.0/folders/{inner}"), into("0"))
        .await;
    assert_eq!((got.status, got.text("/parent/id")), (200, "0".to_owned()));
    let clash = session
        .put(&format!("2.0/folders/{inner}"), json!({ "name": "OUTER" }))
        .await;
    let error = clash.refused(409, "item_name_in_use");
    assert!(error["context_info"]["conflicts"].is_array());
}

async fn page_through(session: &Session, query: &str) -> Vec<String> {
    let (mut names, mut marker) = (Vec::new(), String::new());
    loop {
        let path = format!("2.0/folders/0/items?usemarker=true&limit=3&{query}&marker={marker}");
        let page = session.get(&path).await.json();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 3);
        names.extend(
            entries
                .iter()
                .map(|entry| entry["name"].as_str().unwrap().to_owned()),
        );
        match page["next_marker"].as_str().unwrap_or_default() {
            "" => return names,
            next => next.clone_into(&mut marker),
        }
    }
}

#[tokio::test]
async fn markers_give_every_item_once_folders_first() {
    let session = Session::start().await;
    for n in 0..5 {
        session.fake.upload("0", &format!("file {n}"), "x").unwrap();
        session
            .fake
            .create_folder("0", &format!("folder {n}"))
            .unwrap();
    }
    let names = page_through(&session, "fields=name").await;
    assert_eq!(names.len(), 10);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 10);
    assert!(names[..5].iter().all(|name| name.starts_with("folder")));
    // A list whose length is a multiple of the page's ends without an empty page.
    session.fake.upload("0", "a", "x").unwrap();
    session.fake.upload("0", "b", "x").unwrap();
    assert_eq!(page_through(&session, "").await.len(), 12);
}

#[tokio::test]
async fn offsets_count_and_have_their_limits() {
    let session = Session::start().await;
    for n in 0..4 {
        session.fake.create_folder("0", &format!("f{n}")).unwrap();
    }
    let page = session
        .get("2.0/folders/0/items?limit=2&offset=3")
        .await
        .json();
    assert_eq!(page["total_count"], 4);
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    assert_eq!((&page["limit"], &page["offset"]), (&json!(2), &json!(3)));
    for query in [
        "limit=1001",
        "offset=10001",
        "limit=x",
        "sort=colour",
        "usemarker=true&marker=nonsense",
        "usemarker=true&sort=date",
    ] {
        session
            .get(&format!("2.0/folders/0/items?{query}"))
            .await
            .refused(400, "bad_request");
    }
    let page = session
        .get("2.0/folders/0/items?sort=name&direction=DESC")
        .await
        .json();
    assert_eq!(page["entries"][0]["name"], "f3");
}

#[tokio::test]
async fn fields_leave_the_mini_folder_and_what_is_named() {
    let session = Session::with(FakeBox::builder().enterprise_id("7")).await;
    let folder = session.fake.create_folder("0", "Acme").unwrap();
    let field = json!([{ "type": "string", "key": "deal", "displayName": "Deal" }]);
    session.fake.create_template("mapping", field).unwrap();
    session
        .fake
        .apply_metadata(&folder, "mapping", json!({ "deal": "006" }))
        .unwrap();
    let path = format!("2.0/folders/{folder}?fields=parent,metadata.enterprise_7.mapping");
    let shown = session.get(&path).await.json();
    let members: BTreeSet<_> = shown
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "etag",
        "id",
        "metadata",
        "name",
        "parent",
        "sequence_id",
        "type",
    ];
    assert_eq!(members, BTreeSet::from(expected));
    assert_eq!(shown["metadata"]["enterprise_7"]["mapping"]["deal"], "006");
}
