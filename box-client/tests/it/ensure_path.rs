//! Hierarchies of folders.

use box_client::{
    BoxClient, ErrorKind, FolderId,
    testing::{Fault, FaultEffect},
};
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    boxed::{Boxed, root},
    vendor::{Vendor, error, reply},
};

const PATH: &str = "/Clients/Acme/Deal/Contracts";

async fn ensure(client: &BoxClient) -> box_client::EnsuredPath {
    client.folders().ensure_path(PATH).send().await.unwrap()
}

fn folders(boxed: &Boxed) -> usize {
    // Without the root.
    boxed.fake.state()["folders"].as_array().unwrap().len() - 1
}

#[tokio::test]
async fn what_is_missing_is_made_and_what_is_there_is_taken() {
    let boxed = Boxed::start().await;
    let clients = boxed.fake.create_folder("0", "CLIENTS").unwrap();
    let first = ensure(&boxed.client).await;
    assert_eq!(first.created, 3);
    assert_eq!(first.folders[0].id.as_str(), clients);
    let names: Vec<_> = first
        .folders
        .iter()
        .map(|it| it.name.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["CLIENTS", "Acme", "Deal", "Contracts"]);
    // In what is new nothing is looked for.
    assert_eq!(boxed.sent("GET", "/items").len(), 2);

    boxed.fake.clear_requests();
    let again = ensure(&boxed.client).await;
    assert_eq!((again.created, &again.folders), (0, &first.folders));
    assert!(boxed.sent("POST", "/folders").is_empty());
    let below = boxed
        .client
        .folders()
        .ensure_names(["deal"])
        .under(&first.folders[1].id);
    assert_eq!(
        below.send().await.unwrap().last().unwrap().id,
        first.folders[2].id
    );
    boxed.done();
}

#[tokio::test]
async fn twenty_at_once_make_one_hierarchy() {
    let boxed = Boxed::start().await;
    let calls = (0..20).map(|_| {
        let client = boxed.client.clone();
        tokio::spawn(async move { ensure(&client).await })
    });
    let ensured: Vec<_> = join_all(calls)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for one in &ensured {
        assert_eq!(one.folders, ensured[0].folders);
    }
    assert_eq!(ensured.iter().map(|it| it.created).sum::<usize>(), 4);
    assert_eq!(folders(&boxed), 4);
    boxed.done();
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_folder() {
    let boxed = Boxed::start().await;
    let lost = Fault::on("/2.0/folders", FaultEffect::LostAnswer).method("POST");
    boxed.fake.inject(lost.skip(1).times(2));
    assert_eq!(ensure(&boxed.client).await.folders.len(), 4);
    assert_eq!(folders(&boxed), 4);
    boxed.done();
}

#[tokio::test]
async fn a_file_of_the_name_is_a_conflict() {
    let boxed = Boxed::start().await;
    boxed.fake.upload("0", "clients", "x").unwrap();
    let error = boxed
        .client
        .folders()
        .ensure_path(PATH)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(folders(&boxed), 0);
    boxed.done();
}

#[tokio::test]
async fn every_name_is_checked_before_anything_is_made() {
    let boxed = Boxed::start().await;
    for names in [["ok", "a/b"], ["ok", ".."], ["ok", "end "], ["ok", ""]] {
        let ensure = boxed.client.folders().ensure_names(names);
        assert_eq!(ensure.send().await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(boxed.fake.requests().is_empty());
    let none = boxed
        .client
        .folders()
        .ensure_path("//")
        .send()
        .await
        .unwrap();
    assert!(none.last().is_none());
    boxed.done();
}

fn folder(id: &str, name: &str) -> serde_json::Value {
    json!({ "type": "folder", "id": id, "name": name })
}

/// The look reads one page; then the conflict tells, or the rest of the pages where it does not.
#[tokio::test]
async fn in_a_large_folder_the_conflict_finds_what_is_there() {
    let more = || {
        reply(
            200,
            json!({ "entries": [folder("1", "other")], "next_marker": "m" }),
        )
    };
    let end = || {
        reply(
            200,
            json!({ "entries": [folder("5", "ACME")], "next_marker": "" }),
        )
    };
    let named = json!({
        "type": "error", "status": 409, "code": "item_name_in_use",
        "context_info": { "conflicts": [folder("5", "ACME")] },
    });
    for (pages, refusal) in [
        (vec![more()], reply(409, named)),
        (vec![more(), more(), end()], error(409, "item_name_in_use")),
        // Who may only enter may make nothing.
        (
            vec![more(), more(), end()],
            error(403, "access_denied_insufficient_permissions"),
        ),
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("GET", "/2.0/folders/0/items", pages).await;
        vendor.answers("POST", "/2.0/folders", [refusal]).await;
        let client = vendor.client();
        let ensured = client
            .folders()
            .ensure_path("Acme")
            .under(&root())
            .send()
            .await
            .unwrap();
        assert_eq!(ensured.last().unwrap().id, FolderId::new("5").unwrap());
        assert_eq!(ensured.created, 0);
        vendor.done().await;
    }
}
