use box_client::{ConflictResolution, ErrorKind, TemplateField, TemplateUpdate};
use serde_json::json;

use crate::{
    desk::all,
    instances::{KEY, SCOPE, desk, mapping},
    vendor::{Vendor, status},
};

#[tokio::test]
async fn a_template_grows_and_goes_with_its_values() {
    let desk = desk().await;
    let templates = desk.client.metadata_templates();
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
    desk.client
        .metadata()
        .set(&desk.folder, SCOPE, KEY, &json!({ "amount": 1 }))
        .await
        .unwrap();
    templates.delete("enterprise", KEY).await.unwrap();
    let gone = templates.get("enterprise", KEY).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(
        desk.client
            .metadata()
            .list(&desk.folder)
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
async fn a_cascade_policy_hands_values_down_as_asked() {
    let desk = desk().await;
    let (metadata, policies) = (
        desk.client.metadata(),
        desk.client.metadata_cascade_policies(),
    );
    let (own, none) = (desk.file("own.pdf"), desk.file("none.pdf"));
    metadata
        .set(&desk.folder, SCOPE, KEY, &mapping("006A", None))
        .await
        .unwrap();
    metadata
        .set(&own, SCOPE, KEY, &mapping("006B", None))
        .await
        .unwrap();
    let policy = policies
        .create(&desk.folder, "enterprise", KEY)
        .await
        .unwrap();
    assert_eq!(policy.parent.unwrap().id.as_ref(), Some(&desk.folder));
    let twice = policies
        .create(&desk.folder, "enterprise", KEY)
        .await
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    assert_eq!(all(policies.list(&desk.folder)).await.len(), 1);
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
