//! `bridge-server login`, with a browser that clicks at once.

use std::process::Stdio;

use box_client::testing::FakeBox;
use salesforce_client::testing::FakeSalesforce;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use crate::setting::{SECRET, configuration, program};

const KEY: &str = "BRIDGE_TEST_KEY";

/// Both sides, by logins that nobody has made yet.
struct Ground {
    content: FakeBox,
    crm: FakeSalesforce,
    home: tempfile::TempDir,
    port: u16,
}

impl Ground {
    async fn lay(patience: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let content = FakeBox::builder().start().await.unwrap();
        let back = format!("http://localhost:{port}/callback");
        let crm = FakeSalesforce::builder().client("app", SECRET);
        let crm = crm.redirect_uri("app", back).start().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let text = configuration("127.0.0.1:1", &content.url(), crm.url());
        let mut lines: Vec<_> = text.lines().collect();
        lines.retain(|line| !line.starts_with("auth ="));
        let text = lines.join("\n");
        let text = text
            .replace(
                "[box]\n",
                &format!(
                    "[secrets]\nkind = \"file\"\nkey = {{ env = \"{KEY}\" }}\n[login]\nport = {port}\n\
                     patience = \"{patience}\"\nbox_authorize_url = \"{}/api/oauth2/authorize\"\n\
                     [box]\nauth = {{ kind = \"refresh_token\", client_id = \"{}\", client_secret = \
                     {{ env = \"TEST_BOX_SECRET\" }} }}\n",
                    content.url(),
                    FakeBox::CLIENT_ID
                ),
            )
            .replace(
                "[salesforce]\n",
                "[salesforce]\nauth = { kind = \"refresh_token\", client_id = \"app\", \
                 client_secret = { env = \"TEST_SALESFORCE_SECRET\" } }\n",
            );
        std::fs::write(home.path().join("bridge.toml"), text).unwrap();
        Self {
            content,
            crm,
            home,
            port,
        }
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command
            .args(arguments)
            .env(KEY, "01".repeat(32))
            .env("TEST_BOX_SECRET", FakeBox::CLIENT_SECRET)
            .env("TEST_SALESFORCE_SECRET", SECRET);
        command
    }

    /// Starts a login, and gives the address that it asks a person to open.
    async fn login(&self, side: &str) -> (Child, String) {
        let mut child = self.program(&["login", side]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.trim().starts_with("http") {
                // The rest is read too, so that nothing is said to nobody.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return (child, line.trim().to_owned());
            }
        }
        panic!("it asks for nothing");
    }

    fn is_stored(&self) -> bool {
        self.home.path().join("bridge.secrets").exists()
    }

    async fn found(&self, about: &str) -> Value {
        let output = self.program(&["check", "--json"]).output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines = said
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found = lines.find(|it| it["about"] == about);
        found.unwrap_or_else(|| panic!("nothing about {about} in {said}"))
    }
}

async fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_once_and_the_service_has_its_grant() {
    let ground = Ground::lay("30s").await;
    for side in ["box", "salesforce"] {
        let found = ground.found(&format!("secrets.{side}")).await;
        assert_eq!(found["state"], "problem");
        assert!(
            found["todo"]
                .as_str()
                .unwrap()
                .contains(&format!("login {side}"))
        );

        let (child, address) = ground.login(side).await;
        if side == "salesforce" {
            assert!(address.contains("code_challenge_method=S256"), "{address}");
        }
        let page = reqwest::get(&address).await.unwrap();
        assert_eq!(page.status(), 200);
        let page = page.text().await.unwrap().to_lowercase();
        assert!(page.contains("logged in"), "{page}");
        assert_eq!(ended(child).await, (Some(0), String::new()));
        for about in [format!("secrets.{side}"), format!("{side}.token")] {
            let found = ground.found(&about).await;
            assert_eq!(found["state"], "ok", "{found}");
        }
    }
    let kept = std::fs::read(ground.home.path().join("bridge.secrets")).unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains("refresh"));
    drop((ground.content, ground.crm));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_not_this_one_gives_nothing() {
    let ground = Ground::lay("30s").await;
    let stranger = format!(
        "http://127.0.0.1:{}/callback?code=c&state=guessed",
        ground.port
    );
    let (child, _) = ground.login("box").await;
    assert_eq!(reqwest::get(&stranger).await.unwrap().status(), 400);
    let (code, said) = ended(child).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("has not the state of this login"), "{said}");
    assert!(!ground.is_stored());

    // At Salesforce a stranger's knock is not the end: the person still comes in.
    let (child, address) = ground.login("salesforce").await;
    assert_eq!(reqwest::get(&stranger).await.unwrap().status(), 404);
    assert!(!ground.is_stored());
    assert_eq!(reqwest::get(&address).await.unwrap().status(), 200);
    assert_eq!(ended(child).await.0, Some(0));
    assert!(ground.is_stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_waited_for_without_end_and_nobody_is_sent_away_for_nothing() {
    let ground = Ground::lay("100ms").await;
    for side in ["box", "salesforce"] {
        let (child, _) = ground.login(side).await;
        let (code, said) = ended(child).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("came back") && said.contains("in time"),
            "{said}"
        );
    }
    assert!(!ground.is_stored());
    let taken = TcpListener::bind(("127.0.0.1", ground.port)).await.unwrap();
    for side in ["box", "salesforce"] {
        let child = ground.program(&["login", side]).spawn().unwrap();
        let (code, said) = ended(child).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("login.port"), "{said}");
    }
    drop(taken);
    let mut locked = ground.program(&["login", "box"]);
    let child = locked.env(KEY, "too short").stdin(Stdio::null()).spawn();
    let (code, said) = ended(child.unwrap()).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("secrets: "), "{said}");
    let mut locked = ground.program(&["check"]);
    let output = locked.env(KEY, "too short").output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for (state, about) in [
        ("problem", "secrets"),
        ("warning", "box"),
        ("warning", "salesforce"),
    ] {
        let mut lines = said.lines().map(str::split_whitespace);
        let line = lines.find(|words| words.clone().nth(1) == Some(about));
        assert_eq!(line.and_then(|mut it| it.next()), Some(state), "{said}");
    }
}
