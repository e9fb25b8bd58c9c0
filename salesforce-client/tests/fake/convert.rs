//! Leads that become accounts, contacts and opportunities.

use salesforce_client::testing::{FakeSalesforce, LeadConversion};
use serde_json::{Value, json};

use crate::support::{Session, refused};

fn lead(fake: &FakeSalesforce) -> String {
    let lead = json!({
        "FirstName": "Ann", "LastName": "Bluth", "Company": "Bluth Homes",
        "Email": "ann@bluth.example", "Phone": "1", "LeadSource": "Web",
    });
    fake.create("Lead", lead).unwrap()
}

#[tokio::test]
async fn a_lead_becomes_an_account_a_contact_and_an_opportunity() {
    let session = Session::start().await;
    let fake = &session.fake;
    let id = lead(fake);
    let task = json!({ "Subject": "Call", "WhoId": id });
    let task = fake.create("Task", task).unwrap();
    let converted = fake.convert_lead(&id, LeadConversion::new()).unwrap();
    let deal = converted.opportunity.unwrap();

    let soql = "SELECT IsConverted, Status, ConvertedDate, ConvertedAccountId, ConvertedContactId, \
                ConvertedOpportunityId, ConvertedAccount.Name FROM Lead";
    let row = &session.query(soql).await.json()["records"][0];
    assert_eq!(row["IsConverted"], true);
    assert_eq!(row["Status"], "Closed - Converted");
    assert_eq!(row["ConvertedAccountId"], json!(converted.account));
    assert_eq!(row["ConvertedContactId"], json!(converted.contact));
    assert_eq!(row["ConvertedOpportunityId"], json!(deal));
    assert_eq!(row["ConvertedAccount"]["Name"], "Bluth Homes");
    let date = row["ConvertedDate"].as_str().unwrap();
    assert!(date.parse::<jiff::civil::Date>().is_ok(), "{date}");

    let contact = fake.record(&converted.contact).unwrap();
    assert_eq!(contact["Name"], "Ann Bluth");
    assert_eq!(contact["Email"], "ann@bluth.example");
    assert_eq!(contact["AccountId"], json!(converted.account));
    let deal = fake.record(&deal).unwrap();
    assert_eq!(
        (&deal["Name"], &deal["StageName"]),
        (&json!("Bluth Homes"), &json!("Prospecting"))
    );
    assert_eq!(deal["AccountId"], json!(converted.account));
    let roles = fake.records("OpportunityContactRole");
    assert_eq!(roles[0]["ContactId"], json!(converted.contact));
    let task = fake.record(&task).unwrap();
    assert_eq!(
        (&task["WhoId"], &task["WhatId"]),
        (&json!(converted.contact), &deal["Id"])
    );
}

#[tokio::test]
async fn a_lead_joins_what_is_there_and_only_what_fits() {
    let session = Session::start().await;
    let fake = &session.fake;
    let account = session.account("Bluth");
    let contact = json!({ "LastName": "Bluth", "AccountId": account });
    let contact = fake.create("Contact", contact).unwrap();
    let stranger = fake.create("Contact", json!({ "LastName": "x" })).unwrap();
    let into = LeadConversion::new().account(&account);
    let state = || {
        let objects = ["Account", "Contact", "Opportunity", "Lead"];
        objects.map(|object| Value::from(fake.records(object)))
    };
    let id = lead(fake);
    let before = state();
    let error = fake.convert_lead(&id, into.clone().contact(stranger));
    let error = error.unwrap_err();
    assert_eq!(error.errors[0].code, "INVALID_CROSS_REFERENCE_KEY");
    let too_long = into.clone().opportunity("x".repeat(121));
    assert!(fake.convert_lead(&id, too_long).is_err());
    assert_eq!(state(), before, "a conversion that fails leaves nothing");

    let into = into.contact(&contact).without_opportunity();
    let converted = fake.convert_lead(&id, into).unwrap();
    assert_eq!((converted.account, converted.contact), (account, contact));
    assert_eq!(converted.opportunity, None);
    assert!(fake.records("Opportunity").is_empty());
}

#[tokio::test]
async fn a_converted_lead_is_closed_to_the_api() {
    let session = Session::start().await;
    let id = lead(&session.fake);
    let sealed = json!({ "LastName": "x", "Company": "x", "ConvertedDate": "2026-01-01" });
    let sealed = session.create("Lead", sealed).await;
    assert_eq!(
        sealed.error(),
        refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    );
    let path = format!("/_fake/records/{id}/convert");
    let body = json!({ "opportunity": "Deal" });
    let converted = session.post(&path, body).await.json();
    let deal = session
        .fake
        .record(converted["opportunity"].as_str().unwrap());
    assert_eq!(deal.unwrap()["Name"], "Deal");
    let code = "CANNOT_UPDATE_CONVERTED_LEAD";
    let body = json!({ "Company": "y" });
    let changed = session.patch(&format!("sobjects/Lead/{id}"), body).await;
    assert_eq!(changed.error(), refused(400, code));
    let body = json!({ "Subject": "Call", "WhoId": id });
    assert_eq!(
        session.create("Task", body).await.error(),
        refused(400, code)
    );
    let again = session.fake.convert_lead(&id, LeadConversion::new());
    assert_eq!(again.unwrap_err().errors[0].code, code);
}
