use box_client::testing::FakeBox;
use serde_json::json;

use crate::support::Session;

async fn mapped() -> (Session, String) {
    let session = Session::start().await;
    let fields = json!([
        { "type": "string", "key": "deal", "displayName": "Deal" },
        { "type": "float", "key": "amount", "displayName": "Amount" },
        { "type": "date", "key": "closes", "displayName": "Closes" },
        { "type": "enum", "key": "stage", "displayName": "Stage", "options": [{ "key": "Open" }, { "key": "Won" }] },
        { "type": "multiSelect", "key": "tags", "displayName": "Tags", "options": [{ "key": "a" }, { "key": "b" }] },
    ]);
    session.fake.create_template("mapping", fields).unwrap();
    let folder = session.fake.create_folder("0", "Acme").unwrap();
    (session, folder)
}

#[tokio::test]
async fn a_template_is_created_and_read() {
    let session = Session::with(FakeBox::builder().enterprise_id("7")).await;
    let body = json!({
        "scope": "enterprise", "displayName": "Salesforce Mapping",
        "fields": [{ "type": "string", "key": "deal", "displayName": "Deal" }],
    });
    let got = session
        .post("2.0/metadata_templates/schema", body.clone())
        .await;
    assert_eq!(got.status, 201);
    assert_eq!(got.text("/scope"), "enterprise_7");
    assert_eq!(got.text("/templateKey"), "salesforceMapping");
    for scope in ["enterprise", "enterprise_7"] {
        let path = format!("2.0/metadata_templates/{scope}/salesforceMapping/schema");
        assert_eq!(session.get(&path).await.json(), got.json());
    }
    let again = session.post("2.0/metadata_templates/schema", body).await;
    again.metadata_refused(409, "tuple_already_exists");
    let missing = session
        .get("2.0/metadata_templates/enterprise/none/schema")
        .await;
    missing.metadata_refused(404, "instance_tuple_not_found");
    for bad in [
        json!({ "scope": "enterprise" }),
        json!({ "scope": "enterprise", "displayName": "x", "templateKey": "1x" }),
        json!({ "scope": "enterprise", "displayName": "x", "fields": [{ "type": "colour", "key": "a", "displayName": "A" }] }),
        json!({ "scope": "enterprise", "displayName": "x", "fields": [{ "type": "enum", "key": "a", "displayName": "A" }] }),
    ] {
        let got = session.post("2.0/metadata_templates/schema", bad).await;
        got.metadata_refused(400, "bad_request");
    }
}

#[tokio::test]
async fn an_instance_lives_from_post_to_delete() {
    let (session, folder) = mapped().await;
    let path = format!("2.0/folders/{folder}/metadata/enterprise/mapping");
    session
        .get(&path)
        .await
        .metadata_refused(404, "instance_not_found");
    let values = json!({
        "deal": "006", "amount": 1.5, "stage": "Open", "tags": ["a"],
        "closes": "2026-01-01T00:00:00.000Z",
    });
    let got = session.post(&path, values.clone()).await;
    assert_eq!(got.status, 201);
    let instance = got.json();
    assert_eq!(
        (&instance["$version"], &instance["$scope"]),
        (&json!(0), &json!("enterprise_12345"))
    );
    assert_eq!(instance["$parent"], json!(format!("folder_{folder}")));
    assert_eq!(instance["$template"], "mapping");
    session
        .post(&path, values)
        .await
        .metadata_refused(409, "tuple_already_exists");
    let full = format!("2.0/folders/{folder}/metadata/enterprise_12345/mapping");
    assert_eq!(
        (
            session.get(&full).await.status,
            session.get(&full).await.json()
        ),
        (200, instance)
    );
    let all = session
        .get(&format!("2.0/folders/{folder}/metadata"))
        .await
        .json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 1);
    assert_eq!(session.delete(&path).await.status, 204);
    session
        .delete(&path)
        .await
        .metadata_refused(404, "instance_not_found");
}

#[tokio::test]
async fn values_are_held_against_the_template() {
    let (session, folder) = mapped().await;
    let path = format!("2.0/folders/{folder}/metadata/enterprise/mapping");
    for bad in [
        json!({ "unknown": "x" }),
        json!({ "deal": 6 }),
        json!({ "amount": "1.5" }),
        json!({ "closes": "tomorrow" }),
        json!({ "stage": "Lost" }),
        json!({ "tags": "a" }),
        json!({ "tags": ["a", "c"] }),
    ] {
        session
            .post(&path, bad)
            .await
            .metadata_refused(400, "schema_validation_failed");
    }
    let unknown = format!("2.0/folders/{folder}/metadata/enterprise/none");
    session
        .post(&unknown, json!({}))
        .await
        .metadata_refused(404, "instance_tuple_not_found");
    session
        .post("2.0/folders/9/metadata/enterprise/mapping", json!({}))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_patch_is_all_or_nothing_and_counts_changes() {
    let (session, folder) = mapped().await;
    let path = format!("2.0/folders/{folder}/metadata/enterprise/mapping");
    let replace = json!([{ "op": "replace", "path": "/stage", "value": "Won" }]);
    session
        .patch(&path, replace.clone())
        .await
        .metadata_refused(404, "instance_not_found");
    session.post(&path, json!({ "stage": "Open" })).await;
    let got = session.patch(&path, replace).await;
    assert_eq!(
        (got.status, &got.json()["stage"], &got.json()["$version"]),
        (200, &json!("Won"), &json!(1))
    );

    let guarded = json!([
        { "op": "add", "path": "/deal", "value": "006" },
        { "op": "test", "path": "/stage", "value": "Open" },
    ]);
    session
        .patch(&path, guarded)
        .await
        .metadata_refused(409, "failed_json_patch_application");
    let wrong = json!([{ "op": "add", "path": "/amount", "value": "much" }]);
    session
        .patch(&path, wrong)
        .await
        .metadata_refused(400, "schema_validation_failed");
    let same = json!([{ "op": "add", "path": "/stage", "value": "Won" }]);
    session.patch(&path, same.clone()).await;
    let now = session.get(&path).await.json();
    assert_eq!((&now["$version"], now.get("deal")), (&json!(1), None));
    session
        .put(&path, same)
        .await
        .metadata_refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn files_carry_metadata_and_the_root_does_not() {
    let (session, _) = mapped().await;
    let file = session.fake.upload("0", "a", "x").unwrap().file_id;
    let path = format!("2.0/files/{file}/metadata/enterprise/mapping");
    assert_eq!(
        session
            .post(&path, json!({ "deal": "1" }))
            .await
            .text("/$parent"),
        format!("file_{file}")
    );
    let free = format!("2.0/files/{file}/metadata/global/properties");
    assert_eq!(
        session
            .post(&free, json!({ "anything": "goes" }))
            .await
            .status,
        201
    );
    for path in [
        "2.0/folders/0/metadata",
        "2.0/folders/0/metadata/enterprise/mapping",
    ] {
        session
            .get(path)
            .await
            .metadata_refused(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn both_answers_that_box_is_known_to_give_can_be_had() {
    let builder = FakeBox::builder()
        .metadata_get_status(201)
        .missing_instance_as_tuple(true);
    let session = Session::with(builder).await;
    session.fake.create_template("mapping", json!([])).unwrap();
    let folder = session.fake.create_folder("0", "Acme").unwrap();
    let path = format!("2.0/folders/{folder}/metadata/enterprise/mapping");
    session
        .get(&path)
        .await
        .metadata_refused(404, "instance_tuple_not_found");
    session
        .fake
        .apply_metadata(&folder, "mapping", json!({}))
        .unwrap();
    assert_eq!(session.get(&path).await.status, 201);
}
