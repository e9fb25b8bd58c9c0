//! Tokens that can do less, and calls in another's name.

use std::time::Duration;

use box_client::{
    BoxClient, ClientCredentials, DeveloperToken, ErrorKind, FileId, FolderId, MemoryTokenStore,
    Subject, UserId,
    testing::{FakeBox, Fault, FaultEffect},
};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::{
    fake,
    vendor::{Vendor, bad_token, file, header, refusal, reply},
};

const TOKEN: &str = "/oauth2/token";
const SERVICE: &str = "AutomationUser_1_fake@boxdevedition.com";

fn credentials() -> ClientCredentials {
    let subject = Subject::Enterprise("12345".to_owned());
    ClientCredentials::new(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET, subject)
}

async fn get(client: &BoxClient, id: &FileId) -> box_client::Result<box_client::File> {
    client.files().get(id).send().await
}

#[tokio::test]
async fn a_downscoped_token_reaches_its_file_and_nothing_else() {
    let fake = fake::start(FakeBox::builder()).await;
    let wanted = FileId::new(fake.upload("0", "a", "x").unwrap().file_id).unwrap();
    let other = FileId::new(fake.upload("0", "b", "x").unwrap().file_id).unwrap();
    let client = fake::client(&fake, credentials());
    let request = client
        .downscope(["item_preview", "item_download"])
        .file(&wanted);
    let narrow = request.send().await.unwrap();
    let scopes: Vec<_> = narrow
        .restricted_to
        .iter()
        .map(|r| (r.scope.as_deref().unwrap(), &*r.object.as_ref().unwrap().id))
        .collect();
    let id = wanted.as_str();
    assert_eq!(scopes, [("item_preview", id), ("item_download", id)]);

    let narrow = fake::client(&fake, narrow.token);
    get(&narrow, &wanted).await.unwrap();
    let failure = get(&narrow, &other).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Forbidden);
    assert_eq!(failure.api().unwrap().code(), Some("insufficient_scope"));

    let form = fake::forms(&fake).remove(1);
    let names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "grant_type",
            "subject_token",
            "subject_token_type",
            "scope",
            "resource"
        ]
    );
    assert_eq!(form[4].1, format!("https://api.box.com/2.0/files/{wanted}"));
    assert_eq!(fake.violations(), [""; 0]);
}

#[tokio::test]
async fn a_source_of_downscoped_tokens_renews_them() {
    let fake = fake::start(FakeBox::builder()).await;
    let folder = fake.create_folder("0", "Deals").unwrap();
    let id = FileId::new(fake.upload(&folder, "a", "x").unwrap().file_id).unwrap();
    let folder = FolderId::new(folder).unwrap();
    let client = fake::client(&fake, credentials());
    let source = client
        .downscope(["base_explorer"])
        .folder(&folder)
        .into_source();
    let narrow = fake::client(&fake, source);
    get(&narrow, &id).await.unwrap();
    fake.inject(Fault::on("/2.0/files/*", FaultEffect::ExpireSession));
    get(&narrow, &id).await.unwrap();
    assert_eq!(fake.violations(), [""; 0]);
}

#[tokio::test]
async fn a_refused_own_token_is_renewed_before_it_is_narrowed() {
    // Which of the two Box answers is not documented.
    for refused in [
        bad_token(),
        refusal("invalid_grant", "Invalid subject token"),
    ] {
        let vendor = Vendor::start().await;
        let token = |name: &str| reply(200, json!({ "access_token": name, "expires_in": 3600 }));
        let answers = [token("own1"), refused, token("own2"), token("narrow")];
        vendor.answers("POST", TOKEN, answers).await;
        let client = vendor.client_of(credentials());
        let narrow = client.downscope(["item_preview"]).send().await.unwrap();
        assert_eq!(narrow.token.secret().expose_secret(), "narrow");
        assert!(narrow.restricted_to.is_empty());
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_narrowed_is_refused_once_and_for_all() {
    let fake = fake::start(FakeBox::builder()).await;
    let client = fake::client(&fake, credentials());
    let missing = FileId::new("1").unwrap();
    for request in [
        client.downscope(["no_such_scope"]),
        client.downscope(["item_preview"]).file(&missing),
        client
            .downscope(["item_preview"])
            .shared_link("https://app.box.com/s/x"),
    ] {
        let failure = request.send().await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert!(!failure.is_retryable());
    }
    let failure = client.downscope([""; 0]).send().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_narrowed_token_that_is_refused_says_who_has_to_renew_it() {
    let vendor = Vendor::start().await;
    vendor.answers("GET", "/2.0/files/777", [bad_token()]).await;
    let token = box_client::AccessToken::new("t".into(), Some(Duration::ZERO));
    let failure = get(&vendor.client_of(token), &FileId::new("777").unwrap()).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(
        failure.to_string().contains("cannot be renewed here"),
        "{failure}"
    );
    vendor.done().await;
}

#[tokio::test]
async fn calls_are_made_in_the_users_name_and_only_where_it_belongs() {
    let fake = fake::start(FakeBox::builder()).await;
    let ann = UserId::new(fake.create_user("Ann", "ann@example.com")).unwrap();
    let id = FileId::new(fake.upload("0", "a", "content").unwrap().file_id).unwrap();
    let client = fake::client(&fake, credentials());
    let as_ann = client.as_user(&ann);
    assert_eq!(fake::me(&as_ann).await.unwrap(), "ann@example.com");
    assert_eq!(fake::me(&client).await.unwrap(), SERVICE);
    assert_eq!(fake::me(&as_ann.as_self()).await.unwrap(), SERVICE);
    // For one call.
    client.as_user(&ann).files().get(&id).send().await.unwrap();
    let mut download = as_ann.files().download(&id).send().await.unwrap();
    while download.chunk().await.unwrap().is_some() {}

    let requests = fake.requests();
    let named = |path: &str| {
        let named = requests.iter().filter(|r| r.path.starts_with(path));
        named
            .map(|r| r.header("as-user").map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let name = Some(ann.as_str().to_owned());
    assert_eq!(named("/oauth2/"), [None], "one token for all of them");
    assert_eq!(named("/dl/"), [None]);
    assert_eq!(named("/2.0/users/me"), [name.clone(), None, None]);
    assert_eq!(named("/2.0/files/"), [name.clone(), name]);
    assert_eq!(fake.violations(), [""; 0]);
}

#[tokio::test]
async fn a_header_on_one_request_beats_that_of_the_client() {
    let vendor = Vendor::start().await;
    vendor
        .answers("GET", "/2.0/files/777", [reply(200, file())])
        .await;
    let client = vendor.client_of(DeveloperToken::new("t"));
    let client = client.as_user(&UserId::new("1").unwrap());
    let request = client.request(http::Method::GET, "/files/777");
    request.header("As-User", "2").send().await.unwrap();
    assert_eq!(header(&vendor.request().await, "as-user"), Some("2"));
    vendor.done().await;
}

#[tokio::test]
async fn a_user_that_may_not_be_impersonated_is_forbidden() {
    let fake = fake::start(FakeBox::builder()).await;
    let client = fake::client(&fake, credentials());
    let stranger = client.as_user(&UserId::new("1").unwrap());
    let failure = fake::me(&stranger).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_client_for_another_user_shares_the_token_and_its_life() {
    let fake = fake::start(FakeBox::builder()).await;
    let ann = UserId::new(fake.create_user("Ann", "ann@example.com")).unwrap();
    let store = MemoryTokenStore::new(box_client::Grant::new(fake.issue_refresh_token()));
    let client = fake::client(&fake, fake::oauth(&fake).refresh_token(store));
    fake::me(&client).await.unwrap();
    fake.inject(Fault::on("/2.0/users/me", FaultEffect::ExpireSession));
    fake::me(&client.as_user(&ann)).await.unwrap();
    fake::me(&client).await.unwrap();
    assert_eq!(
        fake::forms(&fake).len(),
        2,
        "a renewed token is everybody's"
    );
}
