use box_client::{
    ErrorKind, ItemId, MetadataPatch, TemplateField,
    testing::{Fault, FaultEffect},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    desk::Desk,
    vendor::{Vendor, reply},
};

pub(crate) const SCOPE: &str = "enterprise_12345";
pub(crate) const KEY: &str = "salesforceMapping";

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Mapping {
    pub(crate) opportunity_id: Option<String>,
    pub(crate) stage: Option<String>,
    pub(crate) amount: Option<f64>,
}

pub(crate) fn mapping(opportunity: &str, stage: Option<&str>) -> Mapping {
    Mapping {
        opportunity_id: Some(opportunity.to_owned()),
        stage: stage.map(str::to_owned),
        amount: None,
    }
}

pub(crate) async fn desk() -> Desk {
    let desk = Desk::start().await;
    desk.client
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
    desk
}

#[tokio::test]
async fn values_come_back_in_the_callers_type_from_files_and_folders() {
    let desk = desk().await;
    let (metadata, file) = (desk.client.metadata(), desk.file("nda.pdf"));
    for item in [ItemId::from(&desk.folder), ItemId::from(&file)] {
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
    let desk = desk().await;
    let metadata = desk.client.metadata();
    let open = mapping("006A", Some("Open"));
    metadata
        .create(&desk.folder, SCOPE, KEY, &open)
        .await
        .unwrap();
    let win = MetadataPatch::new()
        .test("stage", "Open")
        .replace("stage", "Closed Won");
    let won = metadata
        .update(&desk.folder, SCOPE, KEY, &win)
        .await
        .unwrap();
    assert_eq!(won.version, Some(1));
    let late = metadata
        .update(&desk.folder, SCOPE, KEY, &win)
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
    let desk = desk().await;
    let metadata = desk.client.metadata();
    let open = mapping("006A", Some("Open"));
    metadata
        .create(&desk.folder, SCOPE, KEY, &open)
        .await
        .unwrap();
    let path = format!("/2.0/folders/{}/metadata/{SCOPE}/{KEY}", desk.folder);
    let lost = || Fault::on(&path, FaultEffect::LostAnswer).times(1);
    desk.fake.inject(lost());
    let win = MetadataPatch::new()
        .test("stage", "Open")
        .replace("stage", "Closed Won");
    let unknown = metadata
        .update(&desk.folder, SCOPE, KEY, &win)
        .await
        .unwrap_err();
    assert!(unknown.may_have_happened(), "{unknown}");
    assert_eq!(desk.count("PUT", &path), 1);
    // Setting twice is setting once.
    desk.fake.inject(lost());
    let add = MetadataPatch::new().add("stage", "Open");
    let opened = metadata
        .update(&desk.folder, SCOPE, KEY, &add)
        .await
        .unwrap();
    assert_eq!(opened.values["stage"], "Open");
    assert_eq!(desk.count("PUT", &path), 3);
}

#[tokio::test]
async fn set_makes_or_changes_and_leaves_other_values_alone() {
    let desk = desk().await;
    let metadata = desk.client.metadata();
    let first = mapping("006A", Some("Open"));
    metadata
        .set(&desk.folder, SCOPE, KEY, &first)
        .await
        .unwrap();
    let second = mapping("006B", None);
    let changed = metadata
        .set(&desk.folder, SCOPE, KEY, &second)
        .await
        .unwrap();
    assert_eq!(
        changed.to::<Mapping>().unwrap(),
        mapping("006B", Some("Open")),
        "null is no value, and what is not named stays"
    );
    // What was read can be written, Box's own members and all.
    let kept = metadata
        .set(&desk.folder, SCOPE, KEY, &changed.values)
        .await
        .unwrap();
    assert_eq!(kept.values["opportunity_id"], "006B");
    let empty = metadata
        .set(&desk.folder, SCOPE, KEY, &json!({}))
        .await
        .unwrap();
    assert_eq!(empty.values["opportunity_id"], "006B");
    let misfit = metadata
        .set(&desk.folder, SCOPE, KEY, &7)
        .await
        .unwrap_err();
    assert_eq!(misfit.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn set_survives_a_lost_answer_and_a_race_of_many() {
    let desk = desk().await;
    let path = format!("/2.0/folders/{}/metadata/{SCOPE}/{KEY}", desk.folder);
    desk.fake
        .inject(Fault::on(&path, FaultEffect::LostAnswer).times(1));
    let setting = (0..8).map(|n| {
        let (client, folder) = (desk.client.clone(), desk.folder.clone());
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
    let stored = desk
        .client
        .metadata()
        .get(&desk.folder, SCOPE, KEY)
        .await
        .unwrap();
    assert_eq!(stored.unwrap().values["stage"], "Open");
    assert_eq!(
        desk.client
            .metadata()
            .list(&desk.folder)
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
