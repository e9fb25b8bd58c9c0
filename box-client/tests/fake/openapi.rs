use std::path::Path;

use box_client::testing::{FakeBox, openapi::Spec};
use serde_json::json;

use crate::support::{Session, send};

/// Box's own document, which is too large to ship. Where tests must not be skipped it has to be
/// there.
fn document() -> Option<Spec> {
    let given = std::env::var("BOX_OPENAPI").ok();
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/box-openapi.json");
    let path = given.map_or(beside, Into::into);
    match Spec::read(&path) {
        Ok(spec) => Some(spec),
        Err(error) if std::env::var_os("CI").is_some() => {
            panic!(
                "Box's OpenAPI document is missing at {}: {error}",
                path.display()
            )
        }
        Err(error) => {
            eprintln!(
                "SKIPPED: no OpenAPI document of Box at {}: {error}",
                path.display()
            );
            None
        }
    }
}

#[tokio::test]
async fn what_the_document_allows_passes() {
    let Some(spec) = document() else { return };
    let session = Session::with(FakeBox::builder().openapi(spec)).await;
    let fake = &session.fake;
    let folder = fake.create_folder("0", "Deals").unwrap();
    let file = fake.upload(&folder, "a", "x").unwrap().file_id;
    fake.create_template(
        "mapping",
        json!([{ "type": "float", "key": "n", "displayName": "N" }]),
    )
    .unwrap();
    let attributes = json!({ "name": "b", "parent": { "id": folder } });
    let webhook = json!({
        "target": { "id": folder, "type": "folder" },
        "address": "https://bridge.example.com",
        "triggers": ["FILE.UPLOADED"],
    });
    let metadata = format!("2.0/files/{file}/metadata/enterprise_12345/mapping");
    let statuses = [
        session
            .get(&format!(
                "2.0/folders/{folder}/items?limit=1&usemarker=true"
            ))
            .await
            .status,
        session
            .get(&format!("2.0/files/{file}?fields=lock,name"))
            .await
            .status,
        session
            .put(
                &format!("2.0/files/{file}"),
                json!({ "lock": { "access": "lock" } }),
            )
            .await
            .status,
        session
            .put(&format!("2.0/files/{file}"), json!({ "lock": null }))
            .await
            .status,
        session.upload("content", &attributes, b"x").await.status,
        session.post("2.0/webhooks", webhook).await.status,
        session.post(&metadata, json!({ "n": 1 })).await.status,
        // An integer is a number too, whatever the document's `oneOf` says.
        session
            .patch(
                &metadata,
                json!([{ "op": "add", "path": "/n", "value": 3 }]),
            )
            .await
            .status,
        session
            .get(&format!("2.0/files/{file}/content"))
            .await
            .status,
    ];
    assert_eq!(
        statuses,
        [200, 200, 200, 200, 201, 201, 201, 200, 302],
        "{:?}",
        fake.violations()
    );
    let refresh = fake.issue_refresh_token();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
        ("client_id", FakeBox::CLIENT_ID),
        ("client_secret", FakeBox::CLIENT_SECRET),
    ];
    assert_eq!(session.form("token", &form).await.status, 200);
    assert_eq!(session.form("revoke", &form[1..]).await.status, 200);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_document_does_not_allow_is_refused_and_kept() {
    let Some(spec) = document() else { return };
    let session = Session::with(FakeBox::builder().openapi(spec)).await;
    let folder = json!({ "name": "a", "parent": { "id": "0" } });
    let webhook = json!({
        "target": { "id": "1", "type": "folder" }, "address": "https://x.example",
        "triggers": ["FILE.VERSION.RESTORED"],
    });
    let wrong_type = session
        .request("POST", "2.0/folders")
        .body(folder.to_string());
    let wrong_type = wrong_type.header("content-type", "text/plain");
    let mut secret = json!({ "name": "a" });
    secret["parent"] = json!("hidden-value");
    for (got, named) in [
        (session.get("2.0/nowhere").await, "no such path"),
        (session.delete("2.0/folders").await, "no such path"),
        (
            session.get("2.0/files/1?field=name").await,
            "no query parameter 'field'",
        ),
        (
            session.get("2.0/folders/0/items?limit=ten").await,
            "'limit' is not an integer",
        ),
        (
            session.get("2.0/folders/0/items?usemarker=1").await,
            "'usemarker' is not a boolean",
        ),
        (
            session
                .post("2.0/folders", json!({ "name": 1, "parent": { "id": "0" } }))
                .await,
            "body/name",
        ),
        (session.post("2.0/folders", secret).await, "body/parent"),
        (
            session.post("2.0/webhooks", webhook).await,
            "body/triggers/0",
        ),
        (send(wrong_type).await, "content type 'text/plain'"),
        (
            session.form("token", &[("grant_type", "x")]).await,
            "body/grant_type",
        ),
    ] {
        let message = got.refused(400, "bad_request")["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains(named), "{message} should name {named}");
        assert!(!message.contains("hidden-value"), "{message}");
        assert_eq!(
            session
                .fake
                .violations()
                .iter()
                .filter(|v| **v == message)
                .count(),
            1
        );
    }
    let over_http = session.get("_fake/violations").await.json();
    assert_eq!(
        over_http.as_array().unwrap().len(),
        session.fake.violations().len()
    );
}

#[test]
fn a_request_can_be_checked_without_a_fake() {
    let Some(spec) = document() else { return };
    let fields = [("fields".to_owned(), "id".to_owned())];
    assert_eq!(
        spec.check("GET", "/2.0/files/1", &fields, None, b""),
        Ok(())
    );
    assert!(spec.check("GET", "/files/1", &fields, None, b"").is_err());
    let upload = spec.check(
        "POST",
        "/api/2.0/files/content",
        &[],
        Some("multipart/form-data; boundary=x"),
        b"x",
    );
    assert_eq!(upload, Ok(()));
    assert!(
        spec.check(
            "POST",
            "/2.0/files/content",
            &[],
            Some("multipart/form-data"),
            b"x"
        )
        .is_err()
    );
}
