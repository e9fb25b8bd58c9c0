use box_client::{ErrorKind, FoundItem};
use serde_json::{Map, Value, json};

use crate::{
    desk::all,
    instances::{KEY, Mapping, SCOPE, desk, mapping},
    vendor::{Vendor, reply},
};

#[tokio::test]
async fn a_query_finds_each_item_once_through_all_its_pages() {
    let desk = desk().await;
    let metadata = desk.client.metadata();
    for n in 0..130 {
        let deal = desk.subfolder(&format!("Deal {n:03}"));
        let mapping = Mapping {
            opportunity_id: Some(format!("006{n:03}")),
            stage: Some(if n % 2 == 0 { "Open" } else { "Closed Won" }.to_owned()),
            amount: Some(f64::from(n)),
        };
        metadata.create(&deal, SCOPE, KEY, &mapping).await.unwrap();
    }
    let field = format!("metadata.{SCOPE}.{KEY}.opportunity_id");
    let all_of_them = metadata
        .query(SCOPE, KEY, &desk.folder)
        .condition("amount >= :least")
        .bind("least", 5)
        .order_by("amount", false)
        .fields(["name", &field]);
    let found = all(all_of_them.stream()).await;
    assert_eq!(found.len(), 125);
    assert_eq!(desk.count("POST", "/2.0/metadata_queries/execute_read"), 2);
    assert!(matches!(&found[0], FoundItem::Folder(_)));
    assert_eq!(found[0].name(), Some("Deal 129"));
    let values = found[0].metadata(SCOPE, KEY).unwrap();
    assert_eq!(values.values["opportunity_id"], "006129");
    let won = metadata
        .query(SCOPE, KEY, &desk.folder)
        .condition("stage = :stage AND opportunity_id = :id")
        .bind("stage", "Closed Won")
        .bind("id", "006001");
    assert_eq!(all(won.stream()).await.len(), 1);
}

#[tokio::test]
async fn a_query_needs_the_full_scope_and_its_values() {
    let desk = desk().await;
    let metadata = desk.client.metadata();
    for scope in ["enterprise", "global"] {
        let query = metadata.query(scope, KEY, &desk.folder);
        let refused = futures_util::TryStreamExt::try_collect::<Vec<_>>(query.stream()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(desk.count("POST", "/2.0/metadata_queries/execute_read"), 0);
    let unbound = metadata
        .query(SCOPE, KEY, &desk.folder)
        .condition("stage = :stage");
    let refused = futures_util::TryStreamExt::try_collect::<Vec<_>>(unbound.stream()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.api().unwrap().code(), Some("unexpected_json_type"));
}

#[tokio::test]
async fn a_search_finds_by_words_place_and_values() {
    let desk = desk().await;
    let file = desk.file("Master Agreement.pdf");
    desk.file("Agreement draft.docx");
    desk.subfolder("Master Agreement");
    desk.client
        .metadata()
        .set(&file, SCOPE, KEY, &mapping("006A", None))
        .await
        .unwrap();
    let search = desk.client.search();
    let found = all(search.clone().query("\"master agreement\"").stream()).await;
    assert_eq!(found.len(), 2);
    let files = search
        .clone()
        .query("agreement")
        .of_type(box_client::SearchType::File)
        .in_folders([desk.folder.clone()])
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
