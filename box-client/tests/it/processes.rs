//! Several processes, one refresh token that works once, and `kill -9` at any moment.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use box_client::{
    BoxClient, ErrorKind, Grant, RetryPolicy, TokenStore,
    testing::{FakeBox, Fault, FaultEffect},
};
use futures_util::future::join_all;

use crate::{
    fake,
    file_store::{FileStore, Moment},
};

const URL: &str = "BOX_CLIENT_TEST_URL";
const STORE: &str = "BOX_CLIENT_TEST_STORE";
/// The number of the refresh at which to stand still, and where: `7 Storing`.
const STAND: &str = "BOX_CLIENT_TEST_STAND";

/// How many refreshes each process is to do.
const REFRESHES: usize = 200;
/// How often each process is killed.
const KILLS: usize = 10;
/// How long a killed process keeps the other waiting.
const HOLD: Duration = Duration::from_millis(400);

fn client(url: &str, store: FileStore) -> BoxClient {
    let source = box_client::RefreshToken::new(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET, store);
    let pause = Duration::from_millis(5);
    BoxClient::builder(source.lease(HOLD))
        .base_url(url)
        .retry(RetryPolicy::default().delays(pause, pause * 10))
        .build()
        .unwrap()
}

/// One write each, so that the parent never reads half a line as a whole one.
fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// Tells the parent of each refresh, and stands still at the one that is to be the last.
fn watch(moment: Moment) {
    static REFRESHES: AtomicUsize = AtomicUsize::new(0);
    let number = match moment {
        Moment::Storing => REFRESHES.fetch_add(1, Ordering::SeqCst) + 1,
        Moment::Stored => REFRESHES.load(Ordering::SeqCst),
    };
    let here = format!("{number} {moment:?}");
    let stand = std::env::var(STAND).is_ok_and(|at| at == here);
    if moment == Moment::Stored {
        say("stored");
    }
    if stand {
        say("standing");
        loop {
            std::thread::park();
        }
    }
}

/// One of the processes: this binary again, asked for this test alone. It has its token refused
/// again and again, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "only as the child of the test below"]
async fn member() {
    let (Ok(url), Ok(store)) = (std::env::var(URL), std::env::var(STORE)) else {
        return;
    };
    let store = FileStore::new(PathBuf::from(store)).watched(watch);
    let client = client(&url, store);
    let http = reqwest::Client::new();
    loop {
        let expire = Fault::on("/2.0/users/me", FaultEffect::ExpireSession);
        let inject = http.post(format!("{url}/_fake/faults")).json(&expire);
        if inject.send().await.is_err() {
            return;
        }
        for call in join_all((0..4).map(|_| fake::me(&client))).await {
            let Err(error) = call else { continue };
            let code = error.api().and_then(|api| api.code()).unwrap_or_default();
            let expected = match error.kind() {
                // Expired by the other process between the new token and its first use.
                ErrorKind::Auth => code == "invalid_token",
                // A busy machine.
                ErrorKind::Timeout => true,
                _ => false,
            };
            if !expected {
                say(&format!("failed {error}"));
            }
        }
    }
}

/// Lets a process do its refreshes in several lives, and gives back what it complained of.
fn drive(url: &str, store: &Path, seed: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut refreshes, mut complaints) = (0, Vec::new());
    for life in 0.. {
        let lives_for = match life {
            KILLS.. => REFRESHES.saturating_sub(refreshes),
            _ => random.usize(1..REFRESHES / KILLS),
        };
        // The worst moments are short, so every other life ends in one of them.
        let stand = match (life, life % 4) {
            (KILLS.., _) | (_, 0 | 2) => String::new(),
            (_, 1) => format!("{lives_for} {:?}", Moment::Storing),
            (_, _) => format!("{lives_for} {:?}", Moment::Stored),
        };
        let mut member = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::member", "--ignored", "--nocapture"])
            .envs([
                (URL, url),
                (STORE, store.to_str().unwrap()),
                (STAND, &*stand),
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(member.stdout.take().unwrap());
        let (mut line, mut done, mut killed) = (String::new(), 0, false);
        while lines.read_line(&mut line).unwrap() > 0 {
            // The test runner talks in between.
            if line.ends_with("stored\n") {
                done += 1;
            } else if let Some((_, complaint)) = line.split_once("failed ") {
                complaints.push(complaint.to_owned());
            }
            let over = match stand.is_empty() {
                _ if !complaints.is_empty() => true,
                true => done == lives_for,
                false => line.ends_with("standing\n"),
            };
            line.clear();
            if over {
                if stand.is_empty() {
                    // Anywhere in the next refresh; waits for nothing.
                    std::thread::sleep(Duration::from_micros(random.u64(..12_000)));
                }
                killed = true;
                // SIGKILL; what it had written to the pipe is still read.
                member.kill().unwrap();
            }
        }
        member.wait().unwrap();
        assert!(killed, "the process died by itself: {complaints:?}");
        refreshes += done;
        if !complaints.is_empty() || (life >= KILLS && refreshes >= REFRESHES) {
            return complaints;
        }
    }
    complaints
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_grant_through_kills() {
    // Without Box's grace a kill between its answer and the store would end the grant.
    let fake = fake::start(FakeBox::builder().refresh_grace(true)).await;
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path());
    let grant = Grant::new(fake.issue_refresh_token());
    grant.store_in(&store).await.unwrap();
    let drivers = [3, 4].map(|seed| {
        let (url, folder) = (fake.url(), folder.path().to_owned());
        tokio::task::spawn_blocking(move || drive(&url, &folder, seed))
    });
    for driver in drivers {
        assert_eq!(driver.await.unwrap(), [""; 0], "a caller was told");
    }
    fake.clear_faults();
    let version = store.load().await.unwrap().unwrap().version;
    assert!(version > 2 * REFRESHES as u64, "{version}");
    let client = client(&fake.url(), store);
    fake::me(&client).await.unwrap();
    fake.inject(Fault::on("/2.0/users/me", FaultEffect::ExpireSession));
    fake::me(&client).await.unwrap();
    assert_eq!(fake.violations(), [] as [String; 0]);
}
