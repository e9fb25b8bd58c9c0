//! What can be read of an org.

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{
    Children, ErrorCode, ErrorKind, QueryCursor, Record, RecordId, SearchScope, soql,
    testing::{FakeSalesforce, Field},
};
use serde::Deserialize;
use serde_json::json;

use crate::org::{self, account, create};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    name: String,
    contacts: Children<Contact>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contact {
    last_name: String,
    account: Option<Parent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parent {
    name: String,
}

fn contacts(org: &FakeSalesforce, account: &RecordId, count: usize) {
    for n in 0..count {
        let fields = json!({ "LastName": format!("c{n}"), "AccountId": account.as_str() });
        create(org, "Contact", fields);
    }
}

#[tokio::test]
async fn sub_queries_come_with_their_rows_and_their_rest_can_be_had() {
    let (org, client) = org::with(FakeSalesforce::builder().page_size(3)).await;
    let full = account(&org, "full");
    account(&org, "empty");
    contacts(&org, &full, 7);
    let soql = "SELECT Name, (SELECT LastName, Account.Name FROM Contacts) FROM Account";
    let accounts: Vec<Account> = client.query(soql).all(10).await.unwrap();
    assert!(accounts[1].contacts.records.is_empty());
    assert_eq!(
        (accounts[0].name.as_str(), accounts[0].contacts.total_size),
        ("full", 7)
    );
    let first = accounts.into_iter().next().unwrap().contacts;
    let mut names: Vec<String> = first.records.into_iter().map(|it| it.last_name).collect();
    assert_eq!(names.len(), 3);
    let rest = client.resume::<Contact>(first.rest.unwrap()).stream();
    let rest: Vec<Contact> = rest.try_collect().await.unwrap();
    assert!(
        rest.iter()
            .all(|it| it.account.as_ref().unwrap().name == "full")
    );
    names.extend(rest.into_iter().map(|it| it.last_name));
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
}

#[tokio::test]
async fn a_kept_cursor_goes_on_where_the_page_ended() {
    let (org, client) = org::with(FakeSalesforce::builder().page_size(2)).await;
    for n in 0..5 {
        account(&org, &n.to_string());
    }
    let mut pages = Box::pin(client.query::<Record>("SELECT Name FROM Account").pages());
    let page = pages.try_next().await.unwrap().unwrap();
    let kept = serde_json::to_string(&page.cursor().unwrap()).unwrap();
    drop(pages);
    let cursor: QueryCursor = serde_json::from_str(&kept).unwrap();
    let rest = client.resume::<Record>(cursor).all(10).await.unwrap();
    let names: Vec<&str> = rest.iter().map(|it| it["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["2", "3", "4"]);

    let gone: QueryCursor = serde_json::from_str(r#""/services/data/v58.0/query/01g-2""#).unwrap();
    let error = client.resume::<Record>(gone).first().await.unwrap_err();
    assert!(error.api().unwrap().has(&ErrorCode::INVALID_QUERY_LOCATOR));
    for away in [
        "https://evil.example/services/data/",
        "//evil.example",
        "/x?y",
    ] {
        let cursor: QueryCursor = serde_json::from_value(json!(away)).unwrap();
        let error = client.resume::<Record>(cursor).first().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts()),
            (ErrorKind::Decode, 0),
            "{away}"
        );
    }
}

#[tokio::test]
async fn a_query_longer_than_a_uri_is_answered_all_the_same() {
    let (org, client) = org::with(FakeSalesforce::builder().page_size(200)).await;
    for n in 0..450 {
        account(&org, &format!("name {n}"));
    }
    let names: Vec<String> = (0..2000).map(|n| format!("name {n}")).collect();
    let query = soql("SELECT Name FROM Account WHERE Name IN :names").bind("names", names);
    let found = client
        .query::<Record>(query.clone())
        .all(1000)
        .await
        .unwrap();
    assert_eq!(found.len(), 450);
    assert_eq!(org.calls(), 3, "a page a call, the first like the others");
    let bad = soql("SELECT Nothing FROM Account WHERE Name IN :names");
    let names: Vec<String> = (0..2000).map(|n| format!("name {n}")).collect();
    let error = client
        .query::<Record>(bad.bind("names", names))
        .first()
        .await
        .unwrap_err();
    assert!(error.api().unwrap().has(&ErrorCode::INVALID_FIELD));
}

#[tokio::test]
async fn a_query_is_explained_without_being_run() {
    let (org, client) = org::start().await;
    let id = account(&org, "Acme");
    let by_id = soql("SELECT Name FROM Account WHERE Id = :id").bind("id", &id);
    let plans = client.query::<Record>(by_id).explain().await.unwrap();
    assert_eq!(plans[0].leading_operation_type.as_deref(), Some("Index"));
    let error = client
        .query::<Record>("SELECT x FROM Account")
        .explain()
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn parents_and_children_are_reached_by_their_relationship() {
    let (org, client) = org::with(FakeSalesforce::builder().page_size(2)).await;
    let acme = account(&org, "Acme");
    contacts(&org, &acme, 3);
    let lonely = create(&org, "Contact", json!({ "LastName": "x" }));
    let accounts = client.sobject("Account");
    let children = accounts
        .related::<Record>(&acme, "Contacts")
        .fields(&["LastName"]);
    assert_eq!(children.children().all(10).await.unwrap().len(), 3);
    let first = org.records("Contact")[0]["Id"].as_str().unwrap().to_owned();
    let first = RecordId::new(&first).unwrap();
    let contacts = client.sobject("Contact");
    let parent = contacts
        .related::<Parent>(&first, "Account")
        .one()
        .await
        .unwrap();
    assert_eq!(parent.unwrap().name, "Acme");
    let none = contacts
        .related::<Parent>(&lonely, "Account")
        .one()
        .await
        .unwrap();
    assert!(none.is_none());
}

#[tokio::test]
async fn a_search_takes_words_for_words() {
    let (org, client) = org::start().await;
    account(&org, "Acme (Holding) & Sons");
    account(&org, "Acme");
    let search = |words: &str| {
        let search = client.search(words).scope(SearchScope::Name);
        search.object("Account", &["Name"]).records()
    };
    let found = search("acme (HOLDING) &").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["Name"], "Acme (Holding) & Sons");
    assert_eq!(search("acme").await.unwrap().len(), 2);
    let calls = org.calls();
    assert_eq!(search("x").await.unwrap_err().kind(), ErrorKind::Invalid);
    let bad = client
        .search("acme")
        .object("Account", &["a b"])
        .records()
        .await;
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(org.calls(), calls);
}

#[tokio::test]
async fn objects_tell_what_they_are_like() {
    let (org, client) = org::start().await;
    org.add_custom_field("Account", Field::text("Key__c", 40).external_id(true))
        .unwrap();
    let global = client.describe_global().await.unwrap();
    assert!(
        global
            .sobjects
            .iter()
            .any(|it| it.name == "Account" && it.createable)
    );
    let accounts = client.sobject("Account").describe().await.unwrap();
    assert!(accounts.takes_files());
    assert!(accounts.field("name").unwrap().is_required());
    assert_eq!(accounts.summary.key_prefix.as_deref(), Some("001"));
    let contacts = accounts.child_relationships.iter();
    assert!(
        contacts
            .clone()
            .any(|it| it.relationship_name.as_deref() == Some("Contacts"))
    );
    for bad in ["Key__c", "Nothing__c", "Name"] {
        assert_eq!(
            accounts.check_key(bad).unwrap_err().kind(),
            ErrorKind::Config,
            "{bad}"
        );
    }
    let roles = client
        .sobject("OpportunityContactRole")
        .describe()
        .await
        .unwrap();
    assert!(!roles.takes_files());
    let later = Timestamp::now() + SignedDuration::from_secs(5);
    let again = client
        .sobject("Account")
        .describe()
        .if_modified_since(later)
        .await;
    assert!(again.unwrap().is_none());
}

#[tokio::test]
async fn limits_counts_and_the_newest_version_are_told() {
    let builder = FakeSalesforce::builder()
        .daily_limit(1000)
        .versions([58, 9, 67]);
    let (org, client) = org::with(builder).await;
    account(&org, "Acme");
    let limits = client.limits().await.unwrap();
    assert_eq!(limits.api_usage(), client.api_usage());
    assert_eq!(limits.api_usage().unwrap().left(), 999);
    assert_eq!(limits.get("Nothing"), None);
    let counts = client.record_counts(&["Account", "Contact"]).await.unwrap();
    assert_eq!((counts.len(), counts[0].count), (1, 1));
    assert_eq!(client.latest_version().await.unwrap().major(), 67);
}
