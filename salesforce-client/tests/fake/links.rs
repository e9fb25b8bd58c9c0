use serde_json::{Value, json};

use crate::support::{Session, refused};

/// A file of the integration user that is on no record.
async fn file(session: &Session) -> String {
    let id = session
        .upload(json!({ "PathOnClient": "a.txt" }), b"x")
        .await
        .id();
    session.document_of(&id)
}

fn link(document: &str, entity: &str) -> Value {
    json!({ "ContentDocumentId": document, "LinkedEntityId": entity, "ShareType": "V" })
}

#[tokio::test]
async fn a_file_is_put_on_a_record_once() {
    let session = Session::start().await;
    let (document, deal) = (file(&session).await, session.opportunity());
    let id = session
        .create("ContentDocumentLink", link(&document, &deal))
        .await
        .id();
    assert!(id.starts_with("06A"));
    let again = session
        .create("ContentDocumentLink", link(&document[..15], &deal[..15]))
        .await;
    assert_eq!(
        again.json(),
        json!([{
            "message": format!(
                "Document with ID: {document} is already linked with the entity with ID: {deal}"
            ),
            "errorCode": "DUPLICATE_VALUE",
            "fields": ["LinkedEntityId"],
        }])
    );
    assert_eq!(again.status, 400);
    let [file] = &session.fake.files()[..] else {
        panic!("not one file");
    };
    assert_eq!(
        file.links.iter().filter(|link| link.record == deal).count(),
        1
    );
}

#[tokio::test]
async fn the_location_of_an_upload_is_a_link_already() {
    let session = Session::start().await;
    let deal = session.opportunity();
    let fields = json!({ "PathOnClient": "a", "FirstPublishLocationId": deal });
    let version = session.upload(fields, b"x").await.id();
    let document = session.document_of(&version);
    let again = session
        .create("ContentDocumentLink", link(&document, &deal))
        .await;
    assert_eq!(again.error(), refused(400, "DUPLICATE_VALUE"));
    let owner = session.fake.integration_user().to_owned();
    let own = session
        .create("ContentDocumentLink", link(&document, &owner))
        .await;
    assert_eq!(own.error(), refused(400, "DUPLICATE_VALUE"));
}

#[tokio::test]
async fn a_link_that_the_org_would_refuse_is_refused() {
    let session = Session::start().await;
    let (document, deal) = (file(&session).await, session.opportunity());
    let gone = session.account("Gone");
    session.fake.delete(&gone).unwrap();
    let stage = session.fake.records("OpportunityStage")[0]["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    let with = |field: &str, value: Value| {
        let mut body = link(&document, &deal);
        body[field] = value;
        body
    };
    for (body, code) in [
        (with("ShareType", Value::Null), "REQUIRED_FIELD_MISSING"),
        (
            with("ShareType", json!("X")),
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        ),
        (
            with("Visibility", json!("Nobody")),
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        ),
        (with("LinkedEntityId", json!("x")), "MALFORMED_ID"),
        (
            with("LinkedEntityId", json!("0065g0000009999")),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
        (with("LinkedEntityId", json!(gone)), "ENTITY_IS_DELETED"),
        (
            with("LinkedEntityId", json!(stage)),
            "FIELD_INTEGRITY_EXCEPTION",
        ),
        (
            with("LinkedEntityId", json!(document)),
            "FIELD_INTEGRITY_EXCEPTION",
        ),
        (
            with("ContentDocumentId", json!(deal)),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
        (
            with("ContentDocumentId", Value::Null),
            "REQUIRED_FIELD_MISSING",
        ),
    ] {
        let answer = session.create("ContentDocumentLink", body.clone()).await;
        assert_eq!(answer.error(), refused(400, code), "{body}");
    }
    let mut body = link(&document, &deal);
    body.as_object_mut().unwrap().remove("ShareType");
    let answer = session.create("ContentDocumentLink", body).await;
    assert_eq!(answer.error(), refused(400, "REQUIRED_FIELD_MISSING"));
    assert_eq!(answer.json()[0]["fields"], json!(["ShareType"]));
    assert_eq!(session.fake.files()[0].links.len(), 1);
}

#[tokio::test]
async fn only_the_link_to_the_owner_stays() {
    let session = Session::start().await;
    let (document, deal) = (file(&session).await, session.opportunity());
    let made = session
        .create("ContentDocumentLink", link(&document, &deal))
        .await
        .id();
    let own = session.fake.files()[0].links[0].id.clone();
    let answer = session
        .delete(&format!("sobjects/ContentDocumentLink/{own}"))
        .await;
    assert_eq!(answer.error(), refused(400, "FIELD_INTEGRITY_EXCEPTION"));
    let path = format!("sobjects/ContentDocumentLink/{made}");
    assert_eq!(
        session
            .patch(&path, json!({ "Visibility": "InternalUsers" }))
            .await
            .status,
        204
    );
    assert_eq!(session.delete(&path).await.status, 204);
    let again = session
        .create("ContentDocumentLink", link(&document, &deal))
        .await;
    assert_eq!(again.status, 201, "what was taken off can be put on again");
}
