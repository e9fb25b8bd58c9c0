//! A deal in both fakes and the program that serves it.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use box_client::testing::{FakeBox, UploadedFile, openapi::Spec};
use salesforce_client::testing::{FakeSalesforce, FileState};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{Instant, sleep},
};

pub(crate) const KEY: &str = "signature key for tests";
pub(crate) const SECRET: &str = "secret for tests";
/// Stands in configurations for where the fake's event bus is.
pub(crate) const PUBSUB_URL: &str = "http://pubsub.example";
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Setting {
    pub(crate) content: FakeBox,
    pub(crate) crm: FakeSalesforce,
    pub(crate) account: String,
    pub(crate) opportunity: String,
    /// The mapped folder, which the webhook watches.
    pub(crate) folder: String,
    pub(crate) url: String,
    pub(crate) home: tempfile::TempDir,
}

impl Setting {
    pub(crate) async fn up() -> Self {
        Self::with(|configuration| configuration, true).await
    }

    /// With another configuration, and with or without keeping the bytes of files.
    pub(crate) async fn with(change: impl Fn(String) -> String, keep_bytes: bool) -> Self {
        let setting = Self::between(change, keep_bytes, true).await;
        let address = format!("{}/webhooks/box", setting.url);
        let triggers = ["FILE.UPLOADED", "FILE.LOCKED"];
        let content = &setting.content;
        content
            .create_webhook(&setting.folder, &address, &triggers)
            .unwrap();
        setting
    }

    /// Without a webhook, and with a Box that sends nothing by itself.
    pub(crate) async fn told_by_hand(change: impl Fn(String) -> String) -> Self {
        Self::between(change, true, false).await
    }

    async fn between(
        change: impl Fn(String) -> String,
        keep_bytes: bool,
        auto_deliver: bool,
    ) -> Self {
        let mut content = FakeBox::builder()
            .signature_keys(KEY, "another key")
            .client(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET)
            .client("another app", SECRET)
            .keep_bytes(keep_bytes)
            .auto_deliver(auto_deliver)
            .delivery_retry(Duration::from_millis(200));
        if let Some(spec) = spec() {
            content = content.openapi(spec);
        }
        let content = content.start().await.unwrap();
        let crm = FakeSalesforce::builder().client("app", SECRET);
        let crm = crm.keep_bytes(keep_bytes).start().await.unwrap();
        let account = crm.create("Account", json!({ "Name": "Acme" })).unwrap();
        let deal = json!({
            "Name": "Deal", "AccountId": account, "StageName": "Prospecting",
            "CloseDate": "2030-06-30",
        });
        let opportunity = crm.create("Opportunity", deal).unwrap();
        let fields = json!([
            { "type": "string", "key": "account_id", "displayName": "Account" },
            { "type": "string", "key": "opportunity_id", "displayName": "Opportunity" },
            { "type": "string", "key": "next_step", "displayName": "Next step" },
        ]);
        content
            .create_template("salesforce_mapping", fields)
            .unwrap();
        let folder = content.create_folder("0", "Deal").unwrap();
        let mapping = json!({ "account_id": account, "opportunity_id": opportunity });
        content
            .apply_metadata(&folder, "salesforce_mapping", mapping)
            .unwrap();

        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = free.local_addr().unwrap();
        let url = format!("http://{listen}");
        let setting = Self {
            content,
            crm,
            account,
            opportunity,
            folder,
            url,
            home: tempfile::tempdir().unwrap(),
        };
        let (content, crm) = (setting.content.url(), setting.crm.url());
        let text = change(configuration(&listen.to_string(), &content, crm));
        let text = text.replace(PUBSUB_URL, setting.crm.pubsub_url());
        std::fs::write(setting.home.path().join("bridge.toml"), text).unwrap();
        setting
    }

    pub(crate) fn program(&self) -> Command {
        let mut command = program(self.home.path());
        command
            .env("TEST_BOX_TOKEN", self.content.issue_token())
            .env("TEST_SALESFORCE_SECRET", SECRET);
        command
    }

    /// Starts the service, without waiting for it.
    pub(crate) fn serve(&self) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"))
            .unwrap();
        self.program()
            .args(["serve", "--config", "bridge.toml"])
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub(crate) async fn serve_until_ready(&self) -> Child {
        let child = self.serve();
        let ready = format!("{}/readyz", self.url);
        self.until(
            "the service to be ready",
            async || matches!(reqwest::get(&ready).await, Ok(answer) if answer.status() == 200),
        )
        .await;
        child
    }

    pub(crate) async fn until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done().await {
            assert!(
                Instant::now() < end,
                "waited in vain for {what}\n{}",
                self.log()
            );
            sleep(Duration::from_millis(30)).await;
        }
    }

    pub(crate) async fn upload(&self, name: &str, bytes: impl Into<bytes::Bytes>) -> UploadedFile {
        let upload = self.content.upload(&self.folder, name, bytes).unwrap();
        for event in &upload.event_ids {
            self.content.wait_delivered(event, PATIENCE).await.unwrap();
        }
        upload
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    pub(crate) async fn queue(&self, arguments: &[&str]) -> Vec<Value> {
        let run = self.program().arg("queue").args(arguments).output();
        let output = run.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) async fn wait_done(&self, events: usize) {
        let all = ["list", "--state", "done", "--limit", "1000000", "--json"];
        self.until("all events to be done", async || {
            self.queue(&all).await.len() >= events
        })
        .await;
    }

    /// The Salesforce files that came from this Box file.
    pub(crate) fn files_of(&self, file: &str) -> Vec<FileState> {
        let mark = format!("Box file {file},");
        let is_of = |file: &FileState| {
            let mut versions = file.versions.iter();
            versions.any(|it| {
                it.fields["Description"]
                    .as_str()
                    .unwrap()
                    .starts_with(&mark)
            })
        };
        self.crm.files().into_iter().filter(is_of).collect()
    }

    /// One Salesforce file with these versions in this order, once on each record.
    pub(crate) fn assert_once(&self, file: &str, versions: &[Vec<u8>]) {
        let files = self.files_of(file);
        assert_eq!(files.len(), 1, "files from {file}: {files:#?}");
        let stored: Vec<_> = files[0]
            .versions
            .iter()
            .map(|it| self.crm.bytes(&it.id).unwrap())
            .collect();
        assert_eq!(stored, versions, "versions of {file}");
        for record in [&self.account, &self.opportunity] {
            let links = files[0].links.iter().filter(|it| it.record == *record);
            assert_eq!(links.count(), 1, "links of {file} to {record}");
        }
    }

    /// As many Tasks as events, no two for the same one.
    pub(crate) fn assert_a_task_for_each_event(&self, events: usize) {
        let tasks = self.crm.records("Task");
        let marks: BTreeSet<_> = tasks
            .iter()
            .map(|task| task["Description"].as_str().unwrap())
            .collect();
        assert_eq!((tasks.len(), marks.len()), (events, events), "Tasks");
    }

    pub(crate) fn stage(&self) -> String {
        let deal = self.crm.record(&self.opportunity).unwrap();
        deal["StageName"].as_str().unwrap().to_owned()
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.content.violations(), Vec::<String>::new());
        }
    }
}

pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bridge-server"));
    command
        .current_dir(home)
        .env("TEST_SIGNATURE_KEY", KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) fn configuration(listen: &str, content: &str, crm: &str) -> String {
    format!(
        r#"[server]
listen = "{listen}"
[store]
url = "sqlite:bridge.db"
[webhook]
primary_key = {{ env = "TEST_SIGNATURE_KEY" }}
[box]
base_url = "{content}"
auth = {{ kind = "developer_token", token = {{ env = "TEST_BOX_TOKEN" }} }}
[salesforce]
login_url = "{crm}"
auth = {{ kind = "client_credentials", client_id = "app", client_secret = {{ env = "TEST_SALESFORCE_SECRET" }} }}
budget = {{ pause = "300ms" }}
upload_answer_timeout = "2s"
[worker]
lease = "3s"
poll = "20ms"
settle_after = "1500ms"
outage_pause = "300ms"
longest_outage_pause = "1s"
[retry]
base = "50ms"
jitter = "10ms"
max_attempts = 1000
[[rules]]
name = "contracts"
triggers = ["FILE.UPLOADED"]
attach = ["opportunity", "account"]
advance_stage = "Negotiation/Review"
log_task = {{ subject = "{{file.name}} came" }}
"#
    )
}

/// Box's own document, which every request to FakeBox is held against.
pub(crate) fn spec() -> Option<Spec> {
    let path = env::var_os("BOX_OPENAPI").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/box-openapi.json"),
        PathBuf::from,
    );
    match Spec::read(&path) {
        Ok(spec) => Some(spec),
        Err(error) => {
            let missing = format!(
                "{}: {error}; set BOX_OPENAPI to the openapi.json of github.com/box/box-openapi",
                path.display()
            );
            assert!(env::var_os("CI").is_none(), "{missing}");
            eprintln!("SKIPPED: requests are not held against Box's document. {missing}");
            None
        }
    }
}
