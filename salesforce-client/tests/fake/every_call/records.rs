use futures_util::StreamExt;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{
    ChangeCursor, NewTask, NewTextField, Record, RecordId, Row, TreeRecord, soql,
};
use serde_json::{Value, json};

use super::Served;

pub(super) async fn try_all(served: &mut Served) {
    single(served).await;
    collections(served).await;
    many_in_one(served).await;
    changes(served).await;
    deals_and_tasks(served).await;
    setup(served).await;
}

async fn single(served: &mut Served) {
    let client = served.client.clone();
    let accounts = client.sobject("Account");
    let acme = json!({ "Name": "Acme" });
    let acme = served.ok("SObjects::create", accounts.create(&acme).await);
    let read = served.ok("SObjects::get", accounts.get(&acme).send().await);
    assert_eq!(read["Name"], "Acme");
    let read = accounts.get(&acme).fields(["Name"]).read_as::<Value>();
    let read = served.ok("GetRecord::read_as", read.send().await);
    assert!(read.get("Phone").is_none());
    served.ok("GetRecord::send", accounts.get(&acme).send().await);
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let unmodified = accounts.get(&acme).if_modified_since(later).send().await;
    let unmodified = served.ok("GetIfModified::send", unmodified);
    assert!(unmodified.is_none());
    let new = accounts.get(&acme).if_modified_since(Timestamp::UNIX_EPOCH);
    let new = served.ok("GetRecord::if_modified_since", new.send().await);
    assert!(new.is_some());

    let phone = json!({ "Phone": "+1 555 0199" });
    let changed = accounts.update(&acme, &phone).send().await;
    served.ok("SObjects::update", changed);
    let guarded = accounts.update(&acme, &phone).if_unmodified_since(later);
    served.ok("Update::send", guarded.send().await);
    let upserted = accounts.upsert("Key__c", "k-1", &json!({ "Name": "Keyed" }));
    assert!(served.ok("SObjects::upsert", upserted.send().await).created);
    let again = accounts.upsert("Key__c", "k-1", &json!({ "Name": "Keyed" }));
    let again = served.ok("Upsert::send", again.send().await);
    assert!(!again.created);
    let keyed = accounts.get_by("Key__c", "k-1").send().await;
    assert_eq!(served.ok("SObjects::get_by", keyed)["Name"], "Keyed");
    let deleted = accounts.delete_by("Key__c", "k-1").await;
    served.ok("SObjects::delete_by", deleted);

    let described = served.ok("SObjects::describe", accounts.describe().send().await);
    assert!(described.takes_files());
    served.ok("Describe::send", accounts.describe().send().await);
    let described = accounts.describe().if_modified_since(later).await;
    assert!(
        served
            .ok("Describe::if_modified_since", described)
            .is_none()
    );

    let deal = served.opportunity(&acme);
    let deals = client.sobject("Opportunity");
    let parent = deals.related::<Record>(&deal, "Account").fields(&["Name"]);
    let parent = served.ok("Related::one", parent.one().await);
    assert_eq!(parent.unwrap()["Name"], "Acme");
    let children = accounts.related::<Record>(&acme, "Opportunities");
    let children = children.fields(&["Name"]).children().all(10).await;
    assert_eq!(served.ok("Related::children", children).len(), 1);
    let children = accounts.related::<Record>(&acme, "Opportunities");
    served.ok("SObjects::related", children.children().first().await);

    served.ok("SObjects::delete", deals.delete(&deal).await);
}

/// What a collection brought, if nothing failed.
fn saved<I, T>(rows: Vec<Row<I, T>>) -> salesforce_client::Result<Vec<T>> {
    rows.into_iter().map(|row| row.outcome).collect()
}

async fn collections(served: &mut Served) {
    let client = served.client.clone();
    let accounts = client.sobject("Account");
    let named = |name: &str| json!({ "Name": name });
    let created = accounts.create_all([named("One"), named("Two")]);
    let created = created.all_or_none().send().await;
    let created = served.ok("SObjects::create_all", saved(created));
    let ids: Vec<RecordId> = created.into_iter().map(|it| it.id).collect();
    let changes: Vec<_> = ids
        .iter()
        .cloned()
        .map(|id| (id, named("Changed")))
        .collect();
    let changed = accounts.update_all(changes).send().await;
    served.ok("SObjects::update_all", saved(changed));
    let upserted = accounts.upsert_all("Key__c", [("k-2", named("Keyed"))]);
    let upserted = upserted.send().await;
    served.ok("SObjects::upsert_all", saved(upserted));
    let read = accounts.get_all(ids.clone(), &["Name"]).collect().await;
    let read = served.ok("SObjects::get_all", saved(read));
    assert!(read.iter().flatten().all(|it| it["Name"] == "Changed"));
    let rows = accounts
        .create_all([named("Streamed")])
        .stream()
        .collect()
        .await;
    served.ok("Collection::stream", saved(rows));
    let rows = accounts.create_all([named("Sent")]).send().await;
    served.ok("Collection::send", saved(rows));
    let deleted = accounts.delete_all(ids).send().await;
    served.ok("SObjects::delete_all", saved(deleted));

    let contact = TreeRecord::new("Contact", "c", &json!({ "LastName": "Ray" })).unwrap();
    let tree = TreeRecord::new("Account", "a", &named("Tree")).unwrap();
    let tree = accounts
        .create_tree([tree.child("Contacts", contact)])
        .await;
    assert_eq!(served.ok("SObjects::create_tree", tree).ids.len(), 2);
}

async fn many_in_one(served: &mut Served) {
    let client = served.client.clone();
    let name = json!({ "Name": "Composed" });
    let mut composite = client.composite().all_or_none();
    let created = composite.create("Account", &name);
    let read = composite.get("Account", &created, &["Name"]);
    let changed = composite.update("Account", &created, &name);
    let upserted = composite.upsert("Account", "Key__c", "k-3", &name);
    let queried = composite.query("SELECT Id FROM Account LIMIT 1");
    let limits = composite.request(Method::GET, "/limits", None);
    let deleted = composite.delete("Account", &created);
    let answers = composite.send().await;
    let answers = served.ok("Composite::send", answers);
    for (function, part) in [
        ("create", created),
        ("get", read),
        ("update", changed),
        ("upsert", upserted),
        ("query", queried),
        ("request", limits),
        ("delete", deleted),
    ] {
        let answer = answers.get(&part).unwrap();
        let outcome = answer.is_success().then_some(()).ok_or(answer);
        served.ok(&format!("Composite::{function}"), outcome);
    }

    let account = served.account("Batched");
    let mut batch = client.batch();
    let parts = [
        ("create", batch.create("Account", &name)),
        ("get", batch.get("Account", &account, &["Name"])),
        ("update", batch.update("Account", &account, &name)),
        ("query", batch.query(soql("SELECT Id FROM Account LIMIT 1"))),
        ("request", batch.request(Method::GET, "/limits", None)),
        ("delete", batch.delete("Account", &account)),
    ];
    let answers = served.ok("Batch::send", batch.send().await);
    for (function, part) in parts {
        let answer = answers.get(part).unwrap();
        let outcome = answer.is_success().then_some(()).ok_or(answer);
        served.ok(&format!("Batch::{function}"), outcome);
    }

    let mut graph = client.composite();
    graph.create("Account", &name);
    let graphs = served.ok("SalesforceClient::graphs", client.graphs([graph]).await);
    assert!(graphs[0].is_ok());
}

async fn changes(served: &mut Served) {
    let client = served.client.clone();
    let accounts = client.sobject("Account");
    let now = Timestamp::now();
    let start = now - SignedDuration::from_hours(1);
    let updated = accounts.updated(start, now).await;
    served.ok("SObjects::updated", updated);
    let deleted = accounts.deleted(start, now).await;
    served.ok("SObjects::deleted", deleted);
    let changes = || {
        accounts
            .changes(ChangeCursor::starting_at(start))
            .until_now()
    };
    served.all("SObjects::changes", changes().stream()).await;
    served.all("Changes::stream", changes().stream()).await;
}

async fn deals_and_tasks(served: &mut Served) {
    let client = served.client.clone();
    let account = served.account("Dealer");
    let deal = served.opportunity(&account);
    let opportunities = client.opportunities();
    let stages = served.ok("Opportunities::stages", opportunities.stages().await);
    let stage = served.ok("Opportunities::stage", opportunities.stage(&deal).await);
    assert!(
        stages
            .iter()
            .any(|known| Some(&known.api_name) == stage.stage_name.as_ref())
    );
    let won = stages.iter().find(|stage| stage.is_won).unwrap();
    let set = opportunities.set_stage(&deal, &won.api_name, None).await;
    served.ok("Opportunities::set_stage", set);
    let task = NewTask::new("Signed").what_id(&deal);
    let task = served.ok("Tasks::create", client.tasks().create(&task).await);
    assert!(served.org.record(task.as_str()).is_some());
}

async fn setup(served: &mut Served) {
    let client = served.client.clone();
    let tooling = client.tooling();
    let user = RecordId::new(served.org.integration_user()).unwrap();
    let field = NewTextField::new("Account", "Box_Id__c", 40).key();
    let created = tooling.create_field(&field).await;
    assert!(served.ok("Tooling::create_field", created));
    let set = tooling.permission_set("Bridge", "Bridge").await;
    let set = served.ok("Tooling::permission_set", set);
    let granted = tooling.grant_field(&set, "Account", "Box_Id__c").await;
    assert!(served.ok("Tooling::grant_field", granted));
    let assigned = tooling.assign(&set, &user).await;
    assert!(served.ok("Tooling::assign", assigned));
    let ensured = tooling.ensure_field(&field, "Bridge", &user).await;
    served.ok("Tooling::ensure_field", ensured);
    let known =
        soql("SELECT Id FROM CustomField WHERE DeveloperName = :name").bind("name", "Box_Id");
    let known = tooling.query::<Record>(known).all(10).await;
    assert_eq!(served.ok("Tooling::query", known).len(), 1);
}
