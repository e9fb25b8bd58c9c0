//! A cascade hands a deal's values down to all that lies in its folder: the folder on top is the
//! deal's, also for whoever remembers nothing.

use std::sync::Arc;

use box_client::{BoxClient, ConflictResolution, DeveloperToken, FolderId};
use bridge::{SystemClock, crm::Record, store::memory::MemoryStore};
use serde_json::json;

use crate::sync_fakes::{Setting, TEMPLATE, dead};

/// The first deal's folder, and two in it that have its values by a cascade.
async fn with_cascade(setting: &Setting) -> [String; 3] {
    let top = setting.deals[0].0.clone();
    let middle = setting.content.create_folder(&top, "Contracts").unwrap();
    let inner = setting.content.create_folder(&middle, "Signed").unwrap();
    let client = BoxClient::builder(DeveloperToken::new(setting.content.issue_token()))
        .base_url(&setting.content.url())
        .build()
        .unwrap();
    let policies = client.metadata_cascade_policies();
    let folder = FolderId::new(&top).unwrap();
    let policy = policies.create(&folder, "enterprise", TEMPLATE).await;
    let policy = policy.unwrap().id;
    let none = ConflictResolution::None;
    policies.apply(&policy, &none).await.unwrap();
    let deal = json!(setting.deals[0].1);
    for folder in [&middle, &inner] {
        assert_eq!(setting.instance(folder).await["opportunity_id"], deal);
    }
    [top, middle, inner]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_folder_in_a_cascade_is_no_reason_to_take_that_for_the_deals() {
    let mut random = fastrand::Rng::with_seed(7);
    for depth in 0..3 {
        let setting = Setting::up().await;
        let folders = with_cascade(&setting).await;
        let deal = setting.deals[0].1.clone();
        let mut told = setting.content.events().len();
        let edit = match depth {
            0 => json!({ "next_step": "sign" }),
            // What somebody writes into a folder below is not what the deal's folder says.
            _ => json!({ "regions": ["Americas"] }),
        };
        let content = &setting.content;
        content
            .apply_metadata(&folders[depth], TEMPLATE, edit)
            .unwrap();
        let there = json!({ "Regions__c": "Europe" });
        setting.crm.update(&deal, there).unwrap();

        let worker = setting.worker("w");
        setting.tell_of_folders(&mut told, &mut random).await;
        setting.wait_idle().await;
        worker.abort();
        assert_eq!(dead(&setting).await, Vec::<String>::new());
        let regions = setting.instance(&folders[0]).await.remove("regions");
        assert_eq!(regions, Some(json!(["Europe"])), "depth {depth}");
        let record = setting.crm.record(&deal).unwrap();
        assert_eq!(record["Regions__c"], "Europe", "depth {depth}");
        for inherited in folders[1..].iter().filter(|it| **it != folders[depth]) {
            let regions = setting.instance(inherited).await.remove("regions");
            assert_eq!(regions, None, "depth {depth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_folders_that_name_a_deal_the_outermost_is_its_own_and_two_of_those_are_for_a_person()
 {
    let setting = Setting::up().await;
    let folders = with_cascade(&setting).await;
    let deal = &setting.deals[0].1;
    let record = Record {
        id: deal.clone(),
        object: Some("Opportunity".to_owned()),
    };
    let crm = setting.sides.1.clone();
    let preview = async || {
        let store = Arc::new(MemoryStore::new());
        let preview = setting.rule.preview(&record, &crm, &*store, &SystemClock);
        preview.await
    };
    assert_eq!(preview().await.unwrap().folder.as_ref(), Some(&folders[0]));

    let copy = setting.content.create_folder("0", "Copy").unwrap();
    let values = json!({ "opportunity_id": deal });
    setting
        .content
        .apply_metadata(&copy, TEMPLATE, values)
        .unwrap();
    let refused = preview().await.unwrap_err().to_string();
    assert!(
        [&folders[0], &copy].iter().all(|it| refused.contains(*it)),
        "{refused}"
    );
    assert!(
        folders[1..].iter().all(|it| !refused.contains(it)),
        "{refused}"
    );
}
