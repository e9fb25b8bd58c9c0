//! Fields and objects that an org has of its own.

use salesforce_client::testing::{CustomObject, FakeSalesforce, Field};
use serde_json::json;

use crate::support::{Session, refused};

fn regions(restricted: bool) -> Field {
    Field::multipicklist("Regions__c", ["North", "South", "East"]).restricted(restricted)
}

#[tokio::test]
async fn a_multipicklist_holds_each_value_once_and_refuses_what_it_does_not_know() {
    for restricted in [true, false] {
        let builder = FakeSalesforce::builder().custom_field("Account", regions(restricted));
        let session = Session::with(builder).await;
        let create = |value: &'static str| {
            let body = json!({ "Name": "Acme", "Regions__c": value });
            session.create("Account", body)
        };
        let id = create("East;North; East").await.id();
        let record = session.fake.record(&id).unwrap();
        assert_eq!(record["Regions__c"], "North;East");
        let unknown = create("North;West").await;
        if restricted {
            let code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST";
            assert_eq!(unknown.error(), refused(400, code));
            assert!(unknown.message().ends_with(": West"));
            assert_eq!(unknown.json()[0]["fields"], json!(["Regions__c"]));
        } else {
            let record = session.fake.record(&unknown.id()).unwrap();
            assert_eq!(record["Regions__c"], "North;West");
        }
        let none = json!({ "Regions__c": "" });
        session.patch(&format!("sobjects/Account/{id}"), none).await;
        let record = session.fake.record(&id).unwrap();
        assert!(record["Regions__c"].is_null());
    }
}

#[tokio::test]
async fn a_describe_shows_a_multipicklist_with_its_values() {
    let builder = FakeSalesforce::builder().custom_field("Account", regions(true));
    let session = Session::with(builder).await;
    let described = session.get("sobjects/Account/describe").await.json();
    let fields = described["fields"].as_array().unwrap();
    let field = fields.iter().find(|it| it["name"] == "Regions__c").unwrap();
    assert_eq!(field["type"], "multipicklist");
    assert_eq!(field["length"], 4099);
    assert_eq!(field["restrictedPicklist"], true);
    assert_eq!(field["sortable"], false);
    let values = field["picklistValues"].as_array().unwrap().iter();
    let values: Vec<_> = values.map(|value| &value["value"]).collect();
    assert_eq!(values, ["North", "South", "East"]);
}

#[tokio::test]
async fn a_multipicklist_is_asked_for_by_what_it_includes() {
    let builder = FakeSalesforce::builder().custom_field("Account", regions(false));
    let session = Session::with(builder).await;
    for (name, regions) in [
        ("A", json!("North")),
        ("B", json!("South;North")),
        ("C", json!("North;South;East")),
        ("D", json!("East")),
        ("E", json!(null)),
    ] {
        let account = json!({ "Name": name, "Regions__c": regions });
        session.fake.create("Account", account).unwrap();
    }
    for (condition, expected) in [
        ("INCLUDES ('north')", "ABC"),
        ("includes ('South;North', 'East')", "BCD"),
        ("INCLUDES ('South;North;East')", "C"),
        ("EXCLUDES ('North')", "DE"),
        // The values that are chosen, in any order.
        ("= 'North;South'", "B"),
        ("= 'South;North'", "B"),
        ("!= 'North'", "BCDE"),
        ("= null", "E"),
    ] {
        let soql = format!("SELECT Name FROM Account WHERE Regions__c {condition} ORDER BY Name");
        let found = session.query(&soql).await.json();
        let names = found["records"].as_array().unwrap().iter();
        let names: String = names.map(|row| row["Name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{condition}");
    }
    for condition in [
        "Regions__c LIKE 'N%'",
        "Regions__c > 'North'",
        "Regions__c IN ('North')",
        "Name INCLUDES ('A')",
    ] {
        let soql = format!("SELECT Name FROM Account WHERE {condition}");
        let answer = session.query(&soql).await;
        let expected = refused(400, "INVALID_QUERY_FILTER_OPERATOR");
        assert_eq!(answer.error(), expected, "{condition}");
    }
    let sorted = session
        .query("SELECT Name FROM Account ORDER BY Regions__c")
        .await;
    assert_eq!(sorted.error(), refused(400, "MALFORMED_QUERY"));
}

#[tokio::test]
async fn an_object_of_a_package_is_as_any_other() {
    let folder = CustomObject::new("pkg__Folder__c")
        .field(Field::text("pkg__Record_Id__c", 18))
        .field(Field::text("pkg__Folder_Id__c", 40).unique(true));
    let session = Session::with(FakeSalesforce::builder().custom_object(folder.clone())).await;
    let body = json!({ "pkg__Record_Id__c": "0015g00000XyZab", "pkg__Folder_Id__c": "77" });
    let id = session.create("pkg__Folder__c", body.clone()).await.id();
    assert!(id.starts_with("a00"), "{id}");
    // Nobody named it.
    let record = session.fake.record(&id).unwrap();
    assert_eq!(record["Name"], json!(id));
    let soql = "SELECT pkg__Folder_Id__c FROM pkg__Folder__c WHERE pkg__Record_Id__c = \
                '0015g00000XyZab'";
    let found = session.query(soql).await.json();
    assert_eq!(found["records"][0]["pkg__Folder_Id__c"], "77");
    let again = session.create("pkg__Folder__c", body).await;
    assert_eq!(again.error(), refused(400, "DUPLICATE_VALUE"));
    let described = session.get("sobjects/pkg__Folder__c/describe").await.json();
    assert_eq!(
        (&described["custom"], &described["label"]),
        (&json!(true), &json!("Folder"))
    );
    let path = format!("sobjects/pkg__Folder__c/{id}");
    assert_eq!(session.delete(&path).await.status, 204);

    // The org can get more of them while it runs, each once.
    assert!(session.fake.add_custom_object(folder).is_err());
    for bad in ["Folder", "a__b__c__c", "_x__c", "x___c"] {
        let refused = session.fake.add_custom_object(CustomObject::new(bad));
        assert!(refused.is_err(), "{bad}");
    }
    let half = CustomObject::new("Half__c").field(Field::text("Wrong", 10));
    assert!(session.fake.add_custom_object(half).is_err());
    let query = session.query("SELECT Id FROM Half__c").await;
    assert_eq!(query.error(), refused(400, "INVALID_TYPE"));
    let other = CustomObject::new("Other__c");
    session.fake.add_custom_object(other).unwrap();
    let other = session.create("Other__c", json!({ "Name": "x" })).await;
    assert!(other.id().starts_with("a01"));
}
