//! Just enough of both vendors to count what arrives. What is asked for happens even when whoever
//! asked is gone, and a moment later, as on a real server.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use serde_json::{Value, json};

/// The longest that an effect takes to happen.
pub(crate) const SLOWEST: u64 = 40;

#[derive(Default)]
pub(crate) struct World {
    /// ContentVersion by id.
    pub(crate) versions: HashMap<String, Value>,
    /// Document and record.
    pub(crate) links: HashSet<(String, String)>,
    pub(crate) tasks: Vec<Value>,
    pub(crate) stage: String,
    pub(crate) stage_writes: usize,
}

#[derive(Clone)]
pub(crate) struct FarSide {
    pub(crate) url: String,
    world: Arc<Mutex<World>>,
}

pub(crate) fn content(file: &str) -> Vec<u8> {
    format!("%PDF-1.7 contract {file} {}", "x".repeat(20_000)).into_bytes()
}

/// A record id of 15 characters with this prefix.
fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:012}")
}

impl FarSide {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = World {
            stage: "Prospecting".to_owned(),
            ..World::default()
        };
        let side = Self {
            url,
            world: Arc::new(Mutex::new(world)),
        };
        let router = Router::new().fallback(answer).with_state(side.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        side
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

async fn answer(State(side): State<FarSide>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A body that breaks off is no request at all.
    let Ok(body) = to_bytes(body, 1 << 24).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let path = parts.uri.path().to_owned();
    let query = percent_decoded(parts.uri.query().unwrap_or_default());
    if parts.method == Method::GET {
        return read(&side, &path, &query);
    }
    let written = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..SLOWEST))).await;
        let answer = write(&mut side.world(), &path, &body);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..SLOWEST))).await;
        answer
    });
    let (status, body) = written.await.unwrap();
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn percent_decoded(query: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = query.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn read(side: &FarSide, path: &str, query: &str) -> Response {
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    let world = side.world();
    let found = match segments[..] {
        ["2.0", "folders", "100", "metadata", ..] => {
            json!({ "opportunity_id": id("006", 1), "account_id": id("001", 1), "$version": 0 })
        }
        ["2.0", "folders", ..] => {
            let none = json!({ "code": "instance_not_found", "message": "m", "request_id": "r" });
            return (StatusCode::NOT_FOUND, Json(none)).into_response();
        }
        ["2.0", "files", _, "versions"] => json!({ "total_count": 0, "entries": [] }),
        ["2.0", "files", file, "content"] => {
            let location = format!("{}/download/{file}", side.url);
            return (StatusCode::FOUND, [(LOCATION, location)]).into_response();
        }
        ["download", file] => return Body::from(content(file)).into_response(),
        ["services", .., "ContentVersion", version] => world.versions[&version[..15]].clone(),
        ["services", .., "Opportunity", _] => json!({
            "StageName": world.stage, "IsClosed": false,
            "LastModifiedDate": "2026-03-01T10:00:00.000+0000",
        }),
        ["services", .., "query"] => {
            let records = rows(&world, query);
            json!({ "totalSize": records.len(), "done": true, "records": records })
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    Json(found).into_response()
}

fn rows(world: &World, query: &str) -> Vec<Value> {
    if query.contains("FROM OpportunityStage") {
        let stage = |name: &str| json!({ "ApiName": name, "IsClosed": false });
        return vec![stage("Prospecting"), stage("Negotiation")];
    }
    // Ids of links and documents stand in the query in 18 characters.
    let names = |id: &str| query.contains(&format!("'{id}"));
    if query.contains("FROM ContentDocumentLink") {
        let links = world.links.iter().filter(|(_, record)| names(record));
        return links
            .map(|(document, _)| json!({ "ContentDocumentId": document }))
            .collect();
    }
    if query.contains("FROM ContentVersion") {
        let of = |version: &&Value| names(version["ContentDocumentId"].as_str().unwrap());
        return world.versions.values().filter(of).cloned().collect();
    }
    let subject = |task: &&Value| names(task["Subject"].as_str().unwrap());
    world.tasks.iter().filter(subject).cloned().collect()
}

fn write(world: &mut World, path: &str, body: &[u8]) -> (u16, Value) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let short = |name: &str| body[name].as_str().unwrap()[..15].to_owned();
    let saved = |id: &str| (201, json!({ "id": id, "success": true, "errors": [] }));
    match path.rsplit('/').next().unwrap() {
        "ContentVersion" => {
            let number = world.versions.len() + 1;
            let (version, document) = (id("068", number), id("069", number));
            let bytes = STANDARD
                .decode(body["VersionData"].as_str().unwrap())
                .unwrap();
            let md5: String = Md5::digest(&bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let stored = json!({
                "Id": version, "ContentDocumentId": document, "Checksum": md5,
                "ContentSize": bytes.len(), "Description": body["Description"],
            });
            world.versions.insert(version.clone(), stored);
            world
                .links
                .insert((document, short("FirstPublishLocationId")));
            saved(&version)
        }
        "ContentDocumentLink" => {
            if world
                .links
                .insert((short("ContentDocumentId"), short("LinkedEntityId")))
            {
                return saved(&id("06A", world.links.len()));
            }
            (
                400,
                json!([{ "errorCode": "DUPLICATE_VALUE", "message": "already linked" }]),
            )
        }
        "Task" => {
            let task = id("00T", world.tasks.len() + 1);
            let mut stored = body.clone();
            stored["Id"] = json!(task);
            world.tasks.push(stored);
            saved(&task)
        }
        // The Opportunity's own path.
        _ => {
            world.stage = body["StageName"].as_str().unwrap().to_owned();
            world.stage_writes += 1;
            (200, Value::Null)
        }
    }
}
