//! Several processes, one rotating refresh token, and `kill -9` at any instant.

// Tests are run by a newer toolchain than the oldest that the library supports.
#![allow(clippy::incompatible_msrv)]

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use salesforce_client::{
    ErrorKind, Grant, Lease, RefreshToken, SalesforceClient, Stored, Swap, TokenStore,
    TokenStoreError,
    testing::{FakeSalesforce, token_store_contract},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::support::quick;

const FILE: &str = "TOKEN_FILE";
const ORG: &str = "TOKEN_ORG";
const KILLS: usize = 10;
/// Longer than a process that lives is kept from going on by a busy machine.
const HOLD: Duration = Duration::from_secs(5);

/// A store in a file under the system's own lock, which ends with the process that has it.
#[derive(Clone, Debug)]
struct FileStore(PathBuf);

#[derive(Default, Deserialize, Serialize)]
struct Kept {
    version: u64,
    refresh_token: Option<String>,
    access_token: Option<String>,
    issued_at: Option<Timestamp>,
    instance_url: Option<String>,
    holder: u64,
    held_until: Option<Timestamp>,
}

impl FileStore {
    fn with<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> Result<T, TokenStoreError> {
        let open = |path: &Path| -> std::io::Result<File> {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
        };
        let lock = open(&self.0.with_extension("lock"))?;
        lock.lock()?;
        let mut file = open(&self.0)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut kept: Kept = match text.as_str() {
            "" => Kept::default(),
            text => serde_json::from_str(text)?,
        };
        let before = serde_json::to_string(&kept)?;
        let value = change(&mut kept);
        let after = serde_json::to_string(&kept)?;
        if before != after {
            // Another file first: who is killed while writing leaves the old one whole.
            let next = self.0.with_extension("next");
            let mut file = open(&next)?;
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(after.as_bytes())?;
            std::fs::rename(&next, &self.0)?;
        }
        Ok(value)
    }
}

#[async_trait]
impl TokenStore for FileStore {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        self.with(|kept| {
            let mut grant = Grant::new(kept.refresh_token.clone()?);
            grant.access_token = kept.access_token.clone().map(Into::into);
            grant.issued_at = kept.issued_at;
            grant.instance_url = kept.instance_url.clone();
            let version = kept.version;
            Some(Stored { grant, version })
        })
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        self.with(|kept| {
            if kept.version != expected {
                return Swap::Conflict;
            }
            kept.version += 1;
            kept.refresh_token = Some(grant.refresh_token.expose_secret().to_owned());
            let access_token = grant.access_token.as_ref();
            kept.access_token = access_token.map(|token| token.expose_secret().to_owned());
            kept.issued_at = grant.issued_at;
            kept.instance_url = grant.instance_url;
            Swap::Stored
        })
    }

    async fn lease(&self, hold: Duration) -> Result<Option<Lease>, TokenStoreError> {
        self.with(|kept| {
            let now = Timestamp::now();
            if kept.held_until.is_some_and(|until| now < until) {
                return None;
            }
            kept.holder += 1;
            kept.held_until = Some(now + hold);
            Some(Lease::new(kept.holder.to_string()))
        })
    }

    async fn release(&self, lease: Lease) -> Result<(), TokenStoreError> {
        self.with(|kept| {
            if kept.holder.to_string() == lease.as_str() {
                kept.held_until = None;
            }
        })
    }
}

fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("salesforce-tokens-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_store_in_a_file_keeps_the_contract() {
    let folder = folder("contract");
    let store = FileStore(folder.join("grant.json"));
    token_store_contract(&store, Some(&store.clone())).await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// The victim: this binary again, asked for this test alone. It calls, lets the session end, and
/// calls again, and says what became of each call.
#[tokio::test]
#[ignore = "only as the child of the test below"]
async fn victim() {
    let (Ok(file), Ok(org)) = (std::env::var(FILE), std::env::var(ORG)) else {
        return;
    };
    let tokens = RefreshToken::new("app", Some("secret".into()), FileStore(file.into()));
    let client = SalesforceClient::builder(tokens.hold(HOLD)).login_url(&org);
    let client = client.retry(quick()).build().unwrap();
    let http = reqwest::Client::new();
    loop {
        let line = match client.limits().await {
            Ok(_) => "called\n",
            Err(error) if error.kind() == ErrorKind::Auth && error.operation() == "token" => {
                "dead\n"
            }
            // The other one has let the fresh session end, or was killed in the middle of a
            // refresh and is waited for.
            Err(error) if error.kind() == ErrorKind::Auth || error.is_retryable() => "waited\n",
            Err(error) => panic!("{error:?}"),
        };
        // One write each, so that the parent never reads half a line as a whole one.
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        let _ = http.delete(format!("{org}/_fake/tokens")).send().await;
    }
}

/// A person logs in anew if the grant is lost, while nobody else is at it. Whether that was so.
async fn log_in_if_dead(store: &FileStore, org: &FakeSalesforce) -> bool {
    let lease = loop {
        if let Some(lease) = store.lease(HOLD).await.unwrap() {
            break lease;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let stored = store.load().await.unwrap();
    let living = |it: &Stored| org.is_living(it.grant.refresh_token.expose_secret());
    let is_dead = !stored.as_ref().is_some_and(living);
    if is_dead {
        let version = stored.map_or(0, |stored| stored.version);
        let grant = Grant::new(org.issue_refresh_token());
        let swapped = store.compare_and_swap(version, grant).await.unwrap();
        assert_eq!(swapped, Swap::Stored);
    }
    store.release(lease).await.unwrap();
    is_dead
}

struct Victim {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Victim {
    fn start(file: &Path, org: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::victim", "--ignored", "--nocapture"])
            .env(FILE, file)
            .env(ORG, org)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || said(lines, &tell));
        Self {
            process,
            lines: told,
        }
    }

    /// The next thing it says of a call.
    fn next(&self) -> String {
        let next = self.lines.recv_timeout(Duration::from_secs(300));
        next.expect("the victim goes on")
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn said(lines: BufReader<ChildStdout>, tell: &mpsc::Sender<String>) {
    for line in lines.lines().map_while(Result::ok) {
        // The test runner talks in between.
        if ["called", "dead", "waited"].contains(&line.as_str()) && tell.send(line).is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_rotating_grant_and_a_kill_stops_only_its_own() {
    let builder = FakeSalesforce::builder().client("app", "secret");
    let org = builder.rotate_refresh_tokens(true).start().await.unwrap();
    let folder = folder("kills");
    let file = folder.join("grant.json");
    let store = FileStore(file.clone());
    assert!(log_in_if_dead(&store, &org).await);
    let mut random = fastrand::Rng::with_seed(7);
    let url = org.url().to_owned();
    let mut victims = [Victim::start(&file, &url), Victim::start(&file, &url)];
    for _ in 0..15 {
        for victim in &victims {
            assert_ne!(victim.next(), "dead", "nothing is lost while nobody dies");
        }
    }
    let mut logins = 0;
    for kill in 0..KILLS {
        for _ in 0..random.usize(1..12) {
            victims[random.usize(0..2)].next();
        }
        let dies = kill % 2;
        let successor = Victim::start(&file, &url);
        std::mem::replace(&mut victims[dies], successor).kill();
        // Only a kill between Salesforce's answer and the write to the store costs the grant:
        // nobody can have what only the dead one knew.
        logins += usize::from(log_in_if_dead(&store, &org).await);
        // The other one lives on, whatever the dead one held.
        for _ in 0..3 {
            while victims[1 - dies].next() != "called" {}
        }
        assert!(
            !log_in_if_dead(&store, &org).await,
            "a grant died without a kill"
        );
    }
    for victim in victims {
        victim.kill();
    }
    assert!(logins < KILLS, "every kill cost the grant");
    std::fs::remove_dir_all(folder).unwrap();
}
