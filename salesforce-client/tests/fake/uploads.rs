use md5::{Digest, Md5};
use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::{Value, json};

use crate::support::{FORM_END, Session, base64, form_start, refused, send};

fn md5(content: &[u8]) -> String {
    Md5::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// All byte values, with what looks like the boundary of the form.
fn content() -> Vec<u8> {
    let mut content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    content.extend_from_slice(b"\r\n--b0undar\r\n\r\n--b0un");
    content
}

#[tokio::test]
async fn a_file_is_the_same_whether_it_comes_as_json_or_as_a_form() {
    let session = Session::start().await;
    let deal = session.opportunity();
    let content = content();
    let fields = json!({
        "Title": "Überschrift", "PathOnClient": "dir/Agreement.PDF",
        "FirstPublishLocationId": deal,
    });
    let mut with_data = fields.clone();
    with_data["VersionData"] = json!(base64(&content));
    let ids = [
        session.upload(fields, &content).await.id(),
        session.create("ContentVersion", with_data).await.id(),
    ];
    for id in &ids {
        assert!(id.starts_with("068"));
        let read = session
            .get(&format!("sobjects/ContentVersion/{id}"))
            .await
            .json();
        for (field, value) in [
            ("Title", json!("Überschrift")),
            ("PathOnClient", json!("dir/Agreement.PDF")),
            ("FileExtension", json!("pdf")),
            ("FileType", json!("PDF")),
            ("ContentSize", json!(content.len())),
            ("Checksum", json!(md5(&content))),
            ("VersionNumber", json!("1")),
            ("IsLatest", json!(true)),
            ("OwnerId", json!(session.fake.integration_user())),
        ] {
            assert_eq!(read[field], value, "{field}");
        }
        let path = read["VersionData"].as_str().unwrap();
        assert_eq!(
            path,
            format!("/services/data/v58.0/sobjects/ContentVersion/{id}/VersionData")
        );
        let bytes = session.get(path).await;
        assert_eq!((bytes.status, &bytes.body[..]), (200, &content[..]));
        assert_eq!(session.fake.bytes(id).unwrap(), content);
    }
    let files = session.fake.files();
    assert_eq!(files.len(), 2);
    for (file, id) in files.iter().zip(&ids) {
        assert_eq!((&file.versions[0].id, file.versions.len()), (id, 1));
        assert!(file.is_on(&deal) && file.is_on(session.fake.integration_user()));
        let shares: Vec<&str> = file
            .links
            .iter()
            .map(|link| link.share_type.as_str())
            .collect();
        assert_eq!(shares, ["I", "V"]);
    }
}

#[tokio::test]
async fn a_new_version_follows_the_ones_before() {
    let session = Session::start().await;
    let first = session
        .upload(json!({ "PathOnClient": "a.txt" }), b"one")
        .await
        .id();
    let document = session.document_of(&first);
    let fields = json!({ "PathOnClient": "b.txt", "Title": "B", "ContentDocumentId": document });
    let second = session.upload(fields, b"two").await.id();
    let [file] = &session.fake.files()[..] else {
        panic!("not one file");
    };
    let versions: Vec<_> = file
        .versions
        .iter()
        .map(|v| (v.id.as_str(), v.number))
        .collect();
    assert_eq!(versions, [(first.as_str(), 1), (second.as_str(), 2)]);
    assert_eq!(file.title, "B");
    assert_eq!(session.fake.record(&first).unwrap()["IsLatest"], false);
    let latest = &session.fake.record(&document).unwrap()["LatestPublishedVersionId"];
    assert_eq!(latest, &json!(second));
    assert_eq!(session.fake.bytes(&first).unwrap(), "one");
    let path = format!("sobjects/ContentVersion/{first}");
    let old = session.patch(&path, json!({ "Title": "x" })).await;
    assert_eq!(old.status, 400, "only the latest version can be changed");
}

#[tokio::test]
async fn bytes_of_a_version_are_never_replaced() {
    let session = Session::start().await;
    let id = session
        .upload(json!({ "PathOnClient": "a.txt" }), b"one")
        .await
        .id();
    let path = format!("sobjects/ContentVersion/{id}");
    let body = json!({ "VersionData": base64(b"two") });
    assert_eq!(
        session.patch(&path, body).await.error(),
        refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    );
    assert_eq!(
        session.patch(&path, json!({ "Title": "New" })).await.status,
        204
    );
    let document = session.document_of(&id);
    assert_eq!(session.fake.record(&document).unwrap()["Title"], "New");
    assert_eq!(session.fake.bytes(&id).unwrap(), "one");
}

#[tokio::test]
async fn a_deleted_document_takes_all_with_it_and_a_version_cannot_be_deleted_alone() {
    let session = Session::start().await;
    let fields = json!({ "PathOnClient": "a", "FirstPublishLocationId": session.opportunity() });
    let id = session.upload(fields, b"x").await.id();
    let alone = session
        .delete(&format!("sobjects/ContentVersion/{id}"))
        .await;
    assert_eq!(
        alone.error(),
        refused(400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY")
    );
    let document = session.document_of(&id);
    assert_eq!(
        session
            .delete(&format!("sobjects/ContentDocument/{document}"))
            .await
            .status,
        204
    );
    for object in ["ContentVersion", "ContentDocument", "ContentDocumentLink"] {
        assert!(session.fake.records(object).is_empty(), "{object}");
    }
    let bytes = session
        .get(&format!("sobjects/ContentVersion/{id}/VersionData"))
        .await;
    assert_eq!(bytes.error(), refused(404, "ENTITY_IS_DELETED"));
}

#[tokio::test]
async fn a_file_is_upserted_by_a_key_of_the_customer() {
    let field = Field::text("Key__c", 40).unique(true).external_id(true);
    let session =
        Session::with(FakeSalesforce::builder().custom_field("ContentVersion", field)).await;
    let path = "sobjects/ContentVersion/Key__c/k-1";
    let body = json!({ "PathOnClient": "a.txt", "VersionData": "eA==" });
    let created = session.patch(path, body.clone()).await;
    assert_eq!(
        (created.status, &created.json()["created"]),
        (201, &json!(true))
    );
    assert_eq!(session.fake.files()[0].versions[0].fields["Key__c"], "k-1");
    let again = session.patch(path, body).await;
    assert_eq!(
        again.error(),
        refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    );
    let renamed = session.patch(path, json!({ "Title": "b" })).await;
    assert_eq!(
        (renamed.status, &renamed.json()["created"]),
        (200, &json!(false))
    );
    assert_eq!(session.fake.files()[0].title, "b");
}

#[tokio::test]
async fn the_order_of_parts_does_not_matter() {
    let session = Session::start().await;
    let start = form_start(&json!({ "PathOnClient": "a" }));
    let (_, rest) = start.split_once("--b0undary\r\n").unwrap();
    let (first, second) = rest.split_once("\r\n--b0undary\r\n").unwrap();
    let body = format!("--b0undary\r\n{second}bytes\r\n--b0undary\r\n{first}{FORM_END}");
    let id = send(session.form_request().body(body)).await.id();
    assert_eq!(session.fake.bytes(&id).unwrap(), "bytes");
    assert_eq!(
        session.fake.record(&id).unwrap()["FileExtension"],
        Value::Null
    );
}
