//! Files that are uploaded once, and what an org is given for it.

use bytes::Bytes;
use futures_util::stream;
use salesforce_client::{
    ErrorKind, Governor, IdempotencyKey, Linked, NewTextField, Priority, RecordId,
    SalesforceClient, ShareType, Strategy,
    testing::{FakeSalesforce, Fault, FaultEffect},
};
use serde_json::json;

use crate::org::{self, account};

async fn upload(
    client: &SalesforceClient,
    key: IdempotencyKey,
) -> salesforce_client::Result<RecordId> {
    let request = client.files().upload("Agreement.pdf").description("d");
    let request = request.strategy(Strategy::Idempotent(key));
    let content = || async {
        Ok::<_, std::io::Error>(stream::iter([Ok::<_, std::io::Error>(Bytes::from("%PDF"))]))
    };
    request.send_with(content, 4).await
}

#[tokio::test]
async fn an_upload_with_a_key_happens_once_whatever_becomes_of_its_answers() {
    let (org, client) = org::start().await;
    let key = IdempotencyKey::of(&["file version 1", "006"]);
    org.inject(Fault::on("*/content-versions", FaultEffect::LostAnswer).times(2));
    let first = upload(&client, key).await.unwrap();
    // Another process that knows nothing of the first.
    let second = upload(&client, key).await.unwrap();
    assert_eq!(first, second);
    let files = org.files();
    assert_eq!(files.len(), 1);
    assert_eq!(org.bytes(first.as_str()).unwrap(), "%PDF");
    let stored = org.record(first.as_str()).unwrap();
    assert_eq!(
        (&stored["Title"], &stored["FileExtension"]),
        (&json!("Agreement"), &json!("pdf"))
    );
    let other = upload(&client, IdempotencyKey::random().unwrap())
        .await
        .unwrap();
    assert_ne!(first, other);
}

#[tokio::test]
async fn an_answer_that_tells_the_file_alone_leads_to_its_version_also_when_one_call_runs_at_once()
{
    let (org, client) = org::start().await;
    let version = upload(&client, IdempotencyKey::of(&["1"])).await.unwrap();
    let document = client
        .files()
        .version(&version)
        .await
        .unwrap()
        .content_document_id;
    let body = json!({ "contentDocument": { "id": document } }).to_string();
    let fault = FaultEffect::Status {
        status: 201,
        headers: Default::default(),
        body,
    };
    org.inject(Fault::on("*/content-versions", fault));
    let governor = Governor::builder().max_concurrent(1).build();
    let client = org::builder_of(&org).governor(&governor).build().unwrap();
    assert_eq!(
        upload(&client, IdempotencyKey::of(&["1"])).await.unwrap(),
        version
    );
}

#[tokio::test]
async fn a_new_version_with_a_key_belongs_to_its_file() {
    let (org, client) = org::start().await;
    let first = upload(&client, IdempotencyKey::of(&["1"])).await.unwrap();
    let document = client
        .files()
        .version(&first)
        .await
        .unwrap()
        .content_document_id;
    let request = client
        .files()
        .upload("Agreement.pdf")
        .new_version_of(&document);
    let request = request.strategy(Strategy::Idempotent(IdempotencyKey::of(&["2"])));
    let content = stream::iter([Ok::<_, std::io::Error>(Bytes::from("two"))]);
    let second = request.send(content, 3).await.unwrap();
    assert_eq!(
        client
            .files()
            .version(&second)
            .await
            .unwrap()
            .content_document_id,
        document
    );
    assert_eq!(org.files().len(), 1);
}

#[tokio::test]
async fn what_the_user_interface_api_does_not_take_is_not_sent() {
    let (org, client) = org::start().await;
    let record = account(&org, "a");
    let key = IdempotencyKey::of(&["1"]);
    let request = || {
        client
            .files()
            .upload("a.pdf")
            .strategy(Strategy::Idempotent(key))
    };
    let content = || stream::iter([Ok::<_, std::io::Error>(Bytes::from("x"))]);
    for request in [
        request().first_publish_location(&record),
        request().field("Key__c", "x"),
    ] {
        let error = request.send(content(), 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(org.calls(), 0);
    let body = json!([{ "errorCode": "X", "message": "Idempotency not supported" }]).to_string();
    let fault = FaultEffect::Status {
        status: 400,
        headers: Default::default(),
        body,
    };
    org.inject(Fault::on("*/content-versions", fault));
    let error = request().send(content(), 1).await.unwrap_err();
    assert!(error.to_string().contains("another strategy"), "{error}");
}

fn bytes() -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::iter([Ok(Bytes::from("%PDF"))])
}

/// Which ways were asked for uploads, in their order.
fn asked(org: &FakeSalesforce) -> Vec<&'static str> {
    let requests = org.requests();
    let posts = requests.iter().filter(|it| it.method == "POST");
    posts
        .filter_map(|it| match it.path.rsplit('/').next()? {
            "content-versions" => Some("key"),
            "ContentVersion" => Some("size"),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn an_org_without_idempotency_is_asked_once_and_gets_its_files_by_size() {
    let builder = FakeSalesforce::builder().idempotent_uploads(false);
    let (org, client) = org::with(builder).await;
    let send = async |client: &SalesforceClient, key: &str| {
        let key = Strategy::IdempotentIfSupported(IdempotencyKey::of(&[key]));
        let upload = client.files().upload("a.pdf").strategy(key);
        let open = || async { Ok::<_, std::io::Error>(bytes()) };
        upload.send_with(open, 4).await.unwrap()
    };
    let first = send(&client, "1").await;
    assert_eq!(org.bytes(first.as_str()).unwrap(), "%PDF");
    send(&client.clone(), "2").await;
    send(&client.with_priority(Priority::Backfill), "3").await;
    assert_eq!(asked(&org), ["key", "size", "size", "size"]);
    // Another client has yet to hear it.
    send(&org::builder_of(&org).build().unwrap(), "4").await;
    assert_eq!(asked(&org)[4..], ["key", "size"]);
    assert_eq!(org.files().len(), 4);
}

#[tokio::test]
async fn a_content_that_exists_once_is_asked_for_again_where_keys_are_not_taken() {
    let builder = FakeSalesforce::builder().idempotent_uploads(false);
    let (org, client) = org::with(builder).await;
    let key = Strategy::IdempotentIfSupported(IdempotencyKey::of(&["1"]));
    let upload = || client.files().upload("a.pdf").strategy(key);
    let error = upload().send(bytes(), 4).await.unwrap_err();
    assert!(
        error.is_retryable() && !error.may_have_happened(),
        "{error}"
    );
    assert!(error.to_string().contains("again"), "{error}");
    upload().send(bytes(), 4).await.unwrap();
    assert_eq!(asked(&org), ["key", "size"]);
}

#[tokio::test]
async fn an_org_with_idempotency_is_always_given_the_key() {
    let (org, client) = org::start().await;
    org.inject(Fault::on("*/content-versions", FaultEffect::LostAnswer));
    let key = Strategy::IdempotentIfSupported(IdempotencyKey::of(&["1"]));
    let upload = || client.files().upload("a.pdf").strategy(key);
    let open = || async { Ok::<_, std::io::Error>(bytes()) };
    let first = upload().send_with(open, 4).await.unwrap();
    assert_eq!(upload().send(bytes(), 4).await.unwrap(), first);
    assert_eq!(asked(&org), ["key"; 3]);
    assert_eq!(org.files().len(), 1);
}

#[tokio::test]
async fn an_upload_in_doubt_is_not_sent_another_way() {
    let (org, client) = org::start().await;
    org.inject(Fault::on("*/content-versions", FaultEffect::LostAnswer));
    let body = json!([{ "errorCode": "X", "message": "Idempotency not supported" }]).to_string();
    let fault = FaultEffect::Status {
        status: 400,
        headers: Default::default(),
        body,
    };
    org.inject(Fault::on("*/content-versions", fault));
    let key = Strategy::IdempotentIfSupported(IdempotencyKey::of(&["1"]));
    let upload = client.files().upload("a.pdf").strategy(key);
    let open = || async { Ok::<_, std::io::Error>(bytes()) };
    let error = upload.send_with(open, 4).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert_eq!(org.files().len(), 1);
}

#[tokio::test]
async fn a_file_is_shown_on_many_records_and_a_repeat_does_no_harm() {
    let (org, client) = org::start().await;
    let version = upload(&client, IdempotencyKey::of(&["1"])).await.unwrap();
    let document = client
        .files()
        .version(&version)
        .await
        .unwrap()
        .content_document_id;
    let mut records: Vec<RecordId> = (0..3).map(|n| account(&org, &n.to_string())).collect();
    records.push(RecordId::new("001000000000999").unwrap());
    for again in [false, true] {
        let rows = client
            .files()
            .link_all(&document, records.clone(), ShareType::Viewer)
            .await;
        for (row, record) in rows.iter().zip(&records[..3]) {
            assert_eq!(row.input, *record);
            let linked = row.outcome.as_ref().unwrap();
            assert_eq!(*linked == Linked::Already, again);
        }
        assert_eq!(
            rows[3].outcome.as_ref().unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
}

fn user(org: &FakeSalesforce) -> RecordId {
    RecordId::new(org.integration_user()).unwrap()
}

#[tokio::test]
async fn a_key_field_is_made_usable_once_and_a_repeat_changes_nothing() {
    let (org, client) = org::start().await;
    let name = "Box_File_Version_Id__c";
    let field = NewTextField::new("ContentVersion", name, 40).key();
    let check = async || {
        let described = client.sobject("ContentVersion").describe().await.unwrap();
        described.check_key(name).map(drop)
    };
    assert!(check().await.is_err());
    assert!(client.tooling().create_field(&field).await.unwrap());
    assert!(check().await.is_err(), "nobody may see it yet");
    for _ in 0..2 {
        client
            .tooling()
            .ensure_field(&field, "Box_Bridge", &user(&org))
            .await
            .unwrap();
        check().await.unwrap();
    }
    assert!(!client.tooling().create_field(&field).await.unwrap());
    assert_eq!(org.records("PermissionSet").len(), 1);
    let upload = client.files().upload("a.pdf").field(name, "v1");
    let content = stream::iter([Ok::<_, std::io::Error>(Bytes::from("x"))]);
    upload.send(content, 1).await.unwrap();
    assert!(client.files().find_by(name, "v1").await.unwrap().is_some());
}

#[tokio::test]
async fn fields_of_activities_are_granted_on_tasks_and_events() {
    let (org, client) = org::start().await;
    let field = NewTextField::new("Activity", "Box_Event_Id__c", 80).key();
    client
        .tooling()
        .ensure_field(&field, "Box_Bridge", &user(&org))
        .await
        .unwrap();
    for object in ["Task", "Event"] {
        let described = client.sobject(object).describe().await.unwrap();
        described.check_key("Box_Event_Id__c").unwrap();
    }
    for bad in [
        NewTextField::new("Task", "X__c", 40),
        NewTextField::new("Account", "X", 40),
        NewTextField::new("Account", "X__c", 256),
        NewTextField::new("Account/..", "X__c", 40),
    ] {
        let error = client.tooling().create_field(&bad).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Invalid, 0));
    }
}
