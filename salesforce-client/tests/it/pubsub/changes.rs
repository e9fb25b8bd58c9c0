//! What change events say of what happened in the org.

use futures_util::TryStreamExt;
use salesforce_client::{
    RecordId, StaticToken,
    pubsub::{ChangeEventHeader, ChangeType, Event},
    testing::{CustomObject, FakeSalesforce, Field, LeadConversion},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{all, client, settings};
use crate::support::quick;

const CONTACTS: &str = "/data/ContactChangeEvent";

fn change(event: &Event) -> ChangeEventHeader {
    event.change().unwrap().unwrap()
}

async fn org_with(objects: &[&str]) -> FakeSalesforce {
    let builder = settings().capture_changes(objects.iter().copied());
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_change_tells_which_fields_changed_and_which_were_cleared() {
    let org = org_with(&["Contact"]).await;
    let token = StaticToken::new(org.issue_token(), org.url()).unwrap();
    let client = salesforce_client::SalesforceClient::builder(token)
        .retry(quick())
        .client_name("box-bridge");
    let contacts = client.build().unwrap();
    let contacts = contacts.sobject("Contact");
    let fields = json!({ "FirstName": "Ann", "LastName": "Hara", "Email": "a@b.example",
        "MailingCity": "Ulm", "Birthdate": "1990-02-03" });
    let id = contacts.create(&fields).await.unwrap();
    let fields = json!({ "LastName": "Bluth", "Email": null, "Phone": "1", "MailingStreet": "2" });
    contacts.update(&id, &fields).send().await.unwrap();
    contacts.delete(&id).await.unwrap();
    org.undelete(id.as_str()).unwrap();

    let events = all(&org, CONTACTS, 4).await;
    let told: Vec<ChangeEventHeader> = events.iter().map(change).collect();
    let kinds: Vec<&ChangeType> = told.iter().map(|it| &it.change_type).collect();
    assert_eq!(
        kinds,
        [
            &ChangeType::Create,
            &ChangeType::Update,
            &ChangeType::Delete,
            &ChangeType::Undelete
        ]
    );
    for told in &told {
        assert_eq!(told.entity_name, "Contact");
        assert_eq!(told.record_ids, [id.to_string()]);
        assert_eq!(told.sequence_number, 1);
        let age = jiff::Timestamp::now().duration_since(told.commit_timestamp.unwrap());
        assert!(age.as_secs() < 60);
    }
    let mine = "com/salesforce/api/rest/58.0;client=box-bridge";
    let origins: Vec<&str> = told.iter().map(|it| it.change_origin.as_str()).collect();
    assert_eq!(origins[..3], [mine; 3]);
    assert!(origins[3].contains("SfdcInternalAPI"), "{origins:?}");
    assert_eq!(told[0].commit_user, org.integration_user());
    assert_eq!(told[3].commit_user, org.other_user());
    assert!(told.windows(2).all(|it| {
        it[0].commit_number < it[1].commit_number && it[0].transaction_key != it[1].transaction_key
    }));

    let created = events[0].fields().unwrap();
    assert_eq!(
        created["Name"],
        json!({ "Salutation": null, "FirstName": "Ann", "LastName": "Hara" })
    );
    assert_eq!(created["MailingAddress"]["City"], "Ulm");
    assert_eq!(created["Birthdate"], 634_003_200_000_i64);
    assert!(created["CreatedDate"].is_i64());
    assert_eq!(told[0].changed_fields, [""; 0]);

    let mut changed = told[1].changed_fields.clone();
    changed.sort_unstable();
    let expected = [
        "Email",
        "LastModifiedDate",
        "MailingAddress.Street",
        "Name.LastName",
        "Phone",
    ];
    assert_eq!(changed, expected);
    assert_eq!(told[1].nulled_fields, ["Email"]);
    // Only what changed is there.
    let updated = events[1].fields().unwrap();
    assert_eq!(updated["Name"]["LastName"], "Bluth");
    assert_eq!(updated["Name"]["FirstName"], Value::Null);
    assert_eq!(updated["MailingAddress"]["City"], Value::Null);
    assert_eq!(updated["Birthdate"], Value::Null);

    let deleted = events[2].fields().unwrap();
    let mut rest = deleted
        .iter()
        .filter(|(name, _)| *name != "ChangeEventHeader");
    assert!(rest.all(|(_, value)| value.is_null()));
    assert_eq!(events[3].fields().unwrap()["Phone"], "1");
}

#[tokio::test]
async fn only_objects_that_were_selected_are_told_of() {
    let org = org_with(&["Contact"]).await;
    let account = json!({ "Name": "Acme" });
    org.create("Account", account.clone()).unwrap();
    org.create("Contact", json!({ "LastName": "x" })).unwrap();
    let folder = CustomObject::new("pkg__Folder__c").field(Field::text("pkg__Id__c", 18));
    org.add_custom_object(folder).unwrap();
    org.capture_changes(["Account", "pkg__Folder__c"]).unwrap();
    org.create("Contact", json!({ "LastName": "y" })).unwrap();
    org.create("Account", account).unwrap();
    let folder = json!({ "pkg__Id__c": "7" });
    org.create("pkg__Folder__c", folder).unwrap();
    assert!(org.capture_changes(["Nothing"]).is_err());
    let events = all(&org, "/data/ChangeEvents", 3).await;
    let entities: Vec<String> = events.iter().map(|it| change(it).entity_name).collect();
    assert_eq!(entities, ["Contact", "Account", "pkg__Folder__c"]);
    let events = all(&org, "/data/pkg__Folder__ChangeEvent", 1).await;
    assert_eq!(events[0].fields().unwrap()["pkg__Id__c"], "7");
}

#[tokio::test]
async fn a_transaction_is_told_of_as_one_and_not_at_all_where_it_was_taken_back() {
    let org = org_with(&["Account", "Contact", "Opportunity", "Lead"]).await;
    let client = client(&org);
    let accounts = client.sobject("Account");
    let named = |name: &str| json!({ "Name": name });
    let made = accounts.create_all([named("a"), named("b")]).send().await;
    let ids: Vec<RecordId> = made.into_iter().map(|it| it.outcome.unwrap().id).collect();
    let broken = [named("c"), json!({ "Name": null })];
    let refused = accounts.create_all(broken).all_or_none().send().await;
    assert!(refused.iter().all(|it| it.outcome.is_err()));
    let same = ids.iter().map(|id| (id.clone(), json!({ "Phone": "1" })));
    for updated in accounts.update_all(same).send().await {
        updated.outcome.unwrap();
    }
    let lead = json!({ "LastName": "Bluth", "Company": "Homes" });
    let lead = org.create("Lead", lead).unwrap();
    org.convert_lead(&lead, LeadConversion::new()).unwrap();

    let events = all(&org, "/data/ChangeEvents", 8).await;
    let told: Vec<ChangeEventHeader> = events.iter().map(change).collect();
    assert_eq!(told[0].transaction_key, told[1].transaction_key);
    assert_eq!((told[0].sequence_number, told[1].sequence_number), (1, 2));
    // Equal changes are one event.
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(told[2].record_ids, ids);
    assert_eq!(told[2].change_type, ChangeType::Update);
    let conversion = &told[4..];
    let entities: Vec<&str> = conversion
        .iter()
        .map(|it| it.entity_name.as_str())
        .collect();
    assert_eq!(entities, ["Account", "Contact", "Opportunity", "Lead"]);
    let key = &conversion[0].transaction_key;
    assert!(conversion.iter().all(|it| it.transaction_key == *key));
    let numbers: Vec<i64> = conversion.iter().map(|it| it.sequence_number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let changed = &conversion[3].changed_fields;
    assert!(changed.contains(&"ConvertedOpportunityId".to_owned()));
}

#[tokio::test]
async fn what_a_bulk_job_does_is_told_of() {
    let org = org_with(&["Account"]).await;
    let client = client(&org);
    #[derive(Serialize)]
    struct Account {
        #[serde(rename = "Name")]
        name: String,
    }
    let rows = (0..3).map(|number| {
        let name = format!("Acme {number}");
        std::io::Result::Ok(Account { name })
    });
    let rows = futures_util::stream::iter(rows);
    let jobs = client.bulk().insert("Account").rows(rows);
    let jobs: Vec<_> = jobs.try_collect().await.unwrap();
    jobs[0].wait().send().await.unwrap();
    let events = all(&org, "/data/AccountChangeEvent", 3).await;
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event.fields().unwrap()["Name"], format!("Acme {number}"));
        assert_eq!(
            change(event).change_origin,
            "com/salesforce/api/bulkapi/58.0"
        );
    }
}

#[tokio::test]
async fn a_new_field_makes_another_schema() {
    let org = org_with(&["Account"]).await;
    org.create("Account", json!({ "Name": "a" })).unwrap();
    let field = Field::multipicklist("Regions__c", ["North", "South"]);
    org.add_custom_field("Account", field).unwrap();
    let account = json!({ "Name": "b", "Regions__c": "South;North" });
    org.create("Account", account).unwrap();
    let events = all(&org, "/data/AccountChangeEvent", 2).await;
    assert_ne!(events[0].schema_id(), events[1].schema_id());
    assert!(!events[0].fields().unwrap().contains_key("Regions__c"));
    assert_eq!(events[1].fields().unwrap()["Regions__c"], "North;South");
}

#[tokio::test]
async fn a_gap_has_no_fields_and_may_have_no_ids() {
    let org = org_with(&["Account"]).await;
    let gap = |kind, ids: &[&str]| org.tell_gap("Account", kind, ids);
    gap(ChangeType::GapUpdate, &["0015g0000000001AAA"]).unwrap();
    gap(ChangeType::GapOverflow, &["001*"]).unwrap();
    assert!(gap(ChangeType::Update, &["0015g0000000001AAA"]).is_err());
    let events = all(&org, "/data/AccountChangeEvent", 2).await;
    assert!(change(&events[0]).change_type.is_gap());
    assert_eq!(change(&events[1]).record_ids, ["001*"]);
}
