use salesforce_client::testing::{FakeSalesforce, Field, FieldType};
use serde_json::{Value, json};

use crate::support::{Session, refused};

async fn session() -> Session {
    let flag = Field::new("Flag__c", FieldType::Boolean);
    let session = Session::with(FakeSalesforce::builder().custom_field("Contact", flag)).await;
    let acme = session.account("Acme");
    let other = session.account("Other_100%");
    for (name, account, email, birthdate, flag) in [
        (
            "Anna",
            Some(&acme),
            Some("anna@acme.com"),
            Some("1980-01-31"),
            true,
        ),
        (
            "Bob",
            Some(&other),
            Some("bob@other.com"),
            Some("1990-06-01"),
            false,
        ),
        ("O'Neil \\ 100%", None, None, None, false),
        ("zoë_1", Some(&acme), None, Some("2000-12-24"), true),
    ] {
        let body = json!({
            "LastName": name, "AccountId": account, "Email": email, "Birthdate": birthdate,
            "Flag__c": flag,
        });
        let id = session.fake.create("Contact", body).unwrap();
        let day = birthdate.unwrap_or("2020-01-01");
        let stamp = json!({ "CreatedDate": format!("{day}T08:00:00Z") });
        session.fake.update(&id, stamp).unwrap();
    }
    session
}

/// First letters of the names that were found, in order.
async fn found(session: &Session, rest: &str) -> String {
    let answer = session
        .query(&format!("SELECT LastName FROM Contact {rest}"))
        .await;
    assert_eq!(answer.status, 200, "{rest}: {:?}", answer.body);
    let records = answer.json()["records"].clone();
    let names = records.as_array().unwrap().iter();
    names
        .map(|record| record["LastName"].as_str().unwrap().chars().next().unwrap())
        .collect()
}

#[tokio::test]
async fn conditions_select_what_they_say() {
    let session = session().await;
    let acme = session.fake.records("Account")[0]["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    let ids: Vec<String> = session
        .fake
        .records("Contact")
        .iter()
        .map(|contact| contact["Id"].as_str().unwrap().to_owned())
        .collect();
    for (rest, expected) in [
        ("", "ABOz"),
        ("WHERE LastName = 'ANNA'", "A"),
        ("WHERE lastname != 'anna'", "BOz"),
        ("WHERE LastName <> 'anna'", "BOz"),
        ("where LastName >= 'bob' and LastName < 'zz'", "BOz"),
        ("WHERE LastName LIKE 'a%'", "A"),
        ("WHERE LastName LIKE '%O%'", "BOz"),
        ("WHERE LastName LIKE '_ob'", "B"),
        ("WHERE LastName LIKE '%\\%'", "O"),
        ("WHERE LastName LIKE '%\\_1'", "z"),
        ("WHERE LastName LIKE 'zo_\\_1'", "z"),
        ("WHERE LastName = 'O\\'Neil \\\\ 100%'", "O"),
        ("WHERE LastName = 'zo\\u00eb_1'", "z"),
        ("WHERE LastName = 'ZOË_1'", "z"),
        ("WHERE LastName IN ('Anna', 'bob', 'nobody')", "AB"),
        ("WHERE LastName NOT IN ('Anna', 'bob')", "Oz"),
        ("WHERE NOT LastName = 'Anna'", "BOz"),
        ("WHERE NOT (LastName = 'Anna' OR LastName = 'Bob')", "Oz"),
        (
            "WHERE (LastName = 'Anna' OR LastName = 'Bob') AND Flag__c = true",
            "A",
        ),
        ("WHERE Flag__c = FALSE", "BO"),
        ("WHERE Email = null", "Oz"),
        ("WHERE Email != NULL", "AB"),
        ("WHERE Email = 'ANNA@acme.com'", "A"),
        ("WHERE Birthdate = 1990-06-01", "B"),
        ("WHERE Birthdate > 1985-01-01", "Bz"),
        ("WHERE Birthdate <= 1990-06-01", "AB"),
        ("WHERE CreatedDate = 1990-06-01T08:00:00Z", "B"),
        ("WHERE CreatedDate < 1990-06-01T10:00:00+02:00", "A"),
        ("WHERE CreatedDate >= 1990-06-01T10:00:00+02:00", "BOz"),
        (&format!("WHERE AccountId = '{acme}'"), "Az"),
        (&format!("WHERE AccountId = '{}'", &acme[..15]), "Az"),
        (
            &format!("WHERE Id IN ('{}', '{}')", ids[0], &ids[1][..15]),
            "AB",
        ),
        (&format!("WHERE Id > '{}' ORDER BY Id", ids[1]), "Oz"),
        ("WHERE AccountId = null", "O"),
        ("WHERE Account.Name = 'acme'", "Az"),
        ("WHERE Account.Name = null", "O"),
        ("WHERE Contact.LastName = 'Bob'", "B"),
        ("c WHERE c.LastName = 'Bob'", "B"),
        ("ORDER BY LastName DESC", "zOBA"),
        ("ORDER BY Email", "OzAB"),
        ("ORDER BY Email ASC NULLS LAST", "ABOz"),
        ("ORDER BY Email DESC NULLS LAST, LastName DESC", "BAzO"),
        ("ORDER BY Account.Name NULLS LAST, LastName DESC", "zABO"),
        ("ORDER BY LastName LIMIT 2", "AB"),
        ("ORDER BY LastName LIMIT 2 OFFSET 1", "BO"),
        ("ORDER BY LastName OFFSET 3", "z"),
        ("LIMIT 0", ""),
        ("WHERE LastName = 'none'", ""),
    ] {
        assert_eq!(found(&session, rest).await, expected, "{rest}");
    }
}

#[tokio::test]
async fn a_query_that_the_org_would_refuse_is_refused() {
    let session = session().await;
    for (soql, code) in [
        ("", "MALFORMED_QUERY"),
        ("SELECT", "MALFORMED_QUERY"),
        ("SELECT Id", "MALFORMED_QUERY"),
        ("SELECT * FROM Contact", "MALFORMED_QUERY"),
        ("SELECT Id, FROM Contact", "MALFORMED_QUERY"),
        ("UPDATE Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE LastName", "MALFORMED_QUERY"),
        (
            "SELECT Id FROM Contact WHERE LastName = Anna",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = \"Anna\"",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = 'Anna",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = 'a\\q'",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = 'a\\%'",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = 'a\\u12'",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = 'O'Neil'",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = 'a\nb'",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE (LastName = 'a'",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName = 'a' AND Id = null OR Id = null",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName IN ()",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE LastName IN 'a'",
            "MALFORMED_QUERY",
        ),
        ("SELECT Id FROM Contact LIMIT -1", "MALFORMED_QUERY"),
        (
            "SELECT Id FROM Contact LIMIT 1 WHERE Id = null",
            "MALFORMED_QUERY",
        ),
        ("SELECT Id FROM Contact ORDER LastName", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact; DELETE", "MALFORMED_QUERY"),
        (
            "SELECT Id FROM Contact ORDER BY Description",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id FROM Contact WHERE Birthdate = 2026-02-30",
            "MALFORMED_QUERY",
        ),
        ("SELECT Id FROM Nonsense", "INVALID_TYPE"),
        ("SELECT Nope FROM Contact", "INVALID_FIELD"),
        ("SELECT Id, Id FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Nope = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Contact ORDER BY Nope", "INVALID_FIELD"),
        ("SELECT Nope.Name FROM Contact", "INVALID_FIELD"),
        ("SELECT Account.Nope FROM Contact", "INVALID_FIELD"),
        (
            "SELECT Id FROM Contact WHERE Description = 'x'",
            "INVALID_FIELD",
        ),
        ("SELECT Id FROM Contact WHERE LastName = 5", "INVALID_FIELD"),
        (
            "SELECT Id FROM Contact WHERE Birthdate = '1980-01-31'",
            "INVALID_FIELD",
        ),
        (
            "SELECT Id FROM Contact WHERE CreatedDate = '2020-01-01T00:00:00Z'",
            "INVALID_FIELD",
        ),
        (
            "SELECT Id FROM Contact WHERE CreatedDate > 2020-01-01",
            "INVALID_FIELD",
        ),
        (
            "SELECT Id FROM Contact WHERE Flag__c = 'true'",
            "INVALID_FIELD",
        ),
        (
            "SELECT Id FROM Contact WHERE Id = 'nonsense'",
            "INVALID_QUERY_FILTER_OPERATOR",
        ),
        (
            "SELECT Id FROM Contact WHERE Flag__c > true",
            "INVALID_QUERY_FILTER_OPERATOR",
        ),
        (
            "SELECT Id FROM Contact WHERE Id LIKE '003%'",
            "INVALID_QUERY_FILTER_OPERATOR",
        ),
        (
            "SELECT Id FROM Contact OFFSET 2001",
            "NUMBER_OUTSIDE_VALID_RANGE",
        ),
    ] {
        let answer = session.query(soql).await;
        assert_eq!(answer.status, 400, "{soql}: {:?}", answer.body);
        assert_eq!(answer.error(), refused(400, code), "{soql}");
    }
    let without = session.get("query").await;
    assert_eq!(without.error(), refused(400, "MALFORMED_QUERY"));
    let posted = session
        .post("query?q=SELECT+Id+FROM+Contact", json!({}))
        .await;
    assert_eq!(posted.error(), refused(405, "METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn an_error_shows_its_place() {
    let session = session().await;
    let message = session
        .query("SELECT Id\nFROM Contact WHERE Nope = 1")
        .await
        .message();
    assert!(
        message.contains("\nFROM Contact WHERE Nope = 1\n                   ^\n"),
        "{message}"
    );
    assert!(
        message.contains("ERROR at Row:2:Column:20\nNo such column 'Nope' on entity 'Contact'"),
        "{message}"
    );
    let message = session.query("SELECT Id FROM Nonsense").await.message();
    assert!(
        message.contains("ERROR at Row:1:Column:16\nsObject type 'Nonsense' is not supported."),
        "{message}"
    );
}

#[tokio::test]
async fn rows_have_the_form_of_the_org() {
    let session = session().await;
    let soql = "SELECT Id, account.name, Account.Owner.LastName, email FROM contact \
                WHERE LastName IN ('Anna', 'O\\'Neil \\\\ 100%') ORDER BY LastName";
    let body = session.query(soql).await.json();
    assert_eq!(
        (&body["totalSize"], &body["done"]),
        (&json!(2), &json!(true))
    );
    let row = &body["records"][0];
    let id = row["Id"].as_str().unwrap();
    assert_eq!(
        row["attributes"],
        json!({ "type": "Contact", "url": format!("/services/data/v58.0/sobjects/Contact/{id}") })
    );
    assert_eq!(
        (&row["Email"], &row["Account"]["Name"]),
        (&json!("anna@acme.com"), &json!("Acme"))
    );
    assert_eq!(row["Account"]["attributes"]["type"], "Account");
    assert_eq!(row["Account"]["Owner"]["LastName"], "Person");
    assert_eq!(
        (&body["records"][1]["Account"], &body["records"][1]["Email"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_count_is_the_size_without_records() {
    let session = session().await;
    let body = session
        .query("SELECT COUNT() FROM Contact WHERE Flag__c = true")
        .await
        .json();
    assert_eq!(body, json!({ "totalSize": 2, "done": true, "records": [] }));
}

#[tokio::test]
async fn files_are_reached_through_their_links() {
    let session = Session::start().await;
    let deal = session.opportunity();
    let fields = json!({ "PathOnClient": "a.pdf", "FirstPublishLocationId": deal });
    let version = session.upload(fields, b"x").await.id();
    let soql = format!(
        "SELECT ContentDocumentId, ContentDocument.Title, ContentDocument.LatestPublishedVersionId, \
         LinkedEntity.Name FROM ContentDocumentLink WHERE LinkedEntityId = '{deal}'"
    );
    let body = session.query(&soql).await.json();
    let row = &body["records"][0];
    assert_eq!(
        row["ContentDocument"]["LatestPublishedVersionId"],
        json!(version)
    );
    assert_eq!(row["ContentDocument"]["Title"], "a");
    assert_eq!(row["LinkedEntity"]["Name"], "Deal");
    let soql = format!("SELECT VersionData, Checksum FROM ContentVersion WHERE Id = '{version}'");
    let row = session.query(&soql).await.json()["records"][0].clone();
    let path = format!("/services/data/v58.0/sobjects/ContentVersion/{version}/VersionData");
    assert_eq!(row["VersionData"], json!(path));
    let soql = "SELECT Id FROM ContentVersion WHERE VersionData = 'x'";
    assert_eq!(
        session.query(soql).await.error(),
        refused(400, "INVALID_FIELD")
    );
}

#[tokio::test]
async fn stages_and_statuses_are_those_of_a_fresh_org() {
    let session = Session::start().await;
    let soql = "SELECT ApiName, MasterLabel, IsActive, IsClosed, IsWon, SortOrder \
                FROM OpportunityStage WHERE IsActive = true ORDER BY SortOrder";
    let body = session.query(soql).await.json();
    let stages = body["records"].as_array().unwrap();
    assert_eq!(stages.len(), 10);
    assert_eq!(stages[0]["ApiName"], "Prospecting");
    assert_eq!(
        (&stages[8]["MasterLabel"], &stages[8]["IsWon"]),
        (&json!("Closed Won"), &json!(true))
    );
    assert_eq!(
        (&stages[9]["MasterLabel"], &stages[9]["IsWon"]),
        (&json!("Closed Lost"), &json!(false))
    );
    let body = session
        .query("SELECT ApiName FROM TaskStatus WHERE IsClosed = true")
        .await
        .json();
    assert_eq!(body["records"][0]["ApiName"], "Completed");
    let body = session
        .query("SELECT ApiName FROM TaskStatus WHERE IsDefault = true")
        .await
        .json();
    assert_eq!(body["records"][0]["ApiName"], "Not Started");
}
