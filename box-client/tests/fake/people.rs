use serde_json::{Value, json};

use crate::support::Session;

#[tokio::test]
async fn users_are_found_by_the_start_of_their_name_or_login() {
    let session = Session::start().await;
    session.fake.create_user("Ann Lee", "ann@example.com");
    for (term, found) in [("an", 1), ("ANN@", 1), ("lee", 0), ("", 3)] {
        let list = session
            .get(&format!("2.0/users?filter_term={term}"))
            .await
            .json();
        assert_eq!(list["total_count"], found, "{term}");
    }
    let ann = json!({ "name": "Ann", "login": "Ann@Example.com" });
    let taken = session.post("2.0/users", ann).await;
    taken.refused(409, "user_login_already_used");
    let nobody = session.post("2.0/users", json!({ "name": "Ann" })).await;
    nobody.refused(400, "bad_request");
    let app = json!({ "name": "Robot", "is_platform_access_only": true });
    assert_eq!(session.post("2.0/users", app).await.status, 201);
}

#[tokio::test]
async fn who_owns_something_is_deleted_by_force_only() {
    let session = Session::start().await;
    session.fake.create_folder("0", "Mine").unwrap();
    let kept = session.delete("2.0/users/33333").await;
    kept.refused(400, "user_has_content");
    assert_eq!(
        session.delete("2.0/users/33333?force=true").await.status,
        204
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_the_last_has_no_marker() {
    let session = Session::start().await;
    for n in 0..5 {
        session
            .fake
            .create_user(&format!("U{n}"), &format!("u{n}@example.com"));
    }
    let (mut marker, mut seen) = (String::new(), Vec::new());
    loop {
        let path = format!("2.0/users?usemarker=true&limit=3&marker={marker}");
        let page = session.get(&path).await.json();
        seen.extend(page["entries"].as_array().unwrap().clone());
        match page.get("next_marker").and_then(Value::as_str) {
            Some(next) => marker = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    let too_many = session.get("2.0/users?limit=1001").await;
    too_many.refused(400, "bad_request");
}

#[tokio::test]
async fn what_box_refuses_of_a_query_is_refused_in_its_words() {
    let session = Session::start().await;
    let fields = json!([{ "type": "string", "key": "id", "displayName": "Id" }]);
    session.fake.create_template("mapping", fields).unwrap();
    let query = |from: &str, more: Value| {
        let mut body = json!({ "from": from, "ancestor_folder_id": "0" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        session.post("2.0/metadata_queries/execute_read", body)
    };
    let full = "enterprise_12345.mapping";
    for (got, status, code) in [
        (
            query("enterprise.mapping", json!({})),
            404,
            "instance_not_found",
        ),
        (query("global.properties", json!({})), 400, "invalid_query"),
        (
            query(full, json!({ "ancestor_folder_id": null })),
            400,
            "bad_request",
        ),
        (
            query(full, json!({ "query": "id = :x" })),
            400,
            "unexpected_json_type",
        ),
        (
            query(full, json!({ "query": "id ~ 'x'" })),
            400,
            "invalid_query",
        ),
        (query(full, json!({ "limit": 101 })), 400, "bad_request"),
    ] {
        got.await.metadata_refused(status, code);
    }
    assert_eq!(
        query(full, json!({ "query": "id ILIKE '%X%'" }))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_host_of_long_polls_takes_no_token() {
    let session = Session::start().await;
    let got = session
        .request("OPTIONS", "2.0/events")
        .send()
        .await
        .unwrap();
    let got: Value = serde_json::from_slice(&got.bytes().await.unwrap()).unwrap();
    let url = got["entries"][0]["url"].as_str().unwrap();
    session.fake.create_folder("0", "News").unwrap();
    let url = format!("{url}&stream_position=1");
    let with_token = session
        .http
        .get(&url)
        .bearer_auth(&session.token)
        .send()
        .await;
    assert_eq!(with_token.unwrap().status(), 400);
    let got = session
        .http
        .get(&url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let got: Value = serde_json::from_slice(&got).unwrap();
    assert_eq!(got["message"], "new_change");
}

#[tokio::test]
async fn a_move_is_one_event_in_each_stream() {
    let session = Session::start().await;
    let (from, to) = (
        session.fake.create_folder("0", "From").unwrap(),
        session.fake.create_folder("0", "To").unwrap(),
    );
    let file = session.fake.upload(&from, "a", "x").unwrap().file_id;
    let start = session.get("2.0/events?stream_position=now").await.json();
    let start = start["next_stream_position"].as_u64().unwrap();
    let parent = json!({ "parent": { "id": to } });
    session.put(&format!("2.0/files/{file}"), parent).await;
    for (stream, event_type) in [("changes", "ITEM_MOVE"), ("admin_logs_streaming", "MOVE")] {
        let path = format!("2.0/events?stream_type={stream}&stream_position={start}");
        let events = session.get(&path).await.json();
        let types: Vec<_> = events["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["event_type"])
            .collect();
        assert_eq!(types, [event_type]);
    }
    let odd = session.get("2.0/events?stream_position=yesterday").await;
    odd.refused(400, "bad_request");
    let odd = session.get("2.0/events?stream_type=other").await;
    odd.refused(400, "bad_request");
}

#[tokio::test]
async fn what_a_group_is_for_is_told_on_request_only() {
    let session = Session::start().await;
    let group = json!({ "name": "Sales", "description": "who sells" });
    let group = session.post("2.0/groups", group).await.json();
    assert!(group.get("description").is_none());
    let path = format!("2.0/groups/{}", group["id"].as_str().unwrap());
    let asked = format!("{path}?fields=description");
    assert_eq!(session.get(&asked).await.json()["description"], "who sells");
    let about = json!({ "description": "who sold" });
    assert_eq!(
        session.put(&asked, about).await.json()["description"],
        "who sold"
    );
    let level = json!({ "invitability_level": "everybody" });
    session.put(&path, level).await.refused(400, "bad_request");
    let nameless = session.put(&path, json!({ "name": "" })).await;
    nameless.refused(400, "bad_request");
}

#[tokio::test]
async fn only_a_group_that_exists_is_invited() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    let body = json!({
        "item": { "type": "folder", "id": folder },
        "accessible_by": { "type": "group", "id": "1" },
        "role": "editor",
    });
    let refused = session.post("2.0/collaborations", body).await;
    refused.refused(404, "not_found");
}

#[tokio::test]
async fn what_people_do_is_in_the_state() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "x").unwrap().file_id;
    let item = json!({ "type": "file", "id": file });
    let comment = json!({ "item": item, "message": "hello" });
    assert_eq!(session.post("2.0/comments", comment).await.status, 201);
    let task = json!({ "item": item, "message": "look" });
    assert_eq!(session.post("2.0/tasks", task).await.status, 201);
    let group = json!({ "name": "Sales" });
    assert_eq!(session.post("2.0/groups", group).await.status, 201);
    let state = session.fake.state();
    for (kind, pointer, value) in [
        ("comments", "/0/message", "hello"),
        ("tasks", "/0/message", "look"),
        ("groups", "/0/name", "Sales"),
    ] {
        assert_eq!(state[kind].pointer(pointer).unwrap(), value);
    }
}
