use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::setting::Setting;

/// Signed as Box signs: what is wrong here is what was signed.
async fn deliver(setting: &Setting, body: Vec<u8>, content_type: &str) -> (u16, Value) {
    let delivery = setting.content.sign(body, Timestamp::now());
    let mut request = reqwest::Client::new()
        .post(format!("{}/webhooks/box", setting.url))
        .body(delivery.body);
    for (name, value) in delivery.headers {
        if name != "content-type" {
            request = request.header(name, value);
        }
    }
    let answer = request
        .header("content-type", content_type)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_a_reason_and_leaves_nothing() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    let event = |id: &str, source: Value| {
        json!({
            "type": "webhook_event", "id": id, "trigger": "FILE.UPLOADED",
            "webhook": { "id": "1", "type": "webhook" }, "source": source,
        })
        .to_string()
        .into_bytes()
    };
    let file = |id: &str| json!({ "type": "file", "id": id, "name": "a.pdf" });
    let mut no_text = event("e", file("1"));
    let name = no_text.windows(5).position(|at| at == b"a.pdf").unwrap();
    no_text[name] = 0xff;
    let long = "7".repeat(100_000);
    let json_type = "application/json";
    for (body, content_type, status) in [
        (b"no event".to_vec(), json_type, 400),
        (Vec::new(), json_type, 400),
        (b"null".to_vec(), json_type, 400),
        (b"[]".to_vec(), json_type, 400),
        (vec![0; 4096], json_type, 400),
        ("[".repeat(100_000).into_bytes(), json_type, 400),
        (
            format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000)).into_bytes(),
            json_type,
            400,
        ),
        (no_text, json_type, 400),
        (event(&long, file("1")), json_type, 400),
        (event("e", file(&long)), json_type, 400),
        (event("", file("1")), json_type, 400),
        (event("e", file("1")), "text/xml", 415),
        (
            event("e", file("1")),
            "multipart/form-data; boundary=x",
            415,
        ),
    ] {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let (answered, reason) = deliver(&setting, body, content_type).await;
        assert_eq!(answered, status, "{start}: {reason}");
        assert!(!reason["reason"].as_str().unwrap().is_empty(), "{start}");
        assert!(
            reason.to_string().len() < 1000,
            "{start}: the answer repeats the body"
        );
    }
    assert!(setting.queue(&["list", "--json"]).await.is_empty());
}

/// Headers as Box sends them, of another body: enough to be listened to.
fn claim(setting: &Setting) -> String {
    let delivery = setting.content.sign(*b"another", Timestamp::now());
    let lines = delivery.headers.into_iter();
    lines
        .filter(|(name, _)| name.starts_with("box-"))
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_refused_before_it_has_come() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    let host = setting.url.trim_start_matches("http://");
    for head in [
        "content-length: 10485760\r\n\r\n".to_owned(),
        // Of a body of unknown length as much is read as is allowed, and no more.
        format!(
            "transfer-encoding: chunked\r\n\r\n140000\r\n{}",
            "x".repeat(0x140000)
        ),
    ] {
        let mut stream = TcpStream::connect(host).await.unwrap();
        let claim = claim(&setting);
        let request = format!("POST /webhooks/box HTTP/1.1\r\nhost: {host}\r\n{claim}{head}");
        // The rest never comes; it may be refused while we are still writing.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 413");
    }
    assert!(setting.queue(&["list", "--json"]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_not_waited_for_without_end() {
    let short = |it: String| it.replace("[server]\n", "[server]\nidle_timeout = \"200ms\"\n");
    let setting = Setting::with(short, true).await;
    let _server = setting.serve_until_ready().await;
    let host = setting.url.trim_start_matches("http://");
    let head = format!("POST /webhooks/box HTTP/1.1\r\nhost: {host}\r\n");
    let claim = claim(&setting);
    for sent in [format!("{head}{claim}content-length: 100\r\n\r\n{{"), head] {
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It ends, with an answer or without.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_id_ends_each_command_with_2_and_makes_nothing() {
    let sync = |it: String| {
        it + "[[rules]]\nname = \"fields\"\ntriggers = [\"METADATA_INSTANCE.UPDATED\"]\n\
              sync_metadata = { fields = [{ field = \"NextStep\", key = \"next_step\" }] }\n"
    };
    let setting = Setting::with(sync, true).await;
    let deal = setting.opportunity.clone();
    for arguments in [
        &["attach", "not/an/id"][..],
        &["attach", "7", "--to", "garbage"],
        &["task", "garbage", "--subject", "x"],
        &["provision", "garbage"],
        &["sync", "garbage", "--dry-run"],
        &["backfill", "--folder", "x"],
        &["login", "box"],
        &["login", "elsewhere"],
        &["queue", "list", "--state", "asleep"],
        &["queue", "plan"],
        &["queue", "replay", "1", "--json"],
        &["conflicts", "resolve", "1"],
        &["task", &deal],
    ] {
        let output = setting.program().args(arguments).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.trim().is_empty() && output.stdout.is_empty());
    }
    let wrote = setting.crm.requests().into_iter();
    let wrote = wrote.filter(|it| it.method != "GET" && !it.path.ends_with("/token"));
    assert_eq!(wrote.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_looks_makes_no_store_for_others_to_stumble_over() {
    let sync = |it: String| {
        it + "[[rules]]\nname = \"fields\"\ntriggers = [\"METADATA_INSTANCE.UPDATED\"]\n\
              sync_metadata = { fields = [{ field = \"NextStep\", key = \"next_step\" }] }\n"
    };
    let setting = Setting::with(sync, true).await;
    let (deal, folder) = (setting.opportunity.clone(), setting.folder.clone());
    for arguments in [
        &["sync", &deal, "--dry-run"][..],
        &["sync", "--all", "--dry-run"],
        &["backfill", "--folder", &folder, "--dry-run"],
        &["conflicts"],
        &["webhooks", "list"],
        &["check"],
        &["task", &deal, "--subject", "x", "--dry-run"],
    ] {
        let output = setting.program().args(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        let store = setting.home.path().join("bridge.db");
        assert!(!store.exists(), "{arguments:?} made a store");
    }
}
