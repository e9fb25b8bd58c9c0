use std::process::Stdio;

use box_client::testing::FakeBox;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{moto::Moto, setting::Setting};

const KEY: &str = "BRIDGE_TEST_KEY";
const NEW_KEY: &str = "BRIDGE_TEST_NEW_KEY";
const OLD_KEY: &str = "BRIDGE_TEST_OLD_KEY";
const STORED: &str = "stored as `box`; `check` tries it\n";

/// With Box's grant in an encrypted file.
fn with_grant(text: String) -> String {
    let auth = format!(
        "auth = {{ kind = \"refresh_token\", client_id = \"{}\", \
         client_secret = {{ env = \"TEST_BOX_SECRET\" }} }}",
        FakeBox::CLIENT_ID
    );
    let token = r#"auth = { kind = "developer_token", token = { env = "TEST_BOX_TOKEN" } }"#;
    assert!(text.contains(token));
    let secrets = format!("[secrets]\nkind = \"file\"\nkey = {{ env = \"{KEY}\" }}\n");
    text.replace(token, &auth)
        .replace("[webhook]", &format!("{secrets}[webhook]"))
}

fn secrets(setting: &Setting, arguments: &[&str], key: u8) -> Command {
    let mut command = setting.program();
    command
        .arg("secrets")
        .args(arguments)
        .env(KEY, format!("{key:02x}").repeat(32))
        .env("TEST_BOX_SECRET", FakeBox::CLIENT_SECRET);
    command
}

/// Gives `input` to the program; its exit code and all that it said.
async fn run(mut command: Command, input: &str) -> (Option<i32>, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_comes_by_standard_input_and_serves_through_restarts_and_a_new_key() {
    let setting = Setting::with(with_grant, true).await;
    let mut check = setting.program();
    check.arg("check").env(KEY, "01".repeat(32));
    check.env("TEST_BOX_SECRET", FakeBox::CLIENT_SECRET);
    let (code, said) = run(check, "").await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nobody has logged in yet"), "{said}");
    let files = std::fs::read_dir(setting.home.path()).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let made: Vec<_> = files.filter(|it| it.contains("bridge.")).collect();
    assert_eq!(made, ["bridge.toml"], "a check changes nothing");

    let token = setting.content.issue_refresh_token();
    let input = format!("{token}\n");
    let imported = run(secrets(&setting, &["import", "box"], 1), &input).await;
    assert_eq!(imported, (Some(0), STORED.to_owned()));
    let kept = std::fs::read(setting.home.path().join("bridge.secrets")).unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains(&token));

    let start = |key: u8| {
        let mut command = setting.program();
        let log = setting.home.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log);
        command
            .args(["serve", "--config", "bridge.toml"])
            .env(KEY, format!("{key:02x}").repeat(32))
            .env("TEST_BOX_SECRET", FakeBox::CLIENT_SECRET)
            .stderr(log.unwrap());
        command.spawn().unwrap()
    };
    let mut served = 0;
    let mut serve = async |key: u8| {
        let mut server = start(key);
        let ready = format!("{}/readyz", setting.url);
        setting
            .until(
                "the service to be ready",
                async || matches!(reqwest::get(&ready).await, Ok(answer) if answer.status() == 200),
            )
            .await;
        served += 1;
        let name = format!("contract {served}.pdf");
        setting.upload(&name, "%PDF-1.7").await;
        setting.wait_done(served).await;
        server.kill().await.unwrap();
    };
    serve(1).await;
    serve(1).await;

    let rotate = |key: u8| {
        let mut rotate = secrets(&setting, &["rotate-key", "--key-env", NEW_KEY], key);
        rotate
            .env(NEW_KEY, "02".repeat(32))
            .env(OLD_KEY, "01".repeat(32));
        rotate
    };
    let before = std::fs::read(setting.home.path().join("bridge.secrets")).unwrap();
    let (code, said) = run(rotate(1), "").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has not got the new key yet"), "{said}");
    let after = std::fs::read(setting.home.path().join("bridge.secrets")).unwrap();
    assert_eq!(after, before, "nobody could read it any more");
    let path = setting.home.path().join("bridge.toml");
    let one_key = std::fs::read_to_string(&path).unwrap();
    let both = format!("[secrets]\nprevious_key = {{ env = \"{OLD_KEY}\" }}");
    std::fs::write(&path, one_key.replace("[secrets]", &both)).unwrap();
    let (code, said) = run(rotate(2), "").await;
    assert_eq!(code, Some(0), "{said}");
    std::fs::write(&path, one_key).unwrap();
    serve(2).await;

    let before = std::fs::read(setting.home.path().join("bridge.secrets")).unwrap();
    let (code, said) = run(secrets(&setting, &["import", "box"], 1), &input).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("encrypted with another key"), "{said}");
    let after = std::fs::read(setting.home.path().join("bridge.secrets")).unwrap();
    assert_eq!(after, before, "it was overwritten");
    let long = "a".repeat(64);
    let json = format!("{{\"refresh_token\":\"{long}\"}}");
    let session = format!("00D5g0000000001!{long}");
    let address = format!("https://bridge.example.com/?code={long}");
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{long}.{long}");
    for (side, bad) in [
        ("salesforce", ""),
        ("salesforce", " \n"),
        ("salesforce", "two tokens"),
        ("salesforce", "hello"),
        ("salesforce", &json),
        ("salesforce", &session),
        ("salesforce", &address),
        ("box", &jwt),
        ("box", &session),
        (
            "box",
            "\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}",
        ),
    ] {
        let (code, said) = run(secrets(&setting, &["import", side], 2), bad).await;
        assert_eq!(code, Some(2), "{side}: {said}");
        assert!(said.contains("standard input: ") && !said.contains(&long));
    }
    let after = std::fs::read(setting.home.path().join("bridge.secrets")).unwrap();
    assert_eq!(after, before);
    assert!(!setting.log().contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_kept_in_aws_by_whatever_credentials_its_own_tools_would_find() {
    let moto = tokio::task::spawn_blocking(Moto::start).await.unwrap();
    let aws = format!(
        "kind = \"aws\"\nregion = \"eu-central-1\"\nendpoint = \"{}\"\n",
        moto.url
    );
    let file = format!("kind = \"file\"\nkey = {{ env = \"{KEY}\" }}\n");
    let setting = Setting::with(|text| with_grant(text).replace(&file, &aws), true).await;
    let token = setting.content.issue_refresh_token();
    let alone = |mut command: Command| {
        command
            .env("HOME", setting.home.path())
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    };
    let with_keys = |command: Command| {
        let mut command = alone(command);
        command
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "key-plainly-visible");
        command
    };
    let import = || secrets(&setting, &["import", "box"], 1);

    let (code, said) = run(alone(import()), &token).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no AWS credentials were found"), "{said}");
    for _ in 0..2 {
        let imported = run(with_keys(import()), &token).await;
        assert_eq!(imported, (Some(0), STORED.to_owned()));
    }
    let rotate = secrets(&setting, &["rotate-key", "--key-env", KEY], 1);
    let (code, said) = run(with_keys(rotate), "").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("KMS has the key"), "{said}");

    let log = std::fs::File::create(setting.home.path().join("log")).unwrap();
    let mut serve = with_keys(setting.program());
    serve
        .args(["serve", "--config", "bridge.toml"])
        .env("TEST_BOX_SECRET", FakeBox::CLIENT_SECRET)
        .env("RUST_LOG", "trace")
        .stderr(log);
    let _server = serve.spawn().unwrap();
    setting.upload("contract.pdf", "%PDF-1.7").await;
    setting
        .until("the event to be done", async || {
            setting.stage() == "Negotiation/Review"
        })
        .await;
    let log = setting.log();
    assert!(!log.contains(&token) && !log.contains("visible"));
}

#[tokio::test]
async fn a_grant_without_a_place_for_it_is_told_at_once() {
    let without =
        |text: String| with_grant(text).replace("[secrets]\nkind = \"file\"", "[nothing]");
    for (change, says) in [
        (
            Box::new(without) as Box<dyn Fn(String) -> String>,
            "unknown key `nothing`",
        ),
        (
            Box::new(|text| with_grant(text).replace("kind = \"file\"", "kind = \"postgres\"")),
            "wants a store.url of postgres://",
        ),
        (
            Box::new(|text| {
                with_grant(text).replace("\nkey = {", "\npassphrase = { env = \"A\" }\nkey = {")
            }),
            "exactly one of key and passphrase",
        ),
        (
            Box::new(|text: String| {
                let text = with_grant(text);
                let (before, rest) = text.split_once("[secrets]").unwrap();
                let (_, after) = rest.split_once("[webhook]").unwrap();
                format!("{before}[webhook]{after}")
            }),
            "needs [secrets] to be kept in",
        ),
    ] {
        let setting = Setting::with(change, true).await;
        let mut serve = setting.program();
        serve
            .args(["serve", "--config", "bridge.toml"])
            .env(KEY, "01".repeat(32));
        let (code, said) = run(serve, "").await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
