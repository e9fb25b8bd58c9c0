use serde_json::json;

use crate::support::{Session, send};

#[tokio::test]
async fn only_what_was_put_into_the_trash_is_in_it() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "F").unwrap();
    let inner = session.fake.upload(&folder, "a", "x").unwrap().file_id;
    let live = format!("2.0/folders/{folder}/trash");
    session.get(&live).await.refused(404, "not_found");
    send(session.request("POST", &format!("2.0/folders/{folder}")))
        .await
        .refused(404, "not_found");
    session
        .delete(&format!("2.0/folders/{folder}?recursive=true"))
        .await;
    let shown = session.get(&live).await.json();
    assert_eq!(shown["path_collection"]["entries"][0]["name"], "Trash");
    // It lies in a folder there, which is the one to be taken out.
    session
        .get(&format!("2.0/files/{inner}/trash"))
        .await
        .refused(404, "not_found");
    let listed = session
        .get("2.0/folders/trash/items?usemarker=true")
        .await
        .json();
    assert_eq!(listed["entries"].as_array().unwrap().len(), 1);

    let restored = send(session.request("POST", &format!("2.0/folders/{folder}"))).await;
    assert_eq!(restored.status, 201);
    assert_eq!(session.get(&format!("2.0/files/{inner}")).await.status, 200);
}

#[tokio::test]
async fn what_was_trashed_before_its_folder_stays_there() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "F").unwrap();
    let early = session.fake.upload(&folder, "a", "x").unwrap().file_id;
    session.delete(&format!("2.0/files/{early}")).await;
    session.delete(&format!("2.0/folders/{folder}")).await;
    // Its place is in the trash too: it needs another one.
    let at = format!("2.0/files/{early}");
    session.post(&at, json!({})).await.refused(404, "trashed");
    let restored = session.post(&at, json!({ "parent": { "id": "0" } })).await;
    assert_eq!(restored.text("/parent/id"), "0");
    send(session.request("POST", &format!("2.0/folders/{folder}"))).await;
    assert_eq!(session.delete(&format!("{at}/trash")).await.status, 404);
}
