//! The stateless receiver of the example, a process for each delivery.

use std::process::Stdio;

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::StatusCode,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command};

use crate::setting::{KEY, PATIENCE, Setting};

const LIMIT: usize = 1024 * 1024;

async fn invoke(store: &str, request: &Value) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lambda-style"))
        .env("BOX_SIGNATURE_KEY_PRIMARY", KEY)
        .env("BRIDGE_STORE_URL", store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(request.to_string().as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A request as the platform would hand it over.
fn envelope(headers: &axum::http::HeaderMap, body: &Bytes) -> Value {
    let headers: serde_json::Map<_, _> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let body = String::from_utf8(body.to_vec()).unwrap();
    json!({ "version": "2.0", "headers": headers, "body": body })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stateless_receiver_takes_in_a_worker_elsewhere_carries_out() {
    let setting = Setting::up().await;
    let store = format!("sqlite:{}", setting.home.path().join("bridge.db").display());
    // In place of the service: its address, and a process for each request.
    let address = setting.url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind(&address).await.unwrap();
    let front = Router::new().fallback({
        let store = store.clone();
        move |request: Request| async move {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, LIMIT).await.unwrap();
            let answer = invoke(&store, &envelope(&head.headers, &body)).await;
            let status = answer["statusCode"].as_u64().unwrap();
            StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap()
        }
    });
    let front = tokio::spawn(async { axum::serve(listener, front).await });
    let upload = setting.upload("contract.pdf", "%PDF-1.7 one").await;
    setting.content.redeliver(&upload.event_ids[0]);
    setting.content.wait_all_delivered(PATIENCE).await.unwrap();
    let unsigned = json!({ "headers": {}, "body": "e30=", "isBase64Encoded": true });
    assert_eq!(invoke(&store, &unsigned).await["statusCode"], 401);
    front.abort();
    let _ = front.await;

    let _server = setting.serve_until_ready().await;
    setting.wait_done(1).await;
    assert_eq!(setting.queue(&["list", "--json"]).await.len(), 1);
    setting.assert_once(&upload.file_id, &[b"%PDF-1.7 one".to_vec()]);
}
