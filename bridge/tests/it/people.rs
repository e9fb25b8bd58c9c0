//! The people of an org, found by their e-mail address.

use bridge::{Crm, Records, SalesforceCrm, crm::Record, records::Nearness};
use salesforce_client::{SalesforceClient, StaticToken, testing::FakeSalesforce};
use serde_json::json;

const EMAIL: &str = "buyer@customer.example";

#[tokio::test]
async fn contacts_of_one_address_come_by_their_nearness_to_the_deal() {
    let org = FakeSalesforce::start().await.unwrap();
    let tokens = StaticToken::new(org.issue_token(), org.url()).unwrap();
    let crm = SalesforceCrm::new(SalesforceClient::new(tokens).unwrap());
    let account = |name: &str| org.create("Account", json!({ "Name": name })).unwrap();
    let (own, other) = (account("Acme"), account("Umbrella"));
    let deal = json!({
        "Name": "Deal", "AccountId": own, "StageName": "Prospecting", "CloseDate": "2030-06-30",
    });
    let deal = org.create("Opportunity", deal).unwrap();
    let contact = |account: &str| {
        let contact = json!({ "LastName": "Buyer", "Email": EMAIL, "AccountId": account });
        org.create("Contact", contact).unwrap()
    };
    let (stranger, colleague, decider) = (contact(&other), contact(&own), contact(&other));
    let role = json!({ "OpportunityId": deal, "ContactId": decider, "Role": "Decision Maker" });
    org.create("OpportunityContactRole", role).unwrap();

    let found = async |email: &str, near: Option<&Record>| {
        let contacts = crm.contacts(email, near).await.unwrap();
        let of = |it: bridge::records::Contact| (it.record.id, it.nearness);
        contacts.into_iter().map(of).collect::<Vec<_>>()
    };
    let (deal, account) = (crm.record(&deal).unwrap(), crm.record(&own).unwrap());
    assert_eq!(
        found("Buyer@Customer.example", Some(&deal)).await,
        [
            (decider.clone(), Nearness::Deal),
            (colleague.clone(), Nearness::Account),
            (stranger.clone(), Nearness::Elsewhere),
        ]
    );
    let by_account = found(EMAIL, Some(&account)).await;
    assert_eq!(by_account[0], (colleague, Nearness::Account));
    assert!(
        by_account[1..]
            .iter()
            .all(|(_, it)| *it == Nearness::Elsewhere)
    );
    let far = found(EMAIL, None).await;
    assert!(far.len() == 3 && far.iter().all(|(_, it)| *it == Nearness::Elsewhere));
    assert_eq!(found("nobody' OR Email != '", Some(&deal)).await, []);
}
