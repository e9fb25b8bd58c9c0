//! Changes of files and folders, the trash, copies and shared links.

use box_client::{
    BoxClient, ErrorKind, FileId, FolderId, Item, LinkAccess, SharedLinkAccess,
    testing::{Fault, FaultEffect, RecordedRequest},
};
use futures_util::TryStreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    boxed::{Boxed, root},
    vendor::{Vendor, error, file, reply, status},
};

fn json_of(request: &RecordedRequest) -> Value {
    serde_json::from_str(&request.text()).unwrap()
}

/// The body of the last request of this method.
fn last(boxed: &Boxed, method: &str) -> Value {
    json_of(boxed.sent(method, "").last().unwrap())
}

async fn names(client: &BoxClient, folder: &FolderId) -> Vec<String> {
    let items = client.folders().items(folder).stream();
    let items: Vec<Item> = items.try_collect().await.unwrap();
    items
        .iter()
        .map(|item| item.name().unwrap().to_owned())
        .collect()
}

fn id(text: &str) -> FileId {
    FileId::new(text).unwrap()
}

#[tokio::test]
async fn a_file_is_changed_as_box_documents_it() {
    let boxed = Boxed::start().await;
    let file = id(&boxed.fake.upload("0", "a", "x").unwrap().file_id);
    let folder = FolderId::new(boxed.fake.create_folder("0", "Deals").unwrap()).unwrap();
    let files = boxed.client.files();

    let update = files
        .update(&file)
        .name("b")
        .parent(&folder)
        .description("d")
        .tags(["x", "y"]);
    let update = update.disposition_at("2030-01-01T00:00:00Z".parse().unwrap());
    let changed = update.send().await.unwrap();
    assert_eq!(changed.name.as_deref(), Some("b"));
    assert_eq!(changed.parent.unwrap().id, folder);
    let body = json!({
        "name": "b", "parent": { "id": folder }, "description": "d", "tags": ["x", "y"],
        "disposition_at": "2030-01-01T00:00:00Z",
    });
    assert_eq!(last(&boxed, "PUT"), body);

    let renamed = files
        .rename(&file, "c")
        .fields(["tags"])
        .send()
        .await
        .unwrap();
    assert_eq!(renamed.extra["tags"], json!(["x", "y"]));
    files.move_to(&file, &root()).send().await.unwrap();
    assert_eq!(last(&boxed, "PUT"), json!({ "parent": { "id": "0" } }));
    assert_eq!(names(&boxed.client, &root()).await, ["Deals", "c"]);
    boxed.done();
}

#[tokio::test]
async fn a_lock_holds_others_off_until_it_is_taken_off() {
    let boxed = Boxed::start().await;
    let file = id(&boxed.fake.upload("0", "a", "x").unwrap().file_id);
    let files = boxed.client.files();
    let end = "2099-01-01T00:00:00Z".parse().unwrap();
    let locked = files
        .lock(&file)
        .expires_at(end)
        .prevent_download()
        .send()
        .await
        .unwrap();
    let lock = locked.lock.unwrap();
    assert_eq!(lock.expired_at, Some(end));
    assert!(lock.is_download_prevented);
    let body = json!({ "lock": {
        "access": "lock", "expires_at": "2099-01-01T00:00:00Z", "is_download_prevented": true,
    }});
    assert_eq!(last(&boxed, "PUT"), body);
    boxed.fake.rename_file(file.as_str(), "b").unwrap_err();
    files.unlock(&file).send().await.unwrap();
    assert_eq!(last(&boxed, "PUT"), json!({ "lock": null }));
    boxed.fake.lock(file.as_str()).unwrap();
    let error = files.rename(&file, "b").send().await.unwrap_err();
    assert_eq!(
        error.api().unwrap().code(),
        Some("access_denied_item_locked")
    );
    boxed.done();
}

#[tokio::test]
async fn a_change_can_be_bound_to_the_state_that_was_seen() {
    let boxed = Boxed::start().await;
    let file = id(&boxed.fake.upload("0", "a", "x").unwrap().file_id);
    let folder = FolderId::new(boxed.fake.create_folder("0", "F").unwrap()).unwrap();
    let (files, folders) = (boxed.client.files(), boxed.client.folders());
    files.rename(&file, "b").if_match("0").send().await.unwrap();
    folders
        .rename(&folder, "G")
        .if_match("0")
        .send()
        .await
        .unwrap();
    let stale = [
        files
            .rename(&file, "c")
            .if_match("0")
            .send()
            .await
            .unwrap_err(),
        files.delete(&file).if_match("0").send().await.unwrap_err(),
        folders
            .rename(&folder, "H")
            .if_match("0")
            .send()
            .await
            .unwrap_err(),
        folders
            .delete(&folder)
            .if_match("0")
            .send()
            .await
            .unwrap_err(),
    ];
    for error in stale {
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(names(&boxed.client, &root()).await, ["G", "b"]);
    boxed.done();
}

/// The first attempt changes the etag, so a second would be refused for the success of the first.
#[tokio::test]
async fn a_bound_change_of_unknown_outcome_is_not_repeated() {
    let vendor = Vendor::start().await;
    vendor
        .answers("PUT", "/2.0/files/777", [status(502), reply(200, file())])
        .await;
    let client = vendor.client();
    let rename = client.files().rename(&id("777"), "b");
    let error = rename.if_match("1").send().await.unwrap_err();
    assert!(error.may_have_happened());
    client.files().rename(&id("777"), "b").send().await.unwrap();
    vendor.done().await;
}

#[tokio::test]
async fn what_is_deleted_when_a_lost_answer_is_asked_for_again_counts_as_deleted() {
    let boxed = Boxed::start().await;
    let file = id(&boxed.fake.upload("0", "a", "x").unwrap().file_id);
    let folder = FolderId::new(boxed.fake.create_folder("0", "F").unwrap()).unwrap();
    boxed.fake.create_folder(folder.as_str(), "inner").unwrap();
    boxed
        .fake
        .inject(Fault::on("/2.0/*", FaultEffect::LostAnswer).method("DELETE"));
    boxed.client.files().delete(&file).send().await.unwrap();
    let error = boxed.client.files().delete(&file).send().await.unwrap_err();
    assert_eq!(error.api().unwrap().code(), Some("trashed"));
    let folders = boxed.client.folders();
    let error = folders.delete(&folder).send().await.unwrap_err();
    assert_eq!(error.api().unwrap().code(), Some("folder_not_empty"));
    folders.delete(&folder).recursive().send().await.unwrap();
    assert!(names(&boxed.client, &root()).await.is_empty());
    boxed.done();
}

#[tokio::test]
async fn what_is_in_the_trash_can_be_seen_taken_out_and_deleted_for_good() {
    let boxed = Boxed::start().await;
    let folder = FolderId::new(boxed.fake.create_folder("0", "F").unwrap()).unwrap();
    let file = id(&boxed
        .fake
        .upload(folder.as_str(), "a", "x")
        .unwrap()
        .file_id);
    let (files, folders) = (boxed.client.files(), boxed.client.folders());
    files.delete(&file).send().await.unwrap();
    assert_eq!(
        files.trashed(&file).await.unwrap().item_status.as_deref(),
        Some("trashed")
    );
    assert_eq!(
        files
            .restore(&file)
            .send()
            .await
            .unwrap()
            .item_status
            .as_deref(),
        Some("active")
    );

    // Its name is in use by now.
    files.delete(&file).send().await.unwrap();
    boxed.fake.upload(folder.as_str(), "A", "y").unwrap();
    let taken = files.restore(&file).send().await.unwrap_err();
    assert!(taken.name_in_use().is_some());
    let restored = files.restore(&file).name("b").send().await.unwrap();
    assert_eq!(restored.name.as_deref(), Some("b"));

    folders.delete(&folder).recursive().send().await.unwrap();
    assert_eq!(
        folders.trashed(&folder).await.unwrap().name.as_deref(),
        Some("F")
    );
    let trash: Vec<Item> = folders.trash_items().stream().try_collect().await.unwrap();
    assert!(
        matches!(&trash[..], [Item::Folder(it)] if it.id == folder),
        "{trash:?}"
    );
    folders.restore(&folder).send().await.unwrap();
    assert_eq!(names(&boxed.client, &folder).await, ["A", "b"]);

    files.delete(&file).send().await.unwrap();
    files.delete_permanently(&file).await.unwrap();
    assert_eq!(
        files.trashed(&file).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    folders.delete(&folder).recursive().send().await.unwrap();
    folders.delete_permanently(&folder).await.unwrap();
    let trash: Vec<Item> = folders.trash_items().stream().try_collect().await.unwrap();
    assert!(trash.is_empty());
    boxed.done();
}

#[tokio::test]
async fn copies_stand_beside_what_they_were_made_of() {
    let boxed = Boxed::start().await;
    let folder = FolderId::new(boxed.fake.create_folder("0", "F").unwrap()).unwrap();
    let first = boxed.fake.upload(folder.as_str(), "a", "1").unwrap();
    boxed.fake.upload_version(&first.file_id, "2").unwrap();
    let (files, folders) = (boxed.client.files(), boxed.client.folders());
    let file = id(&first.file_id);
    let copy = files.copy(&file, &root()).send().await.unwrap();
    assert_eq!(boxed.bytes(&copy.id).await, "2");
    let version = first.version_id.parse().unwrap();
    let old = files.copy(&file, &root()).name("old").version(&version);
    let old = old.send().await.unwrap();
    assert_eq!(boxed.bytes(&old.id).await, "1");
    let copied = folders
        .copy(&folder, &root())
        .name("G")
        .send()
        .await
        .unwrap();
    assert_eq!(names(&boxed.client, &copied.id).await, ["a"]);
    assert_eq!(names(&boxed.client, &root()).await, ["F", "G", "a", "old"]);
    boxed.done();
}

#[tokio::test]
async fn past_versions_are_seen_promoted_deleted_and_taken_out_of_the_trash() {
    let boxed = Boxed::start().await;
    let first = boxed.fake.upload("0", "a", "1").unwrap();
    boxed.fake.upload_version(&first.file_id, "2").unwrap();
    let (file, version) = (id(&first.file_id), first.version_id.parse().unwrap());
    let files = boxed.client.files();
    assert_eq!(
        files.version(&file, &version).await.unwrap().sha1,
        Some(first.sha1)
    );
    let promoted = files.promote(&file, &version).await.unwrap();
    assert_ne!(promoted.id, version);
    assert_eq!(boxed.bytes(&file).await, "1");
    files.delete_version(&file, &version).await.unwrap();
    let past: Vec<_> = files.versions(&file).try_collect().await.unwrap();
    assert_eq!(past.len(), 1);
    files.restore_version(&file, &version).await.unwrap();
    let past: Vec<_> = files.versions(&file).try_collect().await.unwrap();
    assert_eq!(past[1].id, version);
    boxed.done();
}

#[tokio::test]
async fn a_folder_is_made_and_changed() {
    let boxed = Boxed::start().await;
    let folders = boxed.client.folders();
    let made = folders.create(&root(), "Acme").send().await.unwrap();
    assert_eq!(
        last(&boxed, "POST"),
        json!({ "name": "Acme", "parent": { "id": "0" } })
    );
    let taken = folders.create(&root(), "ACME").send().await.unwrap_err();
    assert_eq!(
        taken.name_in_use().unwrap().folder_id(),
        Some(made.id.clone())
    );
    let inner = folders.create(&made.id, "inner").send().await.unwrap();
    let update = folders
        .update(&inner.id)
        .description("d")
        .field("can_non_owners_invite", false);
    assert_eq!(
        update.send().await.unwrap().description.as_deref(),
        Some("d")
    );
    folders.move_to(&inner.id, &root()).send().await.unwrap();
    let cycle = folders
        .move_to(&made.id, &made.id)
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        cycle.api().unwrap().code(),
        Some("cyclical_folder_structure")
    );
    assert_eq!(names(&boxed.client, &root()).await, ["Acme", "inner"]);
    boxed.done();
}

#[tokio::test]
async fn a_listing_goes_on_by_markers_to_their_end() {
    let vendor = Vendor::start().await;
    let page = |ids: &[&str], marker: Value| {
        let entries: Vec<_> = ids
            .iter()
            .map(|id| json!({ "type": "folder", "id": id, "name": id }))
            .collect();
        reply(
            200,
            json!({ "entries": entries, "limit": 1000, "next_marker": marker }),
        )
    };
    let odd = json!({ "entries": [
        { "type": "web_link", "id": "8", "name": "link", "url": "https://example.com" },
        { "type": "hologram", "id": "9" },
        { "type": "file", "id": "7", "name": "f", "etag": 3 },
    ], "next_marker": "c" });
    let answers = [
        page(&["1"], json!("a")),
        page(&[], json!("b")),
        reply(200, odd),
        page(&["2"], json!("")),
    ];
    vendor.answers("GET", "/2.0/folders/0/items", answers).await;
    let client = vendor.client();
    let items = client.folders().items(&root()).fields(["name"]).stream();
    let items: Vec<Item> = items.try_collect().await.unwrap();
    let kinds: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::File(_) => "file",
            Item::Folder(_) => "folder",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["folder", "other", "other", "file", "folder"]);
    let queries: Vec<_> = vendor
        .requests()
        .await
        .iter()
        .map(|it| it.url.query().unwrap().to_owned())
        .collect();
    assert_eq!(queries[0], "usemarker=true&limit=1000&fields=name");
    assert_eq!(queries[3], "usemarker=true&limit=1000&marker=c&fields=name");
    vendor.done().await;
}

#[tokio::test]
async fn a_shared_link_is_made_changed_found_and_taken_away() {
    let boxed = Boxed::start().await;
    let file = id(&boxed.fake.upload("0", "a", "x").unwrap().file_id);
    let folder = FolderId::new(boxed.fake.create_folder("0", "F").unwrap()).unwrap();
    let links = boxed.client.shared_links();
    assert!(links.file(&file).get().await.unwrap().is_none());
    let made = links.file(&file).set().send().await.unwrap();
    assert_eq!(last(&boxed, "PUT"), json!({ "shared_link": {} }));
    assert_eq!(made.is_password_enabled, Some(false));

    let password = SecretString::from("S3cret-word");
    let set = links
        .file(&file)
        .set()
        .access(LinkAccess::Company)
        .can_download(false);
    let set = set.password(&password);
    assert!(!format!("{set:?}").contains("S3cret"));
    let changed = set.send().await.unwrap();
    assert_eq!(
        (changed.url.as_str(), changed.access),
        (&*made.url, Some(LinkAccess::Company))
    );
    let body = json!({ "shared_link": {
        "access": "company", "password": "S3cret-word", "permissions": { "can_download": false },
    }});
    assert_eq!(last(&boxed, "PUT"), body);
    assert_eq!(
        links.file(&file).get().await.unwrap().unwrap().url,
        made.url
    );

    let link = SharedLinkAccess::new(&made.url);
    assert_eq!(
        links.find(&link).await.unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    let link = link.password(password);
    assert!(!format!("{link:?}").contains("box.com"));
    let found = links.find(&link).await.unwrap();
    assert!(matches!(found, Item::File(it) if it.id == file));
    let get = boxed.client.files().get(&file).shared_link(link);
    get.send().await.unwrap();
    let sent = boxed.sent("GET", file.as_str()).pop().unwrap();
    let header = format!("shared_link={}&shared_link_password=S3cret-word", made.url);
    assert_eq!(sent.header("boxapi"), Some(&*header));

    links
        .folder(&folder)
        .set()
        .vanity_name("a-very-own-name")
        .send()
        .await
        .unwrap();
    let vanity = links
        .folder(&folder)
        .get()
        .await
        .unwrap()
        .unwrap()
        .vanity_url
        .unwrap();
    let found = links.find(&SharedLinkAccess::new(vanity)).await.unwrap();
    assert!(matches!(found, Item::Folder(it) if it.id == folder));
    links.folder(&folder).remove().await.unwrap();
    assert_eq!(last(&boxed, "PUT"), json!({ "shared_link": null }));
    assert!(links.folder(&folder).get().await.unwrap().is_none());
    boxed.done();
}

#[tokio::test]
async fn a_link_that_opens_nothing_is_not_found() {
    let vendor = Vendor::start().await;
    vendor
        .answers("GET", "/2.0/shared_items", [error(404, "not_found")])
        .await;
    let client = vendor.client();
    let link = SharedLinkAccess::new("https://app.box.com/s/gone");
    assert_eq!(
        client.shared_links().find(&link).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let broken = SharedLinkAccess::new("https://app.box.com/s/\n");
    assert_eq!(
        client
            .shared_links()
            .find(&broken)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
    vendor.done().await;
}
