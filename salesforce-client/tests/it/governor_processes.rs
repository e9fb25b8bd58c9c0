//! Several processes, one org's calls.

// Tests are run by a newer toolchain than the oldest that the library supports.
#![allow(clippy::incompatible_msrv)]

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use salesforce_client::{
    ErrorKind, Governor, Quota, QuotaShare, QuotaShareError, SalesforceClient, StaticToken,
    testing::FakeSalesforce,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::quick;

const FILE: &str = "QUOTA_FILE";
const ORG: &str = "QUOTA_ORG";
const TOKEN: &str = "QUOTA_TOKEN";
const LIMIT: u64 = 600;
const RESERVE: u64 = 60;
/// Calls that a process has under way, which the other one cannot know of.
const AT_ONCE: u64 = 4;

/// The quota in a file, which each writes beside it and puts in its place.
#[derive(Clone, Debug)]
struct Kept(PathBuf);

impl Kept {
    /// Nobody else reads or writes meanwhile, whatever becomes of this process.
    fn lock(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true);
        let lock = options.open(self.0.with_extension("lock"))?;
        lock.lock()?;
        Ok(lock)
    }
}

#[async_trait]
impl QuotaShare for Kept {
    async fn load(&self) -> Result<Quota, QuotaShareError> {
        let _lock = self.lock()?;
        match std::fs::read(&self.0) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Quota::default()),
            Err(error) => Err(error.into()),
        }
    }

    async fn publish(&self, quota: &Quota) -> Result<(), QuotaShareError> {
        let _lock = self.lock()?;
        let next = self.0.with_extension("next");
        std::fs::write(&next, serde_json::to_vec(quota)?)?;
        Ok(std::fs::rename(&next, &self.0)?)
    }
}

/// One of the processes: this binary again, asked for this test alone. It calls until it is
/// refused, and tells how often it was not.
#[tokio::test]
#[ignore = "only as the child of the test below"]
async fn caller() {
    let vars = [FILE, ORG, TOKEN].map(|name| std::env::var(name).ok());
    let [Some(file), Some(org), Some(token)] = vars else {
        return;
    };
    let governor = Governor::builder()
        .reserve(RESERVE as f64 / LIMIT as f64)
        .pause(Duration::from_secs(3600))
        .max_concurrent(AT_ONCE as usize)
        .sync_every(Duration::ZERO)
        .share(Kept(file.into()))
        .build();
    let client = SalesforceClient::builder(StaticToken::new(token, &org).unwrap());
    let client = client.login_url(&org).governor(&governor).retry(quick());
    let client = client.build().unwrap();
    // Both begin together, however long it took to start them.
    println!("\nready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let calls = (0..AT_ONCE).map(|_| async {
        loop {
            if let Err(error) = client.limits().await {
                assert_eq!(error.kind(), ErrorKind::DailyLimit, "{error:?}");
                assert_eq!(error.attempts(), 0, "refused here, not by the org");
                return;
            }
        }
    });
    join_all(calls).await;
    println!("\ncalls {}", governor.state().calls);
}

struct Caller {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Caller {
    fn start(file: &Path, org: &FakeSalesforce) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "governor_processes::caller"])
            .args(["--ignored", "--nocapture"])
            .env(FILE, file)
            .env(ORG, org.url())
            .env(TOKEN, org.issue_token())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, says }
    }

    /// What follows this in a line; the test runner talks in between.
    async fn hear(&mut self, word: &str) -> String {
        while let Some(line) = self.says.next_line().await.unwrap() {
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("it ended without {word}");
    }

    async fn go(&mut self) {
        let mut input = self.process.stdin.take().unwrap();
        input.write_all(b"\n").await.unwrap();
    }

    /// How many calls it made until it was refused.
    async fn calls(mut self) -> u64 {
        let calls = self.hear("calls").await.parse().unwrap();
        assert!(self.process.wait().await.unwrap().success());
        calls
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_leave_the_reserve_to_others_together_and_a_third_asks_for_nothing() {
    let builder = FakeSalesforce::builder().daily_limit(LIMIT);
    let org = builder.start().await.unwrap();
    let folder = format!("salesforce-quota-{}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("quota.json");

    let mut both = [Caller::start(&file, &org), Caller::start(&file, &org)];
    for caller in &mut both {
        caller.hear("ready").await;
    }
    for caller in &mut both {
        caller.go().await;
    }
    let [one, other] = both.map(Caller::calls);
    let (one, other) = tokio::join!(one, other);
    assert!(one > 0 && other > 0, "{one} {other}");
    let made = org.calls();
    assert_eq!(made, one + other);
    let most = LIMIT - RESERVE;
    let fits = most - 2 * AT_ONCE..=most + 2 * AT_ONCE;
    assert!(fits.contains(&made), "{made}");

    let mut third = Caller::start(&file, &org);
    third.go().await;
    assert_eq!(third.calls().await, 0);
    assert_eq!(org.calls(), made);
    std::fs::remove_dir_all(folder).unwrap();
}
