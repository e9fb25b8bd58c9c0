//! The real program, on real connections, killed at any moment.
#![allow(clippy::unwrap_used, clippy::panic)]

mod far_side;

use std::{
    collections::BTreeSet,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use far_side::{FarSide, content};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use tokio::process::{Child, Command};

const KEY: &str = "signature key for tests";

fn configuration(folder: &Path, port: u16, far_side: &str) -> String {
    format!(
        r#"
        [server]
        listen = "127.0.0.1:{port}"
        [store]
        url = "sqlite:{}/bridge.db"
        [webhook]
        primary_key = {{ env = "TEST_SIGNATURE_KEY" }}
        [box]
        base_url = "{far_side}"
        auth = {{ kind = "developer_token", token = {{ env = "TEST_TOKEN" }} }}
        [salesforce]
        login_url = "{far_side}"
        auth = {{ kind = "token", token = {{ env = "TEST_TOKEN" }}, instance_url = "{far_side}" }}
        [worker]
        poll = "20ms"
        settle_after = "300ms"
        [retry]
        base = "50ms"
        jitter = "10ms"
        max_attempts = 1000
        [[rules]]
        name = "contracts"
        triggers = ["FILE.UPLOADED"]
        attach = ["opportunity", "account"]
        advance_stage = "Negotiation"
        log_task = {{ subject = "{{file.name}} came" }}
        "#,
        folder.display()
    )
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bridge-server"));
    command
        .current_dir(folder)
        .env("TEST_SIGNATURE_KEY", KEY)
        .env("TEST_TOKEN", "token")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn serve(folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    program(folder)
        .args(["serve", "--config", "bridge.toml"])
        .stderr(log)
        .spawn()
        .unwrap()
}

fn event(number: usize) -> String {
    let folder = |id: &str| json!({ "type": "folder", "id": id, "name": id });
    let file = format!("{}", 7000 + number);
    let bytes = content(&file);
    let sha1: String = Sha1::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({
        "type": "webhook_event", "id": format!("event-{number}"), "trigger": "FILE.UPLOADED",
        "created_at": "2026-03-01T10:10:32-08:00", "webhook": { "id": "1", "type": "webhook" },
        "source": {
            "type": "file", "id": file, "name": format!("contract {number}.pdf"),
            "size": bytes.len(),
            "file_version": { "type": "file_version", "id": format!("{}", 9000 + number), "sha1": sha1 },
            "path_collection": { "entries": [folder("0"), folder("100"), folder("101")] },
        },
        "additional_info": [],
    })
    .to_string()
}

/// One delivery as Box makes it; `None` when nobody answered.
async fn deliver(http: &reqwest::Client, url: &str, body: &str, key: &str) -> Option<u16> {
    let sent = jiff::Timestamp::now().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.update(sent.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let request = http
        .post(url)
        .header("content-type", "application/json")
        .header("box-delivery-timestamp", sent)
        .header("box-signature-version", "1")
        .header("box-signature-algorithm", "HmacSHA256")
        .header("box-signature-primary", signature)
        .body(body.to_owned());
    Some(request.send().await.ok()?.status().as_u16())
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

struct Set {
    folder: tempfile::TempDir,
    side: FarSide,
    url: String,
    http: reqwest::Client,
}

impl Set {
    async fn up() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let side = FarSide::start().await;
        let port = free_port().await;
        let text = configuration(folder.path(), port, &side.url);
        std::fs::write(folder.path().join("bridge.toml"), text).unwrap();
        let url = format!("http://127.0.0.1:{port}");
        Self {
            folder,
            side,
            url,
            http: reqwest::Client::new(),
        }
    }

    async fn deliver(&self, body: &str, key: &str) -> Option<u16> {
        deliver(&self.http, &format!("{}/webhooks/box", self.url), body, key).await
    }

    /// Delivers until somebody takes it, as Box does.
    async fn deliver_at_last(&self, body: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.deliver(body, KEY).await != Some(200) {
            assert!(
                Instant::now() < until,
                "nobody takes deliveries:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn queue(&self, arguments: &[&str]) -> Vec<Value> {
        let output = program(self.folder.path())
            .args(["queue", "list", "--limit", "100000", "--json"])
            .args(arguments)
            .output()
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn wait_done(&self, events: usize) {
        let until = Instant::now() + Duration::from_secs(120);
        while self.queue(&["--state", "done"]).await.len() < events {
            let jobs = self.queue(&[]).await;
            assert!(
                Instant::now() < until,
                "not done: {jobs:#?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn assert_once(&self, events: usize) {
        let world = self.side.world();
        let origins: BTreeSet<_> = world
            .versions
            .values()
            .map(|it| it["Description"].to_string())
            .collect();
        assert_eq!(
            (world.versions.len(), origins.len()),
            (events, events),
            "versions"
        );
        assert_eq!(world.links.len(), 2 * events, "links");
        let subjects: BTreeSet<_> = world
            .tasks
            .iter()
            .map(|it| it["Subject"].to_string())
            .collect();
        assert_eq!(
            (world.tasks.len(), subjects.len()),
            (events, events),
            "tasks"
        );
        assert_eq!(world.stage, "Negotiation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_upload_reaches_the_opportunity_and_nothing_else_does() {
    let set = Set::up().await;
    let mut server = serve(set.folder.path());
    set.deliver_at_last(&event(1)).await;
    assert_eq!(
        set.deliver(&event(1), KEY).await,
        Some(200),
        "a duplicate is taken and not done"
    );
    assert_eq!(set.deliver(&event(2), "forged").await, Some(401));
    assert_eq!(set.deliver("no event", KEY).await, Some(400));
    assert_eq!(
        set.deliver(&" ".repeat(10 << 20), KEY).await.unwrap_or(413),
        413
    );
    let deep = "[".repeat(100_000);
    assert_eq!(set.deliver(&deep, KEY).await, Some(400));
    set.wait_done(1).await;
    assert_eq!(
        set.queue(&[]).await.len(),
        1,
        "what is refused is not stored"
    );
    set.assert_once(1);
    // SIGTERM ends it in order.
    let id = server.id().unwrap().to_string();
    Command::new("kill").arg(&id).status().await.unwrap();
    assert!(server.wait().await.unwrap().success(), "{}", set.log());
}

/// `BRIDGE_KILLS` sets how many times the service is killed.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_does_everything_once() {
    let kills: usize = std::env::var("BRIDGE_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    let events = kills * 2;
    let set = Set::up().await;
    let delivering = async {
        for number in 0..events {
            set.deliver_at_last(&event(number)).await;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..60))).await;
        }
    };
    let killing = async {
        for _ in 0..kills {
            let mut server = serve(set.folder.path());
            tokio::time::sleep(Duration::from_millis(fastrand::u64(20..400))).await;
            server.kill().await.unwrap();
        }
        serve(set.folder.path())
    };
    let ((), _server) = tokio::join!(delivering, killing);
    set.wait_done(events).await;
    set.assert_once(events);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_ends_with_2_and_a_line_for_each_problem() {
    let folder = tempfile::tempdir().unwrap();
    let good = configuration(folder.path(), 1, "http://127.0.0.1:1");
    for (text, lines, says) in [
        (
            good.replace("poll =", "pol ="),
            1,
            "unknown key `pol`; the nearest known one is `poll`",
        ),
        (
            good.replace("\"20ms\"", "\"soon\""),
            1,
            "`soon` is no length of time",
        ),
        (
            good.replace("TEST_TOKEN", "NOT_SET"),
            2,
            "the variable NOT_SET is not set",
        ),
        (
            good.replace("FILE.UPLOADED", "FILE.VERSION.RESTORED"),
            1,
            "FILE.UPLOADED",
        ),
        (
            good.replace("{file.name}", "{file.nam}"),
            1,
            "there is no place {file.nam}",
        ),
        ("".to_owned(), 1, "missing field"),
    ] {
        std::fs::write(folder.path().join("bridge.toml"), text).unwrap();
        let run = program(folder.path())
            .args(["serve", "--config", "bridge.toml"])
            .output();
        let output = run.await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), lines, "{said}");
        assert!(said.contains(says), "{said}");
    }
    assert!(
        !folder.path().join("bridge.db").exists(),
        "something was started"
    );
}
