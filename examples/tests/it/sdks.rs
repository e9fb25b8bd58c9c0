//! Other people's clients, as they come from their registries, against the `fakes` program.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

const BOX_SDK: &str = "boxsdk==10.18.0";
const SIMPLE_SALESFORCE: &str = "simple-salesforce==1.12.10";
const JSFORCE: &str = "jsforce@3.10.16";

/// One installation at a time: the tests share a folder that outlives them.
static INSTALLING: Mutex<()> = Mutex::new(());

fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdks")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdks")
        .join(name)
}

fn run(command: &mut Command, needs: &str) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}. It needs {needs}."));
    assert!(
        output.status.success(),
        "{command:?} failed; it needs {needs}.\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A virtual environment with this package.
fn python(package: &str) -> PathBuf {
    let _one = INSTALLING.lock().unwrap_or_else(|it| it.into_inner());
    let place = home().join(package.replace("==", "-"));
    let python = place.join("bin/python");
    let done = place.join("done");
    if !done.exists() {
        let needs = "python3 with venv (on Debian: apt-get install python3-venv) and PyPI";
        run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&place),
            needs,
        );
        run(
            Command::new(&python).args(["-m", "pip", "install", "--quiet", package]),
            needs,
        );
        std::fs::write(done, "").unwrap();
    }
    python
}

fn jsforce() -> PathBuf {
    let _one = INSTALLING.lock().unwrap_or_else(|it| it.into_inner());
    let place = home().join(JSFORCE);
    let done = place.join("done");
    if !done.exists() {
        let needs = "node and npm (on Debian: apt-get install npm) and the npm registry";
        std::fs::create_dir_all(&place).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        run(npm.arg(&place).arg(JSFORCE), needs);
        std::fs::write(done, "").unwrap();
    }
    // Node looks for packages beside the script.
    std::fs::copy(script("jsforce_calls.mjs"), place.join("calls.mjs")).unwrap();
    place.join("calls.mjs")
}

/// The running fakes, and for each side its URL and a token.
async fn fakes() -> (Child, [(String, String); 2]) {
    let mut fakes = tokio::process::Command::new(env!("CARGO_BIN_EXE_fakes"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(fakes.stdout.take().unwrap()).lines();
    let mut words = Vec::new();
    while words.len() < 4 {
        let line = lines.next_line().await.unwrap().unwrap();
        if ["Box ", "Salesforce ", "  token "]
            .iter()
            .any(|it| line.starts_with(it))
        {
            words.push(line.split_whitespace().last().unwrap().to_owned());
        }
    }
    let [url, token, crm, session] = words.try_into().unwrap();
    (fakes, [(url, token), (crm, session)])
}

fn says_ok(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.ends_with("ok\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn boxs_own_sdk_works_against_fake_box() {
    let (_fakes, [(url, token), _]) = fakes().await;
    let mut sdk = Command::new(python(BOX_SDK));
    sdk.arg(script("box_sdk_calls.py")).args([&url, &token]);
    says_ok(&run(&mut sdk, "nothing else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn simple_salesforce_works_against_fake_salesforce() {
    let (_fakes, [_, (url, token)]) = fakes().await;
    let mut client = Command::new(python(SIMPLE_SALESFORCE));
    client
        .arg(script("simple_salesforce_calls.py"))
        .args([&url, &token]);
    says_ok(&run(&mut client, "nothing else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn jsforce_works_against_fake_salesforce() {
    let (_fakes, [_, (url, token)]) = fakes().await;
    let mut client = Command::new("node");
    client.arg(jsforce()).args([&url, &token]);
    says_ok(&run(&mut client, "node"));
}
