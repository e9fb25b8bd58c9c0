use serde_json::json;

use crate::support::{Session, refused};

async fn count(session: &Session, soql: &str) -> u64 {
    let answer = session.query(soql).await;
    assert_eq!(answer.status, 200, "{soql}: {:?}", answer.body);
    answer.json()["totalSize"].as_u64().unwrap()
}

#[tokio::test]
async fn files_of_others_show_only_when_asked_for_by_id() {
    let session = Session::start().await;
    let deal = session.opportunity();
    let theirs = session
        .fake
        .add_file_as_other_user(&deal, "theirs.txt", b"x")
        .unwrap();
    let document = session.document_of(&theirs);
    let fields = json!({ "PathOnClient": "own.txt", "FirstPublishLocationId": deal });
    session.upload(fields, b"x").await.id();
    let checksum = session.fake.record(&theirs).unwrap()["Checksum"].clone();
    let checksum = checksum.as_str().unwrap();
    for (condition, found) in [
        (String::new(), 1),
        (format!("WHERE Checksum = '{checksum}'"), 1),
        (
            format!("WHERE Title = 'theirs' AND Checksum = '{checksum}'"),
            0,
        ),
        (format!("WHERE Id = '{theirs}'"), 1),
        (format!("WHERE ContentDocumentId = '{document}'"), 1),
        (
            format!("WHERE ContentDocumentId IN ('{document}') AND Checksum = '{checksum}'"),
            1,
        ),
        (
            format!("WHERE ContentDocumentId = '{document}' OR Title = 'own'"),
            1,
        ),
        (format!("WHERE ContentDocumentId != '{document}'"), 1),
        (format!("WHERE NOT ContentDocumentId = '{document}'"), 1),
    ] {
        let soql = format!("SELECT Id FROM ContentVersion {condition}");
        assert_eq!(count(&session, &soql).await, found, "{condition}");
    }
    assert_eq!(
        count(&session, "SELECT COUNT() FROM ContentDocument").await,
        1
    );
    let by_id = format!("SELECT Id FROM ContentDocument WHERE Id = '{document}'");
    assert_eq!(count(&session, &by_id).await, 1);
    let links = format!("SELECT Id FROM ContentDocumentLink WHERE LinkedEntityId = '{deal}'");
    assert_eq!(count(&session, &links).await, 2);
}

#[tokio::test]
async fn a_file_on_no_record_is_for_its_owner_alone() {
    let session = Session::start().await;
    let deal = session.opportunity();
    let theirs = session
        .fake
        .add_file_as_other_user(&deal, "a.txt", b"x")
        .unwrap();
    let document = session.document_of(&theirs);
    let link = session.fake.files()[0]
        .links
        .iter()
        .find(|link| link.record == deal)
        .unwrap()
        .id
        .clone();
    let path = format!("sobjects/ContentVersion/{theirs}");
    assert_eq!(session.get(&path).await.status, 200);
    session.fake.delete(&link).unwrap();
    assert_eq!(session.get(&path).await.error(), refused(404, "NOT_FOUND"));
    assert_eq!(
        session.get(&format!("{path}/VersionData")).await.error(),
        refused(404, "NOT_FOUND")
    );
    let by_id = format!("SELECT Id FROM ContentVersion WHERE Id = '{theirs}'");
    assert_eq!(count(&session, &by_id).await, 0);
    let body = json!({ "PathOnClient": "a", "ContentDocumentId": document });
    let version = session.upload(body, b"y").await;
    assert_eq!(
        version.error(),
        refused(400, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY")
    );
    assert_eq!(session.fake.files()[0].versions.len(), 1);
}

#[tokio::test]
async fn another_user_can_add_a_version_to_a_file() {
    let session = Session::start().await;
    let own = session
        .upload(json!({ "PathOnClient": "a.txt" }), b"one")
        .await
        .id();
    let document = session.document_of(&own);
    let theirs = session
        .fake
        .add_version_as_other_user(&document, "a.txt", b"two")
        .unwrap();
    let soql = format!(
        "SELECT Id, CreatedById FROM ContentVersion WHERE ContentDocumentId = '{document}' \
         AND IsLatest = true"
    );
    let body = session.query(&soql).await.json();
    assert_eq!(body["records"][0]["Id"], json!(theirs));
    assert_eq!(
        body["records"][0]["CreatedById"],
        json!(session.fake.other_user())
    );
    assert_eq!(
        count(&session, "SELECT Id FROM ContentVersion").await,
        2,
        "the file is still its owner's"
    );
}

#[tokio::test]
async fn links_are_only_found_by_the_ids_they_join() {
    let session = Session::start().await;
    let deal = session.opportunity();
    session
        .fake
        .add_file_as_other_user(&deal, "a.txt", b"x")
        .unwrap();
    for condition in [
        "",
        "WHERE ShareType = 'V'",
        "WHERE LinkedEntityId != null",
        "WHERE LinkedEntityId > '0065g0000000001'",
        "WHERE NOT LinkedEntityId = '0065g0000000001'",
        "WHERE LinkedEntityId = '0065g0000000001' OR ShareType = 'V'",
    ] {
        let answer = session
            .query(&format!("SELECT Id FROM ContentDocumentLink {condition}"))
            .await;
        assert_eq!(
            answer.error(),
            refused(400, "MALFORMED_QUERY"),
            "{condition}"
        );
        let text = "Implementation restriction: ContentDocumentLink requires a filter by a \
                    single Id on ContentDocumentId or LinkedEntityId using the equals \
                    operator or multiple Id's using the IN operator.";
        assert!(answer.message().contains(text), "{}", answer.message());
    }
}
