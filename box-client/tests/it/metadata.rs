use box_client::{BoxClient, ErrorKind, FolderId, MetadataInstance, Result};
use serde::Deserialize;
use serde_json::json;

use crate::vendor::{Vendor, error, reply};

const PATH: &str = "/2.0/folders/100/metadata/enterprise_12345/salesforceMapping";

#[derive(Debug, Deserialize, PartialEq)]
struct Mapping {
    opportunity: String,
    amount: f64,
}

async fn read(client: &BoxClient, scope: &str, key: &str) -> Result<Option<MetadataInstance>> {
    let folder = FolderId::new("100").unwrap();
    client.metadata().on_folder(&folder, scope, key).await
}

async fn mapping(client: &BoxClient) -> Result<Option<MetadataInstance>> {
    read(client, "enterprise_12345", "salesforceMapping").await
}

#[tokio::test]
async fn an_instance_is_read_from_either_success() {
    // Box documents 200; 201 has been seen.
    for code in [200, 201] {
        let vendor = Vendor::start().await;
        let instance = json!({
            "$id": "01234500-12f1-1234-aa12-b1d234cb567e", "$type": "salesforceMapping-6bcba49f",
            "$parent": "folder_100", "$template": "salesforceMapping",
            "$scope": "enterprise_12345", "$typeVersion": 2, "$version": 3, "$canEdit": true,
            "opportunity": "006000000000001AAA", "amount": 12.5,
        });
        vendor.answers("GET", PATH, [reply(code, instance)]).await;
        let found = mapping(&vendor.client()).await.unwrap().unwrap();
        assert_eq!(found.version, Some(3));
        assert_eq!(found.scope.as_deref(), Some("enterprise_12345"));
        let values: Mapping = found.to().unwrap();
        assert_eq!(values.opportunity, "006000000000001AAA");
        let misfit = found.to::<Vec<u8>>().unwrap_err();
        assert_eq!(misfit.kind(), ErrorKind::Decode);
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_template_that_is_not_applied_is_none_in_both_spellings() {
    for code in ["instance_not_found", "instance_tuple_not_found"] {
        let vendor = Vendor::start().await;
        let body = json!({ "code": code, "message": "not found", "request_id": "1" });
        vendor.answers("GET", PATH, [reply(404, body)]).await;
        assert!(mapping(&vendor.client()).await.unwrap().is_none(), "{code}");
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_none() {
    let vendor = Vendor::start().await;
    vendor.answers("GET", PATH, [error(404, "not_found")]).await;
    let failure = mapping(&vendor.client()).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::NotFound);
    vendor.done().await;
}

#[tokio::test]
async fn a_key_cannot_climb_out_of_its_path() {
    let vendor = Vendor::start().await;
    for (scope, key) in [("..", "x"), ("global", ".."), ("", "x"), ("global", "")] {
        let failure = read(&vendor.client(), scope, key).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Invalid, "{scope}/{key}");
    }
    vendor.done().await;
}
