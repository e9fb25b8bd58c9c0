//! Several processes on one file, and `kill -9` at any moment.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use box_client::{
    BoxClient, ErrorKind, Grant, RetryPolicy,
    testing::{FakeBox, Fault, FaultEffect},
};
use bridge::secrets::{FileSecrets, GrantStore, SecretStore, Swap};

use super::{key, name, text};

const STORE: &str = "BRIDGE_TEST_SECRETS";
const URL: &str = "BRIDGE_TEST_SECRETS_BOX";
const PROCESSES: u64 = 2;
const KILLS: usize = 12;
/// How long a killed process keeps the other waiting.
const HOLD: Duration = Duration::from_millis(400);

/// One write each, so that the parent never reads half a line as a whole one.
fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// One of the processes: this binary again, asked for this test alone. It counts up.
#[tokio::test]
#[ignore = "only as the child of a test below"]
async fn counter() {
    let Ok(path) = std::env::var(STORE) else {
        return;
    };
    let store = FileSecrets::open(path, key(1)).await.unwrap();
    let mut seen = None;
    for round in 0_u64.. {
        let secret = format!("{}/{round}", std::process::id());
        let (name, new) = (name(), secret.as_str().into());
        match store.compare_and_swap(&name, seen, new).await.unwrap() {
            Swap::Swapped(version) => {
                say(&format!("did {version} {secret}"));
                seen = Some(version);
            }
            Swap::Conflict(current) => seen = current.map(|it| it.version),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_and_the_file_is_readable_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    let drivers: Vec<_> = (0..PROCESSES)
        .map(|seed| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let lives = (0..KILLS).map(|_| {
                    let lives_for = random.usize(1..40);
                    let linger = Duration::from_micros(random.u64(..4_000));
                    run_and_kill("counter", &path, "", lives_for, linger)
                });
                lives.collect::<Vec<_>>().concat()
            })
        })
        .collect();
    let store = FileSecrets::open(&path, key(1)).await.unwrap();
    let mut latest = 0;
    while !drivers.iter().all(|it| it.is_finished()) {
        let version = store
            .load(&name())
            .await
            .unwrap()
            .map_or(0, |it| it.version);
        assert!(version >= latest, "{latest} was there before {version}");
        latest = version;
        tokio::task::yield_now().await;
    }
    let mut done: HashMap<u64, String> = HashMap::new();
    for driver in drivers {
        for line in driver.await.unwrap() {
            let (version, secret) = line.split_once(' ').unwrap();
            let before = done.insert(version.parse().unwrap(), secret.to_owned());
            assert_eq!(before, None, "two made the same version from {line}");
        }
    }
    let last = store.load(&name()).await.unwrap().unwrap().version;
    let newest = *done.keys().max().unwrap();
    assert!(last >= newest, "{newest} was acknowledged, {last} is there");
    if last == newest {
        assert_eq!(text(&store).await.as_ref(), done.get(&newest));
    }
    assert!(done.len() as u64 >= PROCESSES * KILLS as u64);
}

fn client(url: &str, store: GrantStore) -> BoxClient {
    let source = box_client::RefreshToken::new(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET, store);
    let pause = Duration::from_millis(5);
    BoxClient::builder(source.lease(HOLD))
        .base_url(url)
        .retry(RetryPolicy::default().delays(pause, pause * 10))
        .build()
        .unwrap()
}

async fn grant_store(path: &Path) -> GrantStore {
    let secrets = FileSecrets::open(path, key(1)).await.unwrap();
    GrantStore::new(Arc::new(secrets), name())
}

async fn me(client: &BoxClient) -> box_client::Result<()> {
    let request = client.request(http::Method::GET, "/users/me");
    request.send().await.map(drop)
}

/// One of the processes. It has its token refused again and again, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "only as the child of the test below"]
async fn holder() {
    let (Ok(url), Ok(path)) = (std::env::var(URL), std::env::var(STORE)) else {
        return;
    };
    let store = grant_store(&PathBuf::from(path)).await;
    let client = client(&url, store);
    let http = reqwest::Client::new();
    loop {
        let expire = Fault::on("/2.0/users/me", FaultEffect::ExpireSession);
        let inject = http.post(format!("{url}/_fake/faults")).json(&expire);
        if inject.send().await.is_err() {
            return;
        }
        match me(&client).await {
            Ok(()) => say("did refresh"),
            // The other process had it expire between the new token and its first use, or the
            // machine is busy.
            Err(error) => {
                let code = error.api().and_then(|api| api.code()).unwrap_or_default();
                let expected = match error.kind() {
                    ErrorKind::Auth => code == "invalid_token",
                    ErrorKind::Timeout => true,
                    _ => false,
                };
                if !expected {
                    say(&format!("failed {error}"));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_grant_of_box_through_kills() {
    // Without Box's grace a kill between its answer and the store would end the grant.
    let fake = FakeBox::builder().refresh_grace(true).start();
    let fake = fake.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    let store = grant_store(&path).await;
    let grant = Grant::new(fake.issue_refresh_token());
    grant.store_in(&store).await.unwrap();
    let drivers: Vec<_> = (0..PROCESSES)
        .map(|seed| {
            let (url, path) = (fake.url(), path.clone());
            tokio::task::spawn_blocking(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..KILLS {
                    let lives_for = random.usize(1..12);
                    let linger = Duration::from_micros(random.u64(..25_000));
                    run_and_kill("holder", &path, &url, lives_for, linger);
                }
            })
        })
        .collect();
    for driver in drivers {
        driver.await.unwrap();
    }
    fake.clear_faults();
    let stored = box_client::TokenStore::load(&store).await.unwrap().unwrap();
    assert!(
        stored.version > PROCESSES * KILLS as u64,
        "{}",
        stored.version
    );
    let client = client(&fake.url(), store);
    me(&client).await.unwrap();
    fake.inject(Fault::on("/2.0/users/me", FaultEffect::ExpireSession));
    me(&client).await.unwrap();
}

/// Lets a process live for so many things done, and a little longer; gives back what it did.
fn run_and_kill(
    what: &str,
    path: &Path,
    url: &str,
    lives_for: usize,
    linger: Duration,
) -> Vec<String> {
    let test = format!("secrets::processes::{what}");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--ignored", "--nocapture"])
        .env(STORE, path)
        .env(URL, url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut done) = (String::new(), Vec::new());
    while lines.read_line(&mut line).unwrap() > 0 {
        // The test runner talks in between, and the last line may have broken off.
        if let Some(whole) = line.strip_suffix('\n') {
            if let Some((_, what)) = whole.split_once("did ") {
                done.push(what.to_owned());
            }
            if let Some((_, complaint)) = whole.split_once("failed ") {
                child.kill().unwrap();
                panic!("{complaint}");
            }
        }
        line.clear();
        if done.len() == lives_for {
            // Anywhere in the next round; waits for nothing.
            std::thread::sleep(linger);
            // SIGKILL; what it had written to the pipe is still read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(done.len() >= lives_for, "the process died by itself");
    done
}
