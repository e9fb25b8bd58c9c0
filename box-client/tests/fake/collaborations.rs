use box_client::testing::FakeBox;
use serde_json::{Value, json};

use crate::support::Session;

fn invite(item: &str, login: &str) -> Value {
    json!({
        "item": { "type": "folder", "id": item },
        "accessible_by": { "type": "user", "login": login },
        "role": "editor",
    })
}

#[tokio::test]
async fn colleagues_are_in_at_once_and_others_are_pending_without_an_item() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Acme").unwrap();
    let got = session
        .post("2.0/collaborations", invite(&folder, "jo@example.com"))
        .await;
    assert_eq!(
        (got.status, got.text("/status")),
        (201, "accepted".to_owned())
    );
    assert_eq!(got.text("/item/id"), folder);
    let got = session
        .post(
            "2.0/collaborations",
            invite(&folder, "buyer@customer.example"),
        )
        .await;
    assert_eq!(got.text("/status"), "pending");
    assert_eq!(got.text("/invite_email"), "buyer@customer.example");
    assert!(got.json()["item"].is_null());
    let id = got.text("/id");
    session.fake.accept_collaboration(&id).unwrap();
    let got = session.get(&format!("2.0/collaborations/{id}")).await;
    assert_eq!(
        (got.text("/status"), got.text("/item/id")),
        ("accepted".to_owned(), folder.clone())
    );
    let list = session
        .get(&format!("2.0/folders/{folder}/collaborations"))
        .await
        .json();
    assert_eq!(list["entries"].as_array().unwrap().len(), 2);
    assert_eq!(
        session
            .delete(&format!("2.0/collaborations/{id}"))
            .await
            .status,
        204
    );
    session
        .get(&format!("2.0/collaborations/{id}"))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn what_box_refuses_of_a_collaboration_is_refused() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Acme").unwrap();
    for login in ["jo@example.com", "buyer@customer.example"] {
        assert_eq!(
            session
                .post("2.0/collaborations", invite(&folder, login))
                .await
                .status,
            201
        );
        let again = invite(&folder, &login.to_uppercase());
        session
            .post("2.0/collaborations", again)
            .await
            .refused(400, "user_already_collaborator");
    }
    let root = session
        .post("2.0/collaborations", invite("0", "x@example.com"))
        .await;
    root.refused(400, "collaborations_not_available_on_root_folder");
    session
        .post("2.0/collaborations", invite("9", "x@example.com"))
        .await
        .refused(404, "not_found");
    let mut role = invite(&folder, "x@example.com");
    role["role"] = json!("owner");
    session
        .post("2.0/collaborations", role)
        .await
        .refused(400, "bad_request");
}

#[tokio::test]
async fn deliveries_tell_the_item_of_a_pending_one_or_not() {
    for tell in [true, false] {
        let builder = FakeBox::builder()
            .auto_deliver(false)
            .pending_collaboration_item(tell);
        let session = Session::with(builder).await;
        let folder = session.fake.create_folder("0", "Acme").unwrap();
        let triggers = ["COLLABORATION.CREATED", "COLLABORATION.ACCEPTED"];
        session
            .fake
            .create_webhook(&folder, "http://127.0.0.1:9", &triggers)
            .unwrap();
        let id = session
            .fake
            .collaborate(&folder, "buyer@customer.example", "viewer")
            .unwrap();
        session.fake.accept_collaboration(&id).unwrap();
        let events = session.fake.events();
        let bodies: Vec<Value> = events
            .iter()
            .map(|event| serde_json::from_slice(&event.body).unwrap())
            .collect();
        assert_eq!(bodies[0]["trigger"], "COLLABORATION.CREATED");
        assert_eq!(bodies[0]["source"]["item"].is_null(), !tell);
        assert_eq!(bodies[1]["trigger"], "COLLABORATION.ACCEPTED");
        assert_eq!(bodies[1]["source"]["item"]["id"], json!(folder));
        assert_eq!(
            bodies[1]["source"]["accessible_by"]["login"],
            "buyer@customer.example"
        );
    }
}
