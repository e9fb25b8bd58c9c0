//! Commands over HTTP: what is said is what the OpenAPI document says.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use bridge::{
    Commands, JobFilter, QueueAdmin,
    axum::Api,
    store::{memory::MemoryStore, sqlite::SqliteStore},
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{far_sides::FarSides, setting::Bridge};

const TOKEN: &str = "a token for tests";
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(Api::OPENAPI).unwrap());

struct Service {
    bridge: Bridge,
    url: String,
}

/// An answer that was held against the document.
struct Answer {
    status: u16,
    location: Option<String>,
    body: Value,
}

impl Service {
    async fn up() -> Self {
        Self::with(|api| api).await
    }

    async fn with(change: impl Fn(Api) -> Api) -> Self {
        let bridge = Bridge::new();
        let commands = Commands::new(bridge.store.clone(), Arc::new(bridge.sides.clone()));
        let api = change(Api::new(commands, &TOKEN.to_owned().into()));
        let url = serve(api).await;
        Self { bridge, url }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        Client::new().request(method, url).bearer_auth(TOKEN)
    }

    fn command(&self, path: &str, key: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path)
            .header("Idempotency-Key", key)
            .json(body)
    }

    async fn ask(&self, path: &str, key: &str, body: Value) -> Answer {
        answer(self.command(path, key, &body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    async fn jobs(&self) -> usize {
        let jobs = self.bridge.store.jobs(&JobFilter::default()).await;
        jobs.unwrap().len()
    }
}

fn api(queue: Arc<dyn QueueAdmin>, token: &str) -> Api {
    let commands = Commands::new(queue, Arc::new(FarSides::new()));
    Api::new(commands, &token.to_owned().into())
}

async fn serve(api: Api) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, api.routes()).await });
    url
}

/// Sends it, and holds the answer against what the document says of this path and status.
async fn answer(request: RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let path = match request.url().path() {
        path if path.starts_with("/v1/jobs/") => "/v1/jobs/{id}",
        path => path,
    }
    .to_owned();
    let method = request.method().as_str().to_ascii_lowercase();
    let answer = client.execute(request).await.unwrap();
    let status = answer.status().as_u16();
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let (kind, location) = (header("content-type").unwrap(), header("location"));
    let said = resolved(&DOCUMENT["paths"][&path][&method]["responses"][status.to_string()]);
    assert!(said.is_object(), "{method} {path} has no {status}");
    for (name, _) in said["headers"].as_object().into_iter().flatten() {
        assert!(header(name).is_some(), "{status} without {name}");
    }
    let mut schema = said["content"][&kind]["schema"].clone();
    assert!(schema.is_object(), "{method} {path}: {status} is no {kind}");
    schema["components"] = DOCUMENT["components"].clone();
    let body: Value = answer.json().await.unwrap();
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let wrong: Vec<_> = validator
        .iter_errors(&body)
        .map(|it| it.to_string())
        .collect();
    assert!(
        wrong.is_empty(),
        "{method} {path} {status}: {wrong:?}\n{body}"
    );
    if let Some(pointer) = body["type"].as_str() {
        let (document, pointer) = pointer.split_once('#').unwrap();
        assert_eq!(document, "/v1/openapi.json");
        assert_eq!(DOCUMENT.pointer(pointer).unwrap()["status"], status);
        assert_eq!(body["status"], status);
    }
    Answer {
        status,
        location,
        body,
    }
}

fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(pointer) => DOCUMENT.pointer(pointer.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

#[tokio::test]
async fn a_command_is_taken_in_once_and_its_job_tells_what_became_of_it() {
    let service = Service::up().await;
    service.bridge.sides.add_version("7", b"bytes");
    let attach = json!({ "file": "7", "to": "acc" });
    let first = service.ask("/v1/attach", "k", attach.clone()).await;
    let again = service.ask("/v1/attach", "k", attach.clone()).await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.body["id"], again.body["id"]);
    assert_eq!(
        (&first.body["repeated"], &again.body["repeated"]),
        (&json!(false), &json!(true))
    );
    let job = first.location.unwrap();
    let state = service.get(&job).await;
    assert_eq!(state.body["state"], "ready");
    assert_eq!(state.body["attempts"], 0);
    service.bridge.work().await;
    let state = service.get(&job).await;
    assert_eq!(state.body["state"], "done");
    assert_eq!(
        state.body["command"],
        json!({ "kind": "attach", "file": "7", "to": "acc" })
    );
    assert_eq!(service.jobs().await, 1);
    assert_eq!(service.bridge.sides.world().stored.len(), 1);
}

#[tokio::test]
async fn every_kind_of_command_has_its_state_in_the_documents_words() {
    let service = Service::up().await;
    let task = json!({ "record": "opp", "subject": "call", "description": "more" });
    let provision = json!({ "record": "006-1" });
    let gone = json!({ "file": "404" });
    for (path, body, state) in [
        ("/v1/tasks", task, "done"),
        ("/v1/provision", provision, "dead"),
        ("/v1/attach", gone, "dead"),
    ] {
        let taken = service.ask(path, path, body).await;
        service.bridge.work().await;
        let job = service.get(&taken.location.unwrap()).await;
        assert_eq!(job.body["state"], state, "{}", job.body);
        assert!(job.body["note"].is_string(), "{}", job.body);
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_taken_in_and_nothing_is_told() {
    let service = Service::up().await;
    let url = |path: &str| format!("{}{path}", service.url);
    let attach = json!({ "file": "7" });
    for token in [
        None,
        Some("Bearer "),
        Some("Bearer"),
        Some("Bearer a token for test"),
        Some("Bearer a token for tests."),
        Some("Basic YSB0b2tlbiBmb3IgdGVzdHM="),
        Some("a token for tests"),
    ] {
        let request = Client::new().post(url("/v1/attach"));
        let request = request.header("Idempotency-Key", "k").json(&attach);
        let look = Client::new().get(url("/v1/jobs/1"));
        for request in [request, look] {
            let request = match token {
                Some(token) => request.header("Authorization", token),
                None => request,
            };
            assert_eq!(answer(request).await.status, 401, "{token:?}");
        }
    }
    assert_eq!(service.jobs().await, 0);
    let document = Client::new().get(url("/v1/openapi.json"));
    assert_eq!(answer(document).await.body, *DOCUMENT);
}

#[tokio::test]
async fn an_empty_token_lets_nobody_in() {
    let url = serve(api(Arc::new(MemoryStore::new()), "")).await;
    let url = format!("{url}/v1/jobs/1");
    for token in ["Bearer ", "Bearer \"\"", "Bearer  "] {
        let request = Client::new().get(&url).header("Authorization", token);
        assert_eq!(answer(request).await.status, 401);
    }
}

#[tokio::test]
async fn bad_input_is_named_and_changes_nothing() {
    let service = Service::with(|api| api.body_limit(200)).await;
    let good = json!({ "file": "7" });
    let post = |key: Option<&str>, kind: &str, body: &str| {
        let request = service.request(Method::POST, "/v1/attach");
        let request = request.header("Content-Type", kind).body(body.to_owned());
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    };
    let (json, text) = ("application/json; charset=utf-8", good.to_string());
    let long = format!("{}{}", " ".repeat(200), text);
    for (request, status, code) in [
        (post(None, json, &text), 400, "missing_key"),
        (post(Some(""), json, &text), 400, "invalid_key"),
        (
            post(Some(&"k".repeat(256)), json, &text),
            400,
            "invalid_key",
        ),
        (
            post(Some("a"), json, &text).header("Idempotency-Key", "b"),
            400,
            "invalid_key",
        ),
        (post(Some("k"), "text/plain", &text), 415, "not_json"),
        (post(Some("k"), json, &long), 413, "too_large"),
        (post(Some("k"), json, "{\"file\":"), 400, "malformed_body"),
        (post(Some("k"), json, "\u{0}"), 400, "malformed_body"),
        (post(Some("k"), json, "{}"), 400, "invalid_command"),
        (post(Some("k"), json, "[7]"), 400, "invalid_command"),
        (
            post(Some("k"), json, "{\"file\":7}"),
            400,
            "invalid_command",
        ),
        (
            post(Some("k"), json, "{\"file\":\"7\",\"too\":\"acc\"}"),
            400,
            "invalid_command",
        ),
        (
            post(Some("k"), json, "{\"file\":\"a/b\"}"),
            400,
            "invalid_command",
        ),
    ] {
        let answer = answer(request).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (status, &code.into())
        );
    }
    assert_eq!(service.jobs().await, 0);
    for job in ["7", "x", "-1", "99999999999999999999"] {
        let state = service.get(&format!("/v1/jobs/{job}")).await;
        assert_eq!(state.status, 404);
    }
}

#[tokio::test]
async fn a_key_cannot_name_two_commands() {
    let service = Service::up().await;
    let first = service.ask("/v1/attach", "k", json!({ "file": "7" })).await;
    let other = service.ask("/v1/attach", "k", json!({ "file": "8" })).await;
    assert_eq!((first.status, other.status), (202, 422));
    let elsewhere = json!({ "record": "opp", "subject": "call" });
    let elsewhere = service.ask("/v1/tasks", "k", elsewhere).await;
    assert_eq!(elsewhere.status, 422);
    assert_eq!(service.jobs().await, 1);
}

#[tokio::test]
async fn a_record_that_no_rule_is_for_is_refused_in_the_documents_words() {
    let bridge = Bridge::new();
    let commands = Commands::new(bridge.store.clone(), Arc::new(bridge.sides.clone()));
    let commands = commands.rules(crate::setting::rules());
    let url = serve(Api::new(commands, &TOKEN.to_owned().into())).await;
    let service = Service { bridge, url };
    let refused = service
        .ask("/v1/provision", "k", json!({ "record": "006-1" }))
        .await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.body["code"], "no_rule");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("a record of kind Opportunity"), "{detail}");
    assert_eq!(service.jobs().await, 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let service = Service::with(|api| api.body_timeout(Duration::from_millis(50))).await;
    let address = service.url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/attach HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
         Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn an_inbox_that_takes_nothing_asks_for_patience_and_says_nothing_of_itself() {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(home.path().join("closed.db")).unwrap();
    store.close().await;
    let url = serve(api(Arc::new(store), TOKEN)).await;
    let attach = Client::new().post(format!("{url}/v1/attach"));
    let attach = attach
        .header("Idempotency-Key", "k")
        .json(&json!({ "file": "7" }));
    let look = Client::new().get(format!("{url}/v1/jobs/1"));
    for request in [attach, look] {
        let answer = answer(request.bearer_auth(TOKEN)).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.body["detail"], Value::Null);
    }
}

/// A store whose writers all wait for what another process has locked.
#[tokio::test]
async fn a_store_that_does_not_answer_in_time_is_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let (store, _lock) = crate::setting::locked_store(&home);
    let api = api(Arc::new(store), TOKEN).store_within(Duration::from_millis(50));
    let url = serve(api).await;
    let attach = Client::new().post(format!("{url}/v1/attach"));
    let attach = attach
        .header("Idempotency-Key", "k")
        .json(&json!({ "file": "7" }));
    let answer = answer(attach.bearer_auth(TOKEN)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body["detail"], Value::Null);
}

#[test]
fn the_document_is_an_openapi_document_whose_schemas_are_json_schemas() {
    let parsed = oas3::from_json(Api::OPENAPI).unwrap();
    let operations: Vec<_> = parsed.operations().collect();
    assert_eq!(operations.len(), 5);
    for (path, _, operation) in &operations {
        assert!(operation.operation_id.is_some(), "{path}");
        // Each reference leads somewhere, and each response is one.
        for (status, response) in operation.responses(&parsed) {
            assert!(!response.content.is_empty(), "{path} {status}");
        }
    }
    let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
    }
    // What the document shows as an example is taken.
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        let content = &item["post"]["requestBody"]["content"]["application/json"];
        if content.is_null() {
            continue;
        }
        let mut schema = content["schema"].clone();
        schema["components"] = DOCUMENT["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        assert!(validator.is_valid(&content["example"]), "{path}");
        assert!(!validator.is_valid(&json!({})), "{path}");
    }
}

#[test]
fn no_debug_shows_the_token() {
    let api = api(Arc::new(MemoryStore::new()), TOKEN);
    assert!(!format!("{api:?}").contains(TOKEN));
}
