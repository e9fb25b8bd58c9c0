//! Values that are bound into queries, as the org's own parser reads them.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestRunner};
use salesforce_client::{Like, Record, SalesforceClient, Soql, soql, testing::FakeSalesforce};
use serde_json::json;

use crate::org::{create, start};

/// Any text, and texts of what means something to SOQL.
fn texts() -> impl Strategy<Value = String> {
    let meant = "['\"%_:()=,a-c0-9 \n\r\t\u{0}\u{8}\u{c}\u{7f}\u{85}é-]|\\\\|OR|--|\\{|\\}";
    prop_oneof![
        any::<String>(),
        prop::collection::vec(meant, 0..30).prop_map(|parts| parts.concat()),
    ]
}

async fn found(client: &SalesforceClient, query: Soql) -> BTreeSet<String> {
    let rows = client.query::<Record>(query).all(10).await.unwrap();
    let names = rows.iter().map(|row| row["Name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

async fn check(org: &FakeSalesforce, client: &SalesforceClient, value: &str) {
    let named = json!({ "Name": value, "Phone": "1" });
    // What no record can be named finds nothing, and what it is named is what is looked for.
    let made = org.create("Account", named).ok();
    let expected: BTreeSet<String> = made.iter().map(|_| value.to_owned()).collect();
    let bound = |text: &str| soql(format!("SELECT Name FROM Account WHERE {text}"));
    let is = bound("Phone = '1' AND Name = :v").bind("v", value);
    assert_eq!(found(client, is).await, expected, "{value:?}");
    let among = bound("Name IN :v AND Phone = '1'").bind("v", ["none", value, "of these"]);
    assert_eq!(found(client, among).await, expected, "{value:?}");
    for pattern in [
        Like::contains(value),
        Like::starts_with(value),
        Like::ends_with(value),
    ] {
        let like = bound("(Name LIKE :v) AND Phone = '1'").bind("v", pattern);
        assert_eq!(found(client, like).await, expected, "{value:?}");
    }
    if let Some(id) = made {
        org.delete(&id).unwrap();
    }
}

#[test]
fn whatever_is_bound_is_what_is_looked_for_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (org, client) = runtime.block_on(start());
    // Found by a query whose structure a value has changed.
    create(&org, "Account", json!({ "Name": "other", "Phone": "2" }));
    let mut runner = TestRunner::default();
    let outcome = runner.run(&texts(), |value| {
        runtime.block_on(check(&org, &client, &value));
        Ok(())
    });
    outcome.unwrap();
}
