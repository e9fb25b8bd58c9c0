use box_client::{
    ConflictResolution, ErrorKind, FoundItem, ItemId, MetadataPatch, TemplateField, TemplateUpdate,
    testing::{Fault, FaultEffect},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    boxed::{Boxed, all},
    vendor::{Vendor, reply, status},
};

const SCOPE: &str = "enterprise_12345";
const KEY: &str = "salesforceMapping";

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Mapping {
    opportunity_id: Option<String>,
    stage: Option<String>,
    amount: Option<f64>,
}

fn mapping(opportunity: &str, stage: Option<&str>) -> Mapping {
    Mapping {
        opportunity_id: Some(opportunity.to_owned()),
        stage: stage.map(str::to_owned),
        amount: None,
    }
}

async fn boxed() -> Boxed {
    let boxed = Boxed::start().await;
    boxed
        .client
        .metadata_templates()
        .create("Salesforce Mapping")
        .field(TemplateField::string("opportunity_id", "Opportunity ID").description("18 long"))
        .field(TemplateField::one_of(
            "stage",
            "Stage",
            ["Open", "Closed Won"],
        ))
        .field(TemplateField::float("amount", "Amount"))
        .send()
        .await
        .unwrap();
    boxed
}

#[tokio::test]
async fn values_come_back_in_the_callers_type_from_files_and_folders() {
    let boxed = boxed().await;
    let (metadata, file) = (boxed.client.metadata(), boxed.file("nda.pdf"));
    for item in [ItemId::from(&boxed.folder), ItemId::from(&file)] {
        assert_eq!(
            metadata
                .get_as::<Mapping>(item.clone(), SCOPE, KEY)
                .await
                .unwrap(),
            None
        );
        let wanted = mapping("006A", Some("Open"));
        let made = metadata
            .create(item.clone(), SCOPE, KEY, &wanted)
            .await
            .unwrap();
        assert_eq!(
            (made.version, made.scope.as_deref()),
            (Some(0), Some(SCOPE))
        );
        let stored = metadata.get_as(item.clone(), SCOPE, KEY).await.unwrap();
        assert_eq!(stored, Some(wanted));
        let again = metadata
            .create(item.clone(), SCOPE, KEY, &made.values)
            .await;
        let again = again.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Conflict);
        assert_eq!(again.api().unwrap().code(), Some("tuple_already_exists"));
        assert_eq!(metadata.list(item.clone()).await.unwrap().len(), 1);
        metadata.delete(item.clone(), SCOPE, KEY).await.unwrap();
        assert!(
            metadata
                .get(item.clone(), SCOPE, KEY)
                .await
                .unwrap()
                .is_none()
        );
        let gone = metadata.delete(item, SCOPE, KEY).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_test_in_a_patch_keeps_two_writers_apart() {
    let boxed = boxed().await;
    let metadata = boxed.client.metadata();
    let open = mapping("006A", Some("Open"));
    metadata
        .create(&boxed.folder, SCOPE, KEY, &open)
        .await
        .unwrap();
    let win = MetadataPatch::new()
        .test("stage", "Open")
        .replace("stage", "Closed Won");
    let won = metadata
        .update(&boxed.folder, SCOPE, KEY, &win)
        .await
        .unwrap();
    assert_eq!(won.version, Some(1));
    let late = metadata
        .update(&boxed.folder, SCOPE, KEY, &win)
        .await
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    assert_eq!(
        late.api().unwrap().code(),
        Some("failed_json_patch_application")
    );
    assert!(late.api().unwrap().message().is_some() && late.request_id().is_some());
}

#[tokio::test]
async fn a_patch_that_cannot_be_made_twice_is_sent_once() {
    let boxed = boxed().await;
    let metadata = boxed.client.metadata();
    let open = mapping("006A", Some("Open"));
    metadata
        .create(&boxed.folder, SCOPE, KEY, &open)
        .await
        .unwrap();
    let path = format!("/2.0/folders/{}/metadata/{SCOPE}/{KEY}", boxed.folder);
    let lost = || Fault::on(&path, FaultEffect::LostAnswer).times(1);
    boxed.fake.inject(lost());
    let win = MetadataPatch::new()
        .test("stage", "Open")
        .replace("stage", "Closed Won");
    let unknown = metadata
        .update(&boxed.folder, SCOPE, KEY, &win)
        .await
        .unwrap_err();
    assert!(unknown.may_have_happened(), "{unknown}");
    assert_eq!(boxed.count("PUT", &path), 1);
    // Setting twice is setting once.
    boxed.fake.inject(lost());
    let add = MetadataPatch::new().add("stage", "Open");
    let opened = metadata
        .update(&boxed.folder, SCOPE, KEY, &add)
        .await
        .unwrap();
    assert_eq!(opened.values["stage"], "Open");
    assert_eq!(boxed.count("PUT", &path), 3);
}

#[tokio::test]
async fn set_makes_or_changes_and_leaves_other_values_alone() {
    let boxed = boxed().await;
    let metadata = boxed.client.metadata();
    let first = mapping("006A", Some("Open"));
    metadata
        .set(&boxed.folder, SCOPE, KEY, &first)
        .await
        .unwrap();
    let second = mapping("006B", None);
    let changed = metadata
        .set(&boxed.folder, SCOPE, KEY, &second)
        .await
        .unwrap();
    assert_eq!(
        changed.to::<Mapping>().unwrap(),
        mapping("006B", Some("Open")),
        "null is no value, and what is not named stays"
    );
    // What was read can be written, Box's own members and all.
    let kept = metadata
        .set(&boxed.folder, SCOPE, KEY, &changed.values)
        .await
        .unwrap();
    assert_eq!(kept.values["opportunity_id"], "006B");
    let empty = metadata
        .set(&boxed.folder, SCOPE, KEY, &json!({}))
        .await
        .unwrap();
    assert_eq!(empty.values["opportunity_id"], "006B");
    let misfit = metadata
        .set(&boxed.folder, SCOPE, KEY, &7)
        .await
        .unwrap_err();
    assert_eq!(misfit.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn set_survives_a_lost_answer_and_a_race_of_many() {
    let boxed = boxed().await;
    let path = format!("/2.0/folders/{}/metadata/{SCOPE}/{KEY}", boxed.folder);
    boxed
        .fake
        .inject(Fault::on(&path, FaultEffect::LostAnswer).times(1));
    let setting = (0..8).map(|n| {
        let (client, folder) = (boxed.client.clone(), boxed.folder.clone());
        async move {
            let value = mapping(&format!("006{n}"), Some("Open"));
            client
                .metadata()
                .set(&folder, SCOPE, KEY, &value)
                .await
                .unwrap();
        }
    });
    futures_util::future::join_all(setting).await;
    let stored = boxed
        .client
        .metadata()
        .get(&boxed.folder, SCOPE, KEY)
        .await
        .unwrap();
    assert_eq!(stored.unwrap().values["stage"], "Open");
    assert_eq!(
        boxed
            .client
            .metadata()
            .list(&boxed.folder)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn set_begins_anew_when_somebody_deletes_in_between_but_not_for_ever() {
    let path = "/2.0/folders/100/metadata/enterprise/salesforceMapping";
    let short = |status, code| {
        reply(
            status,
            json!({ "code": code, "message": "m", "request_id": "r" }),
        )
    };
    let folder = box_client::FolderId::new("100").unwrap();
    let exists = || short(409, "tuple_already_exists");
    let gone = || short(404, "instance_not_found");
    let vendor = Vendor::start().await;
    let made = reply(201, json!({ "$id": "5d3c", "stage": "Open" }));
    vendor.answers("POST", path, [exists(), made]).await;
    vendor.answers("PUT", path, [gone()]).await;
    let values = json!({ "stage": "Open" });
    let metadata = vendor.client();
    metadata
        .metadata()
        .set(&folder, "enterprise", KEY, &values)
        .await
        .unwrap();
    vendor.done().await;
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", path, [exists(), exists(), exists()])
        .await;
    vendor.answers("PUT", path, [gone(), gone(), gone()]).await;
    let given_up = vendor
        .client()
        .metadata()
        .set(&folder, "enterprise", KEY, &values)
        .await;
    assert_eq!(given_up.unwrap_err().kind(), ErrorKind::Conflict);
    vendor.done().await;
}

#[tokio::test]
async fn a_template_grows_and_goes_with_its_values() {
    let boxed = boxed().await;
    let templates = boxed.client.metadata_templates();
    let made = templates.get("enterprise", KEY).await.unwrap();
    assert_eq!(made.scope.as_deref(), Some(SCOPE));
    assert_eq!(
        templates
            .get_by_id(&made.id)
            .await
            .unwrap()
            .template_key
            .as_deref(),
        Some(KEY)
    );
    assert_eq!(all(templates.list()).await.len(), 1);
    assert!(!all(templates.list_global()).await.is_empty());
    let update = TemplateUpdate::new()
        .display_name("Mapping")
        .add_field(TemplateField::several_of("tags", "Tags", ["a", "b"]))
        .add_option("stage", "Closed Lost")
        .edit_option("stage", "Open", "Opened")
        .remove_multi_select_option("tags", "b")
        .field_display_name("amount", "Sum")
        .remove_field("opportunity_id")
        .reorder_fields(["tags", "stage", "amount"]);
    let changed = templates.update("enterprise", KEY, &update).await.unwrap();
    assert_eq!(changed.display_name.as_deref(), Some("Mapping"));
    let keys: Vec<_> = changed
        .fields
        .iter()
        .flatten()
        .map(|it| it.key.as_str())
        .collect();
    assert_eq!(keys, ["tags", "stage", "amount"]);
    let stage = changed.field("stage").unwrap().options.as_ref().unwrap();
    let stages: Vec<_> = stage.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(stages, ["Opened", "Closed Won", "Closed Lost"]);
    // All or nothing.
    let broken = TemplateUpdate::new()
        .remove_field("tags")
        .remove_field("none");
    let refused = templates
        .update("enterprise", KEY, &broken)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(
        templates
            .get("enterprise", KEY)
            .await
            .unwrap()
            .field("tags")
            .is_some()
    );
    boxed
        .client
        .metadata()
        .set(&boxed.folder, SCOPE, KEY, &json!({ "amount": 1 }))
        .await
        .unwrap();
    templates.delete("enterprise", KEY).await.unwrap();
    let gone = templates.get("enterprise", KEY).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(
        boxed
            .client
            .metadata()
            .list(&boxed.folder)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_template_update_is_not_sent_twice() {
    let vendor = Vendor::start().await;
    let path = "/2.0/metadata_templates/enterprise/salesforceMapping/schema";
    vendor.answers("PUT", path, [status(503)]).await;
    let update = TemplateUpdate::new().add_field(TemplateField::date("at", "At"));
    let client = vendor.client();
    let failed = client
        .metadata_templates()
        .update("enterprise", KEY, &update)
        .await;
    assert!(failed.unwrap_err().may_have_happened());
    vendor.done().await;
}

#[tokio::test]
async fn a_query_finds_each_item_once_through_all_its_pages() {
    let boxed = boxed().await;
    let metadata = boxed.client.metadata();
    for n in 0..130 {
        let deal = boxed.subfolder(&format!("Deal {n:03}"));
        let mapping = Mapping {
            opportunity_id: Some(format!("006{n:03}")),
            stage: Some(if n % 2 == 0 { "Open" } else { "Closed Won" }.to_owned()),
            amount: Some(f64::from(n)),
        };
        metadata.create(&deal, SCOPE, KEY, &mapping).await.unwrap();
    }
    let field = format!("metadata.{SCOPE}.{KEY}.opportunity_id");
    let all_of_them = metadata
        .query(SCOPE, KEY, &boxed.folder)
        .condition("amount >= :least")
        .bind("least", 5)
        .order_by("amount", false)
        .fields(["name", &field]);
    let found = all(all_of_them.stream()).await;
    assert_eq!(found.len(), 125);
    assert_eq!(boxed.count("POST", "/2.0/metadata_queries/execute_read"), 2);
    assert!(matches!(&found[0], FoundItem::Folder(_)));
    assert_eq!(found[0].name(), Some("Deal 129"));
    let values = found[0].metadata(SCOPE, KEY).unwrap();
    assert_eq!(values.values["opportunity_id"], "006129");
    let won = metadata
        .query(SCOPE, KEY, &boxed.folder)
        .condition("stage = :stage AND opportunity_id = :id")
        .bind("stage", "Closed Won")
        .bind("id", "006001");
    assert_eq!(all(won.stream()).await.len(), 1);
}

#[tokio::test]
async fn a_query_needs_the_full_scope_and_its_values() {
    let boxed = boxed().await;
    let metadata = boxed.client.metadata();
    for scope in ["enterprise", "global"] {
        let query = metadata.query(scope, KEY, &boxed.folder);
        let refused = futures_util::TryStreamExt::try_collect::<Vec<_>>(query.stream()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(boxed.count("POST", "/2.0/metadata_queries/execute_read"), 0);
    let unbound = metadata
        .query(SCOPE, KEY, &boxed.folder)
        .condition("stage = :stage");
    let refused = futures_util::TryStreamExt::try_collect::<Vec<_>>(unbound.stream()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.api().unwrap().code(), Some("unexpected_json_type"));
}

#[tokio::test]
async fn a_cascade_policy_hands_values_down_as_asked() {
    let boxed = boxed().await;
    let (metadata, policies) = (
        boxed.client.metadata(),
        boxed.client.metadata_cascade_policies(),
    );
    let (own, none) = (boxed.file("own.pdf"), boxed.file("none.pdf"));
    metadata
        .set(&boxed.folder, SCOPE, KEY, &mapping("006A", None))
        .await
        .unwrap();
    metadata
        .set(&own, SCOPE, KEY, &mapping("006B", None))
        .await
        .unwrap();
    let policy = policies
        .create(&boxed.folder, "enterprise", KEY)
        .await
        .unwrap();
    assert_eq!(policy.parent.unwrap().id.as_ref(), Some(&boxed.folder));
    let twice = policies
        .create(&boxed.folder, "enterprise", KEY)
        .await
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    assert_eq!(all(policies.list(&boxed.folder)).await.len(), 1);
    policies
        .apply(&policy.id, &ConflictResolution::None)
        .await
        .unwrap();
    let value = async |file| {
        let found = metadata.get(file, SCOPE, KEY).await.unwrap().unwrap();
        found.values["opportunity_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (value(&own).await, value(&none).await),
        ("006B".into(), "006A".into())
    );
    policies
        .apply(&policy.id, &ConflictResolution::Overwrite)
        .await
        .unwrap();
    assert_eq!(value(&own).await, "006A");
    policies.delete(&policy.id).await.unwrap();
    assert_eq!(
        policies.get(&policy.id).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let root = policies
        .create(&box_client::FolderId::root(), "enterprise", KEY)
        .await;
    assert_eq!(root.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_search_finds_by_words_place_and_values() {
    let boxed = boxed().await;
    let file = boxed.file("Master Agreement.pdf");
    boxed.file("Agreement draft.docx");
    boxed.subfolder("Master Agreement");
    boxed
        .client
        .metadata()
        .set(&file, SCOPE, KEY, &mapping("006A", None))
        .await
        .unwrap();
    let search = boxed.client.search();
    let found = all(search.clone().query("\"master agreement\"").stream()).await;
    assert_eq!(found.len(), 2);
    let files = search
        .clone()
        .query("agreement")
        .of_type(box_client::SearchType::File)
        .in_folders([boxed.folder.clone()])
        .file_extensions(["pdf"])
        .size_between(Some(1), None)
        .content_types([box_client::SearchIn::Name])
        .fields(["name", "parent"]);
    let found = all(files.stream()).await;
    assert_eq!(
        found.iter().map(FoundItem::id).collect::<Vec<_>>(),
        [Some(file.into())]
    );
    let values: Map<String, Value> = [("opportunity_id".to_owned(), json!("006A"))]
        .into_iter()
        .collect();
    let by_value = search.metadata("enterprise", KEY, values);
    assert_eq!(all(by_value.stream()).await.len(), 1);
}

#[tokio::test]
async fn a_search_turns_pages_by_the_limit_that_box_gives_and_stops_where_box_does() {
    let vendor = Vendor::start().await;
    let page = |total: u64| {
        let item = json!({ "type": "web_link", "id": "1", "name": "link" });
        reply(
            200,
            json!({ "total_count": total, "limit": 5000, "offset": 0, "entries": [item] }),
        )
    };
    vendor
        .answers("GET", "/2.0/search", [page(1_000_000), page(1_000_000)])
        .await;
    let client = vendor.client();
    let found = all(client.search().query("x").stream()).await;
    assert_eq!(found.len(), 2);
    assert!(matches!(found[0], FoundItem::Other(_)));
    let offsets: Vec<_> = vendor
        .requests()
        .await
        .iter()
        .map(|it| {
            it.url
                .query_pairs()
                .find(|(name, _)| name == "offset")
                .unwrap()
                .1
                .into_owned()
        })
        .collect();
    assert_eq!(offsets, ["0", "5000"]);
    vendor.done().await;
}
