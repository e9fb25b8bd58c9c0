//! The service as a process of its own, so that it can be killed.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use box_client::testing::FakeBox;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    count::Count,
    ground::{Ground, LINK_FIELD, SIGNATURE_KEY},
};
use crate::Failure;

const OUTBOUND_SECRET: &str = "secret-of-the-demo-in-the-path";
const STARTS_WITHIN: Duration = Duration::from_secs(30);

pub(super) struct Service {
    folder: PathBuf,
    url: String,
    child: Child,
}

impl Service {
    pub(super) async fn start(folder: &Path, ground: &Ground) -> Result<Self, Failure> {
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(Failure::run)?;
        let address = free.local_addr().map_err(Failure::run)?;
        drop(free);
        let configuration = configuration(folder, &address.to_string(), ground);
        std::fs::write(folder.join("bridge.toml"), configuration).map_err(Failure::run)?;
        let service = Self {
            folder: folder.to_owned(),
            url: format!("http://{address}"),
            child: spawn(folder)?,
        };
        service.wait_ready().await?;
        Ok(service)
    }

    pub(super) fn webhook_address(&self) -> String {
        format!("{}/webhooks/box", self.url)
    }

    /// Where the org sends its messages.
    pub(super) fn outbound_address(&self) -> String {
        format!("{}/webhooks/salesforce/{OUTBOUND_SECRET}", self.url)
    }

    /// Another command of the same program, about the same service.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let command = command(&self.folder)?.args(arguments).output();
        let output = command.await.map_err(Failure::run)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Failure::Run(format!(
                "{}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            ))),
        }
    }

    /// The same, and what it says is a JSON a line.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<Vec<Value>, Failure> {
        let said = self.run(arguments).await?;
        let lines = said.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().map_err(Failure::run)
    }

    /// Nothing is left over for a person.
    pub(super) async fn counts(&self) -> Result<Vec<Count>, Failure> {
        let dead = self.ask(&["queue", "dead", "--json"]).await?.len();
        Ok(vec![Count::new("dead letters", 0, dead)])
    }

    /// What `kill -9` does.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(Failure::run)
    }

    pub(super) async fn start_again(&mut self) -> Result<(), Failure> {
        self.child = spawn(&self.folder)?;
        self.wait_ready().await
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// The end of what the service has said, for when something goes wrong.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("service.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    async fn wait_ready(&self) -> Result<(), Failure> {
        let until = Instant::now() + STARTS_WITHIN;
        let ready = format!("{}/readyz", self.url);
        let http = no_proxy()?;
        let is_ready = async || {
            let answer = http.get(&ready).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        while !is_ready().await {
            if Instant::now() > until {
                return Err(Failure::Run(format!(
                    "the service does not start:\n{}",
                    self.last_words()
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

pub(super) fn no_proxy() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(Failure::run)
}

fn spawn(folder: &Path) -> Result<Child, Failure> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("service.log"))
        .map_err(Failure::run)?;
    command(folder)?
        .args(["serve", "--stop-with-stdin", "--config", "bridge.toml"])
        // It ends when we do, however we end.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(Failure::run)
}

/// This program, where its configuration is.
fn command(folder: &Path) -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(Failure::run)?;
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        // The fakes are on this machine, whatever proxy there is to others.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("DEMO_SIGNATURE_KEY", SIGNATURE_KEY)
        .env("DEMO_CLIENT_SECRET", FakeBox::CLIENT_SECRET)
        .env("DEMO_OUTBOUND_SECRET", OUTBOUND_SECRET)
        .kill_on_drop(true);
    Ok(command)
}

/// As an operator's, but impatient: a story should not take minutes.
fn configuration(folder: &Path, listen: &str, ground: &Ground) -> String {
    let client = FakeBox::CLIENT_ID;
    let (content, crm) = (ground.content.url(), ground.crm.url());
    let (org, clients) = (ground.crm.org_id(), &ground.clients);
    let store = folder.join("bridge.db");
    let store = store.display();
    format!(
        r#"[server]
listen = "{listen}"
[store]
url = 'sqlite:{store}'
[webhook]
primary_key = {{ env = "DEMO_SIGNATURE_KEY" }}
[box]
base_url = "{content}"
[box.auth]
kind = "client_credentials"
client_id = "{client}"
client_secret = {{ env = "DEMO_CLIENT_SECRET" }}
enterprise_id = "12345"
[salesforce]
login_url = "{crm}"
upload_answer_timeout = "2s"
[salesforce.auth]
kind = "client_credentials"
client_id = "{client}"
client_secret = {{ env = "DEMO_CLIENT_SECRET" }}
[salesforce.events.outbound]
secret = {{ env = "DEMO_OUTBOUND_SECRET" }}
organization_id = "{org}"
[watch]
folders = ["{clients}"]
address = "http://{listen}/webhooks/box"
check_every = "1s"
catch_up_every = "1s"
[worker]
lease = "4s"
poll = "50ms"
settle_after = "2s"
[retry]
base = "200ms"
jitter = "50ms"
[[rules]]
name = "contracts"
triggers = ["FILE.UPLOADED"]
folder = "Contracts"
file = "*.pdf"
attach = ["opportunity", "account"]
log_task = {{ subject = "{{file.name}} came from Box", description = "By {{actor}}, in {{folder}}." }}
[[rules]]
name = "locked contracts"
triggers = ["FILE.LOCKED"]
folder = "Contracts"
advance_stage = "Negotiation/Review"
log_task = {{ subject = "{{file.name}} is locked" }}
[[rules]]
name = "folders"
triggers = ["Account.*", "Opportunity.*"]
[rules.provision]
layout = [
  "/Clients/{{Account.Name}}/{{Opportunity.Name}}/Contracts",
  "/Clients/{{Account.Name}}/{{Opportunity.Name}}/Proposals",
]
fields = [{{ key = "next_step", from = "Opportunity.NextStep" }}]
collaborators = [{{ owner = true, role = "editor" }}]
link_field = "{LINK_FIELD}"
[[rules]]
name = "invitations"
triggers = ["COLLABORATION.CREATED"]
log_task = {{ subject = "{{person}} was invited to {{item.name}}", contact = "person" }}
[[rules]]
name = "previews"
triggers = ["FILE.PREVIEWED"]
log_task = {{ subject = "{{file.name}} was looked at", contact = "actor", digest = "2s" }}
[[rules]]
name = "fields"
triggers = ["METADATA_INSTANCE.UPDATED", "Opportunity.*"]
[rules.sync_metadata]
on_conflict = "ask"
fields = [{{ field = "NextStep", key = "next_step" }}]
"#
    )
}
