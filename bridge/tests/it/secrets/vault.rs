//! Against a fake of KV version 2 and AppRole, as Vault's API documentation describes them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use bridge::{
    secrets::{SecretErrorKind, SecretStore, Swap, VaultAuth, VaultSecrets},
    testing::secret_store_contract,
};
use serde_json::{Value, json};

use super::{name, put, text};

const ROLE: &str = "role id";
const SECRET: &str = "secret-id-plainly-visible";

type Answer = (StatusCode, String);

#[derive(Clone, Default)]
struct FakeVault(Arc<Mutex<Vault>>);

#[derive(Default)]
struct Vault {
    /// All versions; one that was deleted is `None`.
    kept: HashMap<String, Vec<(Option<Value>, String)>>,
    tokens: Vec<String>,
    logins: usize,
    /// So many answers are lost after their effect: those of writes, unless there are many.
    lose: usize,
}

impl FakeVault {
    async fn start() -> (Self, String) {
        let fake = Self::default();
        let router = Router::new()
            .route("/v1/secret/data/{*path}", get(read).post(write))
            .route("/v1/auth/approle/login", post(login))
            .with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        (fake, url)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vault) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }
}

impl Vault {
    fn refuses(&self, headers: &HeaderMap) -> Option<Answer> {
        let token = headers.get("x-vault-token").and_then(|it| it.to_str().ok());
        let lives = token.is_some_and(|token| self.tokens.iter().any(|it| it == token));
        (!lives).then(|| error(403, "permission denied"))
    }

    fn answer(&mut self, body: &Value) -> Answer {
        if self.lose > 0 {
            self.lose -= 1;
            return error(502, "lost");
        }
        (StatusCode::OK, body.to_string())
    }
}

fn error(status: u16, text: &str) -> Answer {
    let errors: Vec<&str> = [text].into_iter().filter(|it| !it.is_empty()).collect();
    let body = json!({ "errors": errors }).to_string();
    (StatusCode::from_u16(status).unwrap(), body)
}

fn metadata(version: usize, created: &str, deleted: &str) -> Value {
    json!({
        "created_time": created, "custom_metadata": null, "deletion_time": deleted,
        "destroyed": false, "version": version,
    })
}

async fn read(State(fake): State<FakeVault>, path: Path<String>, headers: HeaderMap) -> Answer {
    fake.with(|vault| {
        if let Some(refused) = vault.refuses(&headers) {
            return refused;
        }
        let versions = vault.kept.get(&*path).cloned().unwrap_or_default();
        let Some((data, created)) = versions.last() else {
            return error(404, "");
        };
        let lost = vault.lose > 10;
        let deleted = if data.is_some() { "" } else { &**created };
        let metadata = metadata(versions.len(), created, deleted);
        let body = json!({ "request_id": "1", "data": { "data": data, "metadata": metadata } });
        match data {
            Some(_) if lost => vault.answer(&body),
            Some(_) => (StatusCode::OK, body.to_string()),
            None => (StatusCode::NOT_FOUND, body.to_string()),
        }
    })
}

async fn write(
    State(fake): State<FakeVault>,
    path: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    fake.with(|vault| {
        if let Some(refused) = vault.refuses(&headers) {
            return refused;
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (Some(data), Some(cas)) = (body["data"].as_object(), body["options"]["cas"].as_u64())
        else {
            return error(400, "no data or check-and-set parameter provided");
        };
        let data = Value::Object(data.clone());
        let versions = vault.kept.entry(path.0).or_default();
        if versions.len() as u64 != cas {
            return error(
                400,
                "check-and-set parameter did not match the current version",
            );
        }
        let created = jiff::Timestamp::now().to_string();
        versions.push((Some(data), created.clone()));
        let metadata = metadata(versions.len(), &created, "");
        vault.answer(&json!({ "request_id": "1", "data": metadata }))
    })
}

async fn login(State(fake): State<FakeVault>, body: Bytes) -> Answer {
    fake.with(|vault| {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if body != json!({ "role_id": ROLE, "secret_id": SECRET }) {
            return error(400, "invalid role or secret ID");
        }
        vault.logins += 1;
        let token = format!("hvs.{}", vault.logins);
        vault.tokens = vec![token.clone()];
        let auth = json!({ "client_token": token, "lease_duration": 1200, "renewable": true });
        vault.answer(&json!({ "auth": auth, "data": null }))
    })
}

fn app_role(url: &str) -> VaultSecrets {
    let auth = VaultAuth::app_role(ROLE, SECRET.into());
    VaultSecrets::new(url, "secret", auth).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vault_keeps_the_contract() {
    let fresh = async || app_role(&FakeVault::start().await.1);
    secret_store_contract(fresh).await;
}

#[tokio::test]
async fn a_token_that_has_ended_is_fetched_anew_once() {
    let (fake, url) = FakeVault::start().await;
    let store = app_role(&url);
    put(&store, "a").await;
    assert_eq!(fake.with(|it| it.logins), 1);
    fake.with(|it| it.tokens.clear());
    let reads = futures_util::future::join_all((0..8).map(|_| text(&store))).await;
    assert!(reads.iter().all(|it| it.as_deref() == Some("a")));
    assert_eq!(fake.with(|it| it.logins), 2);
}

#[tokio::test]
async fn a_refusal_is_told_without_a_secret() {
    let (fake, url) = FakeVault::start().await;
    let wrong = VaultAuth::app_role(ROLE, "wrong-plainly-visible".into());
    let token = VaultAuth::token("hvs.plainly-visible".into());
    for auth in [wrong, token] {
        let store = VaultSecrets::new(&url, "secret", auth).unwrap();
        let error = store.load(&name()).await.unwrap_err();
        assert_eq!(error.kind(), SecretErrorKind::Denied, "{error:?}");
        let told = format!("{error} {error:?} {store:?}");
        assert!(!told.contains("visible"), "{told}");
    }
    fake.with(|it| it.tokens.push("hvs.right".to_owned()));
    let token = VaultAuth::token("hvs.right".into());
    let store = VaultSecrets::new(&url, "secret", token).unwrap();
    assert_eq!(text(&store).await, None);
    for address in [
        "vault:8200",
        "ftp://vault",
        "https://user:visible@vault",
        "",
    ] {
        let error = VaultSecrets::new(address, "secret", VaultAuth::token("t".into()));
        let told = format!("{:?}", error.unwrap_err());
        assert!(!told.contains("visible"), "{told}");
    }
    for mount in ["", "a//b", "../sys", "secret/data?x"] {
        VaultSecrets::new(&url, mount, VaultAuth::token("t".into())).unwrap_err();
    }
}

#[tokio::test]
async fn a_token_that_somebody_else_replaces_is_read_anew() {
    let (fake, url) = FakeVault::start().await;
    let there = std::sync::Arc::new(std::sync::Mutex::new("hvs.first"));
    let file = there.clone();
    let auth = VaultAuth::renewed(move || match *file.lock().unwrap() {
        "" => Err("the file is empty"),
        token => Ok(token.into()),
    });
    let store = VaultSecrets::new(&url, "secret", auth).unwrap();
    fake.with(|it| it.tokens.push("hvs.first".to_owned()));
    assert_eq!(put(&store, "a").await, 1);
    fake.with(|it| it.tokens = vec!["hvs.second".to_owned()]);
    *there.lock().unwrap() = "hvs.second";
    assert_eq!(text(&store).await.as_deref(), Some("a"));
    *there.lock().unwrap() = "";
    let error = store.load(&name()).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Denied);
}

#[tokio::test]
async fn a_lost_answer_is_not_taken_for_a_conflict() {
    let (fake, url) = FakeVault::start().await;
    let store = app_role(&url);
    assert_eq!(put(&store, "a").await, 1);
    fake.with(|it| it.lose = 1);
    let swap = store.compare_and_swap(&name(), Some(1), "b".into()).await;
    assert!(matches!(swap, Ok(Swap::Swapped(2))), "{swap:?}");
    let versions = fake.with(|it| it.kept["bridge/box"].len());
    assert_eq!(versions, 2);
    fake.with(|it| it.lose = 100);
    let error = store.load(&name()).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Unavailable);
}

#[tokio::test]
async fn what_was_deleted_or_is_anothers_is_not_taken_for_a_secret() {
    let (fake, url) = FakeVault::start().await;
    let store = app_role(&url);
    put(&store, "a").await;
    fake.with(|it| it.kept.get_mut("bridge/box").unwrap()[0].0 = None);
    assert_eq!(text(&store).await, None);
    assert_eq!(put(&store, "b").await, 2);
    assert_eq!(text(&store).await.as_deref(), Some("b"));
    let other = json!({ "password": "plainly-visible" });
    fake.with(|it| it.kept.get_mut("bridge/box").unwrap()[1].0 = Some(other.clone()));
    let swap = store.compare_and_swap(&name(), Some(2), "c".into()).await;
    let error = swap.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Foreign);
    assert!(!format!("{error:?}").contains("visible"), "{error:?}");
    assert_eq!(fake.with(|it| it.kept["bridge/box"].len()), 2);
}
