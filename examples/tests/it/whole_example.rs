//! `bridge.example.toml` with all of it switched on, driven end to end: all four jobs by one file.

use std::path::Path;

use box_client::{BoxClient, DeveloperToken, testing::FakeBox};
use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

use crate::setting::{KEY, PATIENCE, SECRET, program};

const EXAMPLE: &str = include_str!("../../../bridge.example.toml");
const OUTBOUND: &str = "the-secret-of-the-path";

/// What is switched off begins with # and no space.
fn all_on() -> String {
    let on = |line: &'static str| match line.strip_prefix('#') {
        Some(off) if !off.is_empty() && !off.starts_with(' ') => off,
        _ => line,
    };
    EXAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
}

/// Without one section, up to the next.
fn without(text: &str, section: &str) -> String {
    let (before, after) = text.split_once(&format!("\n{section}\n")).unwrap();
    let (_, after) = after.split_once("\n[").unwrap();
    format!("{before}\n[{after}")
}

struct Ground {
    content: FakeBox,
    crm: FakeSalesforce,
    home: tempfile::TempDir,
    url: String,
}

impl Ground {
    async fn lay() -> Self {
        let content = FakeBox::builder().signature_keys(KEY, "another key");
        let content = content.start().await.unwrap();
        let key = |name| Field::text(name, 255).unique(true).external_id(true);
        let crm = FakeSalesforce::builder()
            .client("app", SECRET)
            .custom_field("ContentVersion", key("Box_File_Version_Id__c"))
            .custom_field("Activity", key("Box_Event_Id__c").length(64))
            .custom_field("Account", Field::text("Box_Folder__c", 255))
            .custom_field("Opportunity", Field::text("Box_Folder__c", 255));
        let crm = crm.start().await.unwrap();
        let field = |kind: &str, key: &str| json!({ "type": kind, "key": key, "displayName": key });
        let mut stage = field("enum", "stage");
        stage["options"] = json!([{ "key": "Prospecting" }, { "key": "Negotiation/Review" }]);
        let fields = json!([
            field("string", "account_id"),
            field("string", "opportunity_id"),
            field("string", "deal"),
            field("string", "client"),
            field("float", "amount"),
            field("date", "close_date"),
            stage,
        ]);
        content
            .create_template("salesforce_mapping", fields)
            .unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = free.local_addr().unwrap().to_string();
        let ground = Self {
            content,
            crm,
            home: tempfile::tempdir().unwrap(),
            url: format!("http://{listen}"),
        };
        let group = ground.group("Sales").await;
        let clients = ground.content.create_folder("0", "Clients").unwrap();
        ground.write(&listen, &group, &clients);
        ground
    }

    /// The example as it stands, but for what is different in each company.
    fn write(&self, listen: &str, group: &str, clients: &str) {
        let all = all_on();
        // A gRPC server and what has happened since a day long ago are tested elsewhere.
        let all = without(&all, "[salesforce.events.pubsub]");
        let (before, after) = all.split_once("\n[salesforce.auth]").unwrap();
        let (_, after) = after.split_once("\n[salesforce.events.outbound]").unwrap();
        let mut text = format!(
            "{before}\n[salesforce.auth]\nkind = \"client_credentials\"\nclient_id = \"app\"\n\
             client_secret = {{ env = \"SALESFORCE_CLIENT_SECRET\" }}\n\
             [salesforce.events.outbound]{after}"
        );
        for (from, to) in [
            ("127.0.0.1:8080", listen),
            ("https://api.box.com", &self.content.url()),
            ("https://login.salesforce.com", self.crm.url()),
            ("your application's client id", FakeBox::CLIENT_ID),
            ("since = \"2026-01-01T00:00:00Z\"\n", ""),
            ("00Dxx0000001gPLEAY", self.crm.org_id()),
            ("group = \"12345\"", &format!("group = \"{group}\"")),
            ("folders = []", &format!("folders = [\"{clients}\"]")),
            (
                "address = \"\"",
                &format!("address = \"{}/webhooks/box\"", self.url),
            ),
            ("digest = \"1h\"", "digest = \"2s\""),
        ] {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(self.home.path().join("bridge.toml"), text).unwrap();
    }

    async fn group(&self, name: &str) -> String {
        let token = DeveloperToken::new(self.content.issue_token());
        let client = BoxClient::builder(token).base_url(&self.content.url());
        let client = client.build().unwrap();
        let group = client.groups().create(name).send().await.unwrap();
        group.id.as_str().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command
            .args(arguments)
            .env("BOX_SIGNATURE_KEY_PRIMARY", KEY)
            .env("BOX_SIGNATURE_KEY_SECONDARY", "another key")
            .env("BOX_CLIENT_SECRET", FakeBox::CLIENT_SECRET)
            .env("SALESFORCE_CLIENT_SECRET", SECRET)
            .env("SALESFORCE_OUTBOUND_SECRET", OUTBOUND)
            .env(
                "SALESFORCE_OUTBOUND_SECRET_OLD",
                "the-one-before-of-the-path",
            )
            .env("BRIDGE_API_TOKEN", "a-token-for-the-API-in-tests")
            .env("BRIDGE_SECRETS_KEY", "01".repeat(32));
        command
    }

    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !done() {
            let late = tokio::time::Instant::now() > end;
            assert!(!late, "waited in vain for {what}\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }

    fn log(&self) -> String {
        let log: &Path = &self.home.path().join("log");
        std::fs::read_to_string(log).unwrap_or_default()
    }

    async fn tell_of(&self, record: &str) {
        let action = "04kxx0000000001AAA";
        let message = self.crm.outbound_message(action, &[record], &["Name"]);
        let url = format!("{}/webhooks/salesforce/{OUTBOUND}", self.url);
        let told = self.crm.deliver(&url, &message.unwrap()).await.unwrap();
        assert!(told.acknowledged);
    }

    fn folder(&self, name: &str) -> Option<Value> {
        let state = self.content.state();
        let folders = state["folders"].as_array().cloned().unwrap_or_default();
        folders.into_iter().find(|it| it["name"] == name)
    }

    fn task(&self, subject: &str) -> Option<Value> {
        let tasks = self.crm.records("Task");
        tasks.into_iter().find(|it| it["Subject"] == subject)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_the_example_at_once_does_all_four_jobs() {
    let ground = Ground::lay().await;
    let check = ground.command(&["check"]).output().await.unwrap();
    let said = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert!(check.status.success(), "{said}");
    let log = std::fs::File::create(ground.home.path().join("log")).unwrap();
    let mut serve = ground.command(&["serve", "--config", "bridge.toml"]);
    let mut server = serve.stderr(log).spawn().unwrap();
    let watched = || {
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none(), "{}", ground.log());
        !ground.content.state()["webhooks"]
            .as_array()
            .unwrap()
            .is_empty()
    };
    ground.until("the service's webhook", watched).await;

    let account = json!({ "Name": "Acme" });
    let account = ground.crm.create("Account", account).unwrap();
    let deal = json!({
        "Name": "Platform", "AccountId": account, "StageName": "Prospecting",
        "CloseDate": "2030-06-30", "Amount": 1200,
    });
    let deal = ground.crm.create("Opportunity", deal).unwrap();
    ground.tell_of(&account).await;
    ground.tell_of(&deal).await;
    let metadata = |key: &str| ground.folder("Platform").unwrap()["metadata"][0][key].clone();
    ground
        .until("the folders and what the record says", || {
            ground.folder("Proposals").is_some() && metadata("amount") == 1200.0
        })
        .await;
    assert_eq!(metadata("deal"), "Platform");
    assert_eq!(metadata("client"), "Acme");
    assert!(
        metadata("close_date")
            .as_str()
            .unwrap()
            .starts_with("2030-06-30")
    );
    let folder = ground.folder("Platform").unwrap()["id"].clone();
    let folder = folder.as_str().unwrap();
    let let_in = || {
        let state = ground.content.state();
        let all = state["collaborations"].as_array().cloned().unwrap();
        let mut roles: Vec<_> = all
            .iter()
            .filter(|it| it["item"]["id"] == *folder)
            .map(|it| it["role"].as_str().unwrap().to_owned())
            .collect();
        roles.sort();
        roles
    };
    ground
        .until("the owner and the group", || {
            let_in() == ["editor", "viewer"]
        })
        .await;

    let contracts = ground.folder("Contracts").unwrap()["id"].clone();
    let contracts = contracts.as_str().unwrap();
    let upload = ground.content.upload(contracts, "NDA.pdf", "%PDF-1.7");
    let file = upload.unwrap().file_id;
    let stage = || ground.crm.record(&deal).unwrap()["StageName"].clone();
    ground
        .until("the contract", || {
            ground.task("NDA.pdf: FILE.UPLOADED").is_some() && stage() == "Negotiation/Review"
        })
        .await;
    assert_eq!(ground.crm.files().len(), 1);

    let contact =
        json!({ "LastName": "Buyer", "Email": "bea@customer.example", "AccountId": account });
    let contact = ground.crm.create("Contact", contact).unwrap();
    ground.content.create_user("Bea", "bea@customer.example");
    let login = "bea@customer.example";
    ground.content.collaborate(folder, login, "viewer").unwrap();
    for _ in 0..3 {
        ground.content.preview(&file).unwrap();
    }
    let invited = "Bea: COLLABORATION.CREATED on Platform";
    ground
        .until("the engagement", || {
            ground.task(invited).is_some() && ground.task("NDA.pdf was looked at").is_some()
        })
        .await;
    assert_eq!(ground.task(invited).unwrap()["WhoId"], *contact);

    let values = json!({ "amount": 1500.0 });
    let content = &ground.content;
    content
        .apply_metadata(folder, "salesforce_mapping", values)
        .unwrap();
    ground
        .until("the record to follow", || {
            ground.crm.record(&deal).unwrap()["Amount"] == 1500.0
        })
        .await;
    let dead = ground.command(&["queue", "dead", "--json"]).output();
    let dead = String::from_utf8(dead.await.unwrap().stdout).unwrap();
    assert_eq!(dead, "", "{}", ground.log());
}
