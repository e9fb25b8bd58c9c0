//! Box's folders and the package's links, against the fakes.

use box_client::{
    BoxClient, DeveloperToken, check_name,
    testing::{FakeBox, Fault, FaultEffect},
};
use bridge::{
    BoxContent, Folders, Metadata, PackageLinks, PortErrorKind, SalesforceCrm,
    crm::Record,
    folders::{Invitation, Invitee, Placed},
    metadata::MappedFolders,
};
use futures_util::TryStreamExt;
use proptest::prelude::*;
use salesforce_client::{SalesforceClient, StaticToken, testing::FakeSalesforce};
use serde_json::{Map, Value, json};

async fn content() -> (FakeBox, BoxContent) {
    let fake = FakeBox::start().await.unwrap();
    let fields = json!([{ "type": "string", "key": "account_id", "displayName": "Account" }]);
    fake.create_template("salesforce_mapping", fields).unwrap();
    let content = over(&fake.url(), &fake.issue_token());
    (fake, content)
}

fn over(url: &str, token: &str) -> BoxContent {
    let client = BoxClient::builder(DeveloperToken::new(token.to_owned())).base_url(url);
    BoxContent::new(client.build().unwrap(), "enterprise", "salesforce_mapping")
}

#[tokio::test]
async fn one_folder_is_there_however_often_and_in_whatever_case_it_is_asked_for() {
    let (fake, content) = content().await;
    let lost = Fault::on("/2.0/folders", FaultEffect::LostAnswer).method("POST");
    fake.inject(lost);
    let first = content.ensure("0", "Clients").await.unwrap();
    let second = content.ensure("0", "CLIENTS").await.unwrap();
    assert_eq!(first.folder, second.folder);
    assert!(!second.is_new);
    fake.upload(&first.folder, "Acme", "a file").unwrap();
    let error = content.ensure(&first.folder, "acme").await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Refused);
    assert!(
        error.to_string().contains("no folder is called acme"),
        "{error}"
    );
    let error = content.ensure("99999", "Acme").await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Gone);
}

#[tokio::test]
async fn a_folder_is_placed_under_a_free_name_only_and_discarded_when_empty_only() {
    let (fake, content) = content().await;
    let one = content.ensure("0", "one").await.unwrap().folder;
    let two = content.ensure("0", "two").await.unwrap().folder;
    assert_eq!(
        content.place(&two, "0", "ONE").await.unwrap(),
        Placed::NameTaken
    );
    assert_eq!(
        content.place(&two, "0", "TWO").await.unwrap(),
        Placed::There
    );
    assert_eq!(
        content.place(&two, &one, "one").await.unwrap(),
        Placed::There
    );
    assert!(!content.discard(&one).await.unwrap());
    assert!(content.discard(&two).await.unwrap());
    assert!(fake.state()["folders"].as_array().unwrap().len() >= 2);
}

#[tokio::test]
async fn of_all_who_claim_a_folder_one_gets_it() {
    let (fake, content) = content().await;
    let folder = content.ensure("0", "Acme").await.unwrap().folder;
    let path = format!("/2.0/folders/{folder}/metadata/*");
    fake.inject(Fault::on(path, FaultEffect::LostAnswer).method("POST"));
    let claim = async |id: usize| {
        let values = Map::from_iter([("account_id".to_owned(), json!(id.to_string()))]);
        content
            .claim(&folder, &values)
            .await
            .unwrap()
            .instance
            .values
    };
    let claims = futures_util::future::join_all((0..8).map(claim)).await;
    assert!(claims.iter().all(|claim| *claim == claims[0]), "{claims:?}");
}

#[tokio::test]
async fn whom_box_does_not_know_is_refused_and_the_folder_is_there() {
    let (_fake, content) = content().await;
    let folder = content.ensure("0", "Acme").await.unwrap().folder;
    for invitee in [
        Invitee::Group("12345".into()),
        Invitee::User("99999".into()),
    ] {
        let invitation = Invitation {
            invitee,
            role: "viewer".to_owned(),
            notify: false,
            instead_of: None,
        };
        let error = content.invite(&folder, &invitation).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Refused, "{error}");
    }
}

#[tokio::test]
async fn who_is_in_stays_as_they_are_unless_their_role_is_ours_to_change() {
    let (fake, content) = content().await;
    let folder = content.ensure("0", "Acme").await.unwrap().folder;
    fake.collaborate(&folder, "boss@example.com", "co-owner")
        .unwrap();
    let invite = async |login: &str, role: &str, instead_of: Option<&str>| {
        let invitation = Invitation {
            invitee: Invitee::Login(login.to_owned()),
            role: role.to_owned(),
            notify: false,
            instead_of: instead_of.map(str::to_owned),
        };
        content.invite(&folder, &invitation).await.unwrap()
    };
    let boss = invite("Boss@example.com", "editor", None).await;
    assert_eq!(
        (boss.role.as_deref(), boss.is_new),
        (Some("co-owner"), false)
    );
    let rep = invite("rep@example.com", "viewer", None).await;
    assert!(rep.is_new);
    let rep = invite("rep@example.com", "editor", Some("viewer")).await;
    assert_eq!((rep.role.as_deref(), rep.is_new), (Some("editor"), false));
    let id = rep.collaboration.unwrap();
    content.end_collaboration(&id).await.unwrap();
    content.end_collaboration(&id).await.unwrap();
}

#[tokio::test]
async fn an_org_without_the_package_has_no_links_and_one_with_it_shows_them() {
    let org = FakeSalesforce::start().await.unwrap();
    let token = StaticToken::new(org.issue_token(), org.url()).unwrap();
    let crm = SalesforceCrm::new(SalesforceClient::new(token).unwrap());
    let record = Record {
        id: org.create("Account", json!({ "Name": "Acme" })).unwrap(),
        object: Some("Account".to_owned()),
    };
    assert_eq!(crm.folder_of(&record).await.unwrap(), None);
    assert!(!crm.show(&record, "12", None).await.unwrap());

    use salesforce_client::testing::{Fault, FaultEffect};
    let answer = |status, body: Value| FaultEffect::Status {
        status,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: body.to_string(),
    };
    let row = json!({
        "attributes": { "type": "box__FRUP__c" }, "Id": "a00000000000001AAA", "box__Folder_ID__c": "77",
    });
    let rows = json!({ "totalSize": 1, "done": true, "records": [row] });
    org.inject(Fault::on("*/query", answer(200, rows)));
    assert_eq!(crm.folder_of(&record).await.unwrap().as_deref(), Some("77"));
    let saved = json!({ "id": "a00000000000001AAA", "success": true, "errors": [] });
    org.inject(Fault::on("*/sobjects/box__FRUP__c", answer(201, saved)));
    assert!(crm.show(&record, "12", None).await.unwrap());
    let sent = org.requests();
    let query = sent.iter().rfind(|it| it.path.ends_with("/query")).unwrap();
    let short = &record.id[..15];
    assert_eq!(
        query.query[0].1,
        format!(
            "SELECT Id, box__Folder_ID__c FROM box__FRUP__c WHERE box__Record_ID__c = '{}' OR \
             box__Record_ID__c = '{short}'",
            record.id
        )
    );
}

proptest! {
    #[test]
    fn any_text_makes_a_name_with_or_without_a_mark(text in ".{0,300}", is_marked: bool) {
        let content = over("http://127.0.0.1:1", "token");
        let mark = is_marked.then_some("0015g00000XyZabAAB");
        let made = content.name(&text, mark);
        prop_assert!(check_name(&made.name).is_ok(), "{made:?}");
        prop_assert!(made.name.encode_utf16().count() <= 255);
        if let Some(mark) = mark {
            let end = format!(" ({mark})");
            prop_assert!(made.name.ends_with(&end));
        } else {
            prop_assert_eq!(made.name == text, made.changes.is_empty());
        }
    }
}

#[tokio::test]
async fn without_a_template_no_folder_is_mapped_and_once_there_is_one_they_are_found() {
    let fake = FakeBox::start().await.unwrap();
    let content = over(&fake.url(), &fake.issue_token());
    let looks = async || {
        let found = content.find("0", "account_id", "001").await.unwrap();
        let mapped: Vec<_> = content.mapped("account_id").try_collect().await.unwrap();
        let mapped: Vec<_> = mapped.into_iter().map(|it| it.folder).collect();
        assert_eq!(found, mapped);
        found
    };
    assert!(looks().await.is_empty());

    let folder = content.ensure("0", "Acme").await.unwrap().folder;
    let fields = json!([{ "type": "string", "key": "account_id", "displayName": "Account" }]);
    fake.create_template("salesforce_mapping", fields).unwrap();
    let values = json!({ "account_id": "001" });
    fake.apply_metadata(&folder, "salesforce_mapping", values)
        .unwrap();
    assert_eq!(looks().await, [folder]);

    // Its scope is known by now.
    let templates = content.client().metadata_templates();
    templates
        .delete("enterprise", "salesforce_mapping")
        .await
        .unwrap();
    assert!(looks().await.is_empty());

    // A folder that is not there is no missing template.
    let fields = json!([{ "type": "string", "key": "account_id", "displayName": "Account" }]);
    fake.create_template("salesforce_mapping", fields).unwrap();
    let error = content.find("99999", "account_id", "001").await;
    assert_eq!(error.unwrap_err().kind(), PortErrorKind::Gone);
}
