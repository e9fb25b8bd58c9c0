use box_client::testing::FakeBox;
use tokio::net::TcpListener;

use crate::setting::{KEY, SECRET, Setting, configuration, program};

const EXAMPLE: &str = include_str!("../../../bridge.example.toml");

/// As whoever copies the example would do it; and the hosts, which are fakes here.
fn filled_in(listen: &str, content: &str, crm: &str) -> String {
    let (before, after) = EXAMPLE.split_once("\n[salesforce.auth]").unwrap();
    let (_, after) = after.split_once("\n#[salesforce.events.outbound]").unwrap();
    let mut text = format!(
        "{before}\n[salesforce.auth]\nkind = \"client_credentials\"\nclient_id = \"app\"\n\
         client_secret = {{ env = \"SALESFORCE_CLIENT_SECRET\" }}\n{after}"
    );
    for (from, to) in [
        ("127.0.0.1:8080", listen),
        ("https://api.box.com", content),
        ("https://login.salesforce.com", crm),
        ("your application's client id", FakeBox::CLIENT_ID),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_example_with_credentials_alone_brings_a_contract_to_close() {
    let setting = Setting::up().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let (content, crm) = (setting.content.url(), setting.crm.url());
    let home = tempfile::tempdir().unwrap();
    let text = filled_in(&listen, &content, crm);
    std::fs::write(home.path().join("bridge.toml"), text).unwrap();
    let with_credentials = |arguments: &[&str]| {
        let mut command = program(home.path());
        command
            .args(arguments)
            .env("BOX_SIGNATURE_KEY_PRIMARY", KEY)
            .env("BOX_CLIENT_SECRET", FakeBox::CLIENT_SECRET)
            .env("SALESFORCE_CLIENT_SECRET", SECRET);
        command
    };
    let contracts = setting.content.create_folder(&setting.folder, "Contracts");
    let contracts = contracts.unwrap();
    let address = format!("http://{listen}/webhooks/box");
    let triggers = ["FILE.UPLOADED", "FILE.LOCKED"];
    let webhook = setting
        .content
        .create_webhook(&contracts, &address, &triggers);
    webhook.unwrap();
    let check = with_credentials(&["check"]).output().await.unwrap();
    let said = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert!(check.status.success(), "{said}");

    let log = std::fs::File::create(home.path().join("log")).unwrap();
    let mut serve = with_credentials(&["serve", "--config", "bridge.toml"]);
    let _server = serve.stderr(log).spawn().unwrap();
    let upload = setting
        .content
        .upload(&contracts, "contract.pdf", "%PDF-1.7");
    let upload = upload.unwrap();
    setting
        .until("the deal to advance", async || {
            setting.stage() == "Negotiation/Review" && setting.crm.records("Task").len() == 1
        })
        .await;
    setting.assert_once(&upload.file_id, &[b"%PDF-1.7".to_vec()]);
    let task = &setting.crm.records("Task")[0];
    assert_eq!(task["Subject"], "contract.pdf: FILE.UPLOADED");
}

#[tokio::test]
async fn a_configuration_that_cannot_work_ends_with_2_and_a_line_for_each_problem() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:1";
    let good = configuration("127.0.0.1:1", nowhere, nowhere);
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
            good.replace("_TOKEN\"", "_NOT_SET\"")
                .replace("_SECRET\"", "_NOT_SET\""),
            2,
            "the variable TEST_BOX_NOT_SET is not set",
        ),
        (
            good.replace("FILE.UPLOADED", "FILE.VERSION.RESTORED"),
            1,
            "FILE.UPLOADED",
        ),
        (
            good.replace(
                "\"FILE.UPLOADED\"",
                "\"FILE.UPLOADED\", \"Opportunity.CREATD\"",
            ),
            1,
            "nothing tells of Opportunity.CREATD",
        ),
        (
            good.replace(
                "[worker]",
                "[api]\ntoken = { env = \"TEST_BOX_TOKEN\" }\n[salesforce.events.outbound]\n\
                 path = \"/v1/jobs\"\nsecret = { env = \"TEST_BOX_TOKEN\" }\n\
                 organization_id = \"00D5g0000000001EAA\"\n[worker]",
            ),
            1,
            "salesforce.events.outbound.path must not begin with /v1",
        ),
        (
            good.replace("{file.name}", "{file.nam}"),
            1,
            "there is no place {file.nam}",
        ),
        (String::new(), 1, "missing field"),
    ] {
        std::fs::write(home.path().join("bridge.toml"), text).unwrap();
        let run = program(home.path())
            .env("TEST_BOX_TOKEN", "token")
            .env("TEST_SALESFORCE_SECRET", "secret")
            .args(["serve", "--config", "bridge.toml"])
            .output();
        let output = run.await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), lines, "{said}");
        assert!(said.contains(says), "{said}");
    }
    assert!(
        !home.path().join("bridge.db").exists(),
        "something was started"
    );
}
