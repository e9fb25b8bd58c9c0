use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::{Value, json};

use crate::support::{Answer, Session, encoded, refused};

async fn tooling(session: &Session, soql: &str) -> Answer {
    let query = encoded(&[("q", soql)]);
    session.get(&format!("tooling/query?{query}")).await
}

async fn create_field(session: &Session, name: &str, metadata: Value) -> String {
    let field = json!({ "FullName": name, "Metadata": metadata });
    session
        .post("tooling/sobjects/CustomField", field)
        .await
        .id()
}

fn text(more: Value) -> Value {
    let mut metadata = json!({ "label": "Box Id", "type": "Text", "length": 40 });
    let members = metadata.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    metadata
}

#[tokio::test]
async fn fields_are_known_to_the_setup_before_anybody_may_see_them() {
    let session = Session::start().await;
    let key = text(json!({ "externalId": true, "unique": true }));
    let id = create_field(&session, "Account.Box_Id__c", key).await;
    let other = create_field(&session, "Activity.Box_Id__c", text(json!({}))).await;
    assert_ne!(id, other);
    let described = session.get("sobjects/Account/describe").await.json();
    let fields = described["fields"].as_array().unwrap();
    assert!(fields.iter().all(|field| field["name"] != "Box_Id__c"));

    let soql = "SELECT Id, FullName FROM CustomField \
                WHERE TableEnumOrId = 'Account' AND DeveloperName = 'Box_Id'";
    let found = tooling(&session, soql).await.json();
    assert_eq!(found["totalSize"], 1);
    let record = &found["records"][0];
    assert_eq!(
        (&record["Id"], &record["FullName"]),
        (&json!(id), &json!("Account.Box_Id__c"))
    );
    let url = format!("/services/data/v58.0/tooling/sobjects/CustomField/{id}");
    assert_eq!(record["attributes"]["url"], url);
    let count = tooling(&session, "SELECT COUNT() FROM CustomField").await;
    assert_eq!(count.json()["totalSize"], 2);

    let soql = "SELECT QualifiedApiName, IsIndexed, EntityDefinition.Label FROM FieldDefinition \
                WHERE EntityDefinition.QualifiedApiName = 'Account' \
                AND QualifiedApiName IN ('Box_Id__c', 'Phone') ORDER BY QualifiedApiName";
    let found = tooling(&session, soql).await.json();
    let indexed = |place: usize| found["records"][place]["IsIndexed"].clone();
    assert_eq!((indexed(0), indexed(1)), (json!(true), json!(false)));
    assert_eq!(found["records"][0]["EntityDefinition"]["Label"], "Account");
    let soql = "SELECT DurableId FROM FieldDefinition WHERE EntityDefinitionId = 'Task' \
                AND QualifiedApiName = 'Box_Id__c'";
    let found = tooling(&session, soql).await.json();
    assert_eq!(found["records"][0]["DurableId"], "Task.Box_Id__c");
}

#[tokio::test]
async fn rights_are_seen_by_the_setup_and_data_is_not() {
    let session = Session::start().await;
    let set = json!({ "Name": "Bridge", "Label": "Bridge" });
    let set = session.create("PermissionSet", set).await.id();
    let found = tooling(
        &session,
        "SELECT Id FROM PermissionSet WHERE Name = 'Bridge'",
    )
    .await;
    assert_eq!(found.json()["records"][0]["Id"], json!(set));
    for (soql, code) in [
        ("SELECT Id FROM Account", "INVALID_TYPE"),
        ("SELECT Colour FROM CustomField", "INVALID_FIELD"),
        ("SELECT Id CustomField", "MALFORMED_QUERY"),
        (
            "SELECT QualifiedApiName FROM FieldDefinition",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT QualifiedApiName FROM FieldDefinition WHERE Label = 'x'",
            "MALFORMED_QUERY",
        ),
    ] {
        let answer = tooling(&session, soql).await;
        assert_eq!(answer.error(), refused(400, code), "{soql}");
    }
    // The setup is no data either.
    let answer = session.query("SELECT Id FROM CustomField").await;
    assert_eq!(answer.error(), refused(400, "INVALID_TYPE"));
}

#[tokio::test]
async fn full_names_come_one_at_a_time_and_the_rest_in_pages() {
    let builder = (0..3).fold(FakeSalesforce::builder().page_size(2), |builder, number| {
        builder.custom_field("Account", Field::text(format!("F{number}__c"), 10))
    });
    let session = Session::with(builder).await;
    let answer = tooling(&session, "SELECT FullName FROM CustomField").await;
    assert_eq!(answer.error(), refused(400, "MALFORMED_QUERY"));
    let first = tooling(&session, "SELECT DeveloperName FROM CustomField")
        .await
        .json();
    let next = first["nextRecordsUrl"].as_str().unwrap();
    assert!(
        next.starts_with("/services/data/v58.0/tooling/query/01g"),
        "{next}"
    );
    let rest = session.get(next).await.json();
    assert_eq!(
        (&rest["done"], &rest["records"][0]["DeveloperName"]),
        (&json!(true), &json!("F2"))
    );
}

#[tokio::test]
async fn case_counts_in_a_field_that_says_so_and_in_no_other() {
    let field = |name: &str| Field::text(name, 40).unique(true).external_id(true);
    let builder = FakeSalesforce::builder()
        .custom_field("Account", field("Exact__c").case_sensitive(true))
        .custom_field("Account", field("Loose__c"));
    let session = Session::with(builder).await;
    for (name, is_exact) in [("Exact__c", true), ("Loose__c", false)] {
        let described = session.get("sobjects/Account/describe").await.json();
        let fields = described["fields"].as_array().unwrap();
        let field = fields.iter().find(|field| field["name"] == name).unwrap();
        assert_eq!(field["caseSensitive"], is_exact);

        let account = |value: &str| json!({ "Name": "Acme", name: value });
        session.create("Account", account("aB")).await.id();
        let second = session.create("Account", account("ab")).await;
        let upserted = session
            .patch(
                &format!("sobjects/Account/{name}/AB"),
                json!({ "Name": "Acme" }),
            )
            .await;
        let soql = format!("SELECT Id FROM Account WHERE {name} = 'AB'");
        let found = session.query(&soql).await.json();
        assert_eq!(found["totalSize"], 1, "{name}");
        if is_exact {
            second.id();
            assert_eq!(
                (upserted.status, &upserted.json()["created"]),
                (201, &json!(true))
            );
        } else {
            assert_eq!(second.error(), refused(400, "DUPLICATE_VALUE"));
            assert_eq!(
                (upserted.status, &upserted.json()["created"]),
                (200, &json!(false))
            );
        }
    }
}

#[tokio::test]
async fn a_field_that_the_api_creates_can_tell_case_apart() {
    let session = Session::start().await;
    let key = text(json!({ "externalId": true, "unique": true, "caseSensitive": true }));
    create_field(&session, "Account.Box_Id__c", key).await;
    let set = json!({ "Name": "Bridge", "Label": "Bridge" });
    let set = session.create("PermissionSet", set).await.id();
    let permission = json!({
        "ParentId": set, "SobjectType": "Account", "Field": "Account.Box_Id__c",
        "PermissionsRead": true, "PermissionsEdit": true,
    });
    session.create("FieldPermissions", permission).await.id();
    let user = session.fake.integration_user();
    let assignment = json!({ "PermissionSetId": set, "AssigneeId": user });
    session
        .create("PermissionSetAssignment", assignment)
        .await
        .id();
    for value in ["aB", "Ab"] {
        let account = json!({ "Name": "Acme", "Box_Id__c": value });
        session.create("Account", account).await.id();
    }
}
