//! A gigabyte in parts, the memory that takes, and `kill -9` on the way.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Write},
    ops::Range,
    path::Path,
    process::{Child, Command, Stdio},
};

use box_client::{
    Content, File, UploadSessionId,
    testing::{FakeBox, Fault, FaultEffect},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::boxed::{Boxed, client_of, root};

const URL: &str = "BOX_CLIENT_TEST_UPLOAD_URL";
/// Where a process keeps the session's id for the one after it.
const KEPT: &str = "BOX_CLIENT_TEST_UPLOAD_SESSION";
/// The SHA-1 of all, where the process is to know it.
const KNOWN: &str = "BOX_CLIENT_TEST_UPLOAD_SHA1";

const SIZE: u64 = 1 << 30;
const PIECE: u64 = 1 << 16;
const PART: u64 = 8 << 20;
const PARTS: usize = (SIZE / PART) as usize;
const PARALLEL: usize = 4;
/// What a process needs beside its parts: itself, the connections, pieces of the content.
const BESIDE: u64 = 40 << 20;

fn piece(number: u64) -> Bytes {
    let mut piece = vec![7; PIECE as usize];
    piece[..8].copy_from_slice(&number.to_le_bytes());
    piece.into()
}

/// A gigabyte that nobody holds. Parts begin where pieces do.
fn gigabyte() -> Content {
    let open = |range: Range<u64>| async move {
        let numbers = range.start / PIECE..range.end / PIECE;
        let pieces = stream::iter(numbers).map(|number| Ok::<_, io::Error>(piece(number)));
        Ok::<_, io::Error>(pieces)
    };
    Content::ranges(open, SIZE)
}

fn sha1_of_all() -> String {
    let mut hash = Sha1::new();
    (0..SIZE / PIECE).for_each(|number| hash.update(piece(number)));
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The program that is killed: this binary again, asked for this test alone. It begins a session
/// and keeps its id, or goes on with the one that is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "only as the child of a test below"]
async fn resumer() {
    let (Ok(url), Ok(kept)) = (std::env::var(URL), std::env::var(KEPT)) else {
        return;
    };
    let client = client_of(&url).build().unwrap();
    let sessions = client.upload_sessions();
    let id: UploadSessionId = match std::fs::read_to_string(&kept) {
        Ok(id) => id.parse().unwrap(),
        Err(_) => {
            let session = sessions.create(&root(), "big", SIZE).await.unwrap();
            std::fs::write(&kept, session.id.as_str()).unwrap();
            session.id
        }
    };
    let content = match std::env::var(KNOWN) {
        Ok(sha1) => gigabyte().sha1(sha1),
        Err(_) => gigabyte(),
    };
    let sending = sessions.send(&id, content).parallel(PARALLEL);
    tell(&sending.send().await.unwrap());
}

/// The same for a program that keeps nothing, and a content that exists once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "only as the child of a test below"]
async fn uploader() {
    let Ok(url) = std::env::var(URL) else { return };
    let client = client_of(&url).build().unwrap();
    let pieces = (0..SIZE / PIECE).map(|number| Ok::<_, io::Error>(piece(number)));
    let content = Content::once(stream::iter(pieces), SIZE);
    let upload = client.files().upload(&root(), "big", content);
    tell(&upload.parallel(PARALLEL).send().await.unwrap().file);
}

fn tell(file: &File) {
    let peak = peak_memory(std::process::id());
    let done = json!({ "peak": peak, "sha1": file.sha1, "size": file.size });
    let line = format!("\ndone {done}\n");
    io::stdout().write_all(line.as_bytes()).unwrap();
}

fn child(fake: &FakeBox, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &format!("gigabyte::{test}")])
        .args(["--ignored", "--nocapture"])
        .env(URL, fake.url())
        .stdout(Stdio::piped());
    command
}

fn start(fake: &FakeBox, kept: &Path, known: Option<&str>) -> Child {
    let mut command = child(fake, "resumer");
    command.env(KEPT, kept).env_remove(KNOWN);
    command.envs(known.map(|sha1| (KNOWN, sha1)));
    command.spawn().unwrap()
}

/// SIGKILL, after a look at what it has needed.
fn kill(mut child: Child) {
    let peak = peak_memory(child.id());
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_bounded(peak);
}

/// What it says when it has come to its end.
async fn ends(child: Child) -> Value {
    let read = move || {
        let mut child = child;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Vec<_> = lines.map_while(io::Result::ok).collect();
        assert!(child.wait().unwrap().success(), "{lines:?}");
        let done = lines.iter().find_map(|line| line.strip_prefix("done "));
        serde_json::from_str::<Value>(done.unwrap()).unwrap()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn assert_bounded(peak: Option<u64>) {
    let Some(peak) = peak else { return };
    let allowed = PARALLEL as u64 * PART + BESIDE;
    assert!(peak < allowed, "{} of {} KiB", peak >> 10, allowed >> 10);
}

/// The most that a process has had in memory at once, where the system tells.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Where the parts begin that Box has.
fn stored(boxed: &Boxed) -> BTreeSet<u64> {
    let state = boxed.fake.state();
    let offsets = state["upload_sessions"][0]["parts"].as_array();
    let offsets = offsets.into_iter().flatten();
    offsets.filter_map(Value::as_u64).collect()
}

/// Where the parts begin that came since the requests were cleared.
fn sent(boxed: &Boxed) -> Vec<u64> {
    let puts = boxed.puts_of_parts();
    let first = puts.iter().map(|put| {
        let range = put.header("content-range").unwrap();
        let range = range.strip_prefix("bytes ").unwrap();
        range.split_once('-').unwrap().0.parse().unwrap()
    });
    first.collect()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        // The fake is served by the same threads.
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_takes_no_more_memory_than_its_parts_on_their_way() {
    let boxed = Boxed::with(FakeBox::builder().keep_bytes(false)).await;
    let done = ends(child(&boxed.fake, "uploader").spawn().unwrap()).await;
    assert_eq!(done["size"], SIZE);
    assert_eq!(done["sha1"], sha1_of_all());
    assert_eq!(boxed.puts_of_parts().len(), PARTS);
    assert_bounded(done["peak"].as_u64());
    boxed.done();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_survives_the_process_that_sends_it() {
    let boxed = Boxed::with(FakeBox::builder().keep_bytes(false)).await;
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("session");
    let stuck = || FaultEffect::DelayBefore { millis: 3_600_000 };

    // With parts on their way that Box has wholly received and not stored.
    let puts = Fault::on("/api/2.0/files/upload_sessions/*", stuck()).method("PUT");
    boxed.fake.inject(puts.skip(40).times(u32::MAX));
    let child = start(&boxed.fake, &kept, None);
    until(|| stored(&boxed).len() == 40).await;
    until(|| sent(&boxed).len() == 40 + PARALLEL).await;
    kill(child);
    boxed.fake.clear_faults();
    assert_eq!(stored(&boxed).len(), 40);

    // Anywhere in a part.
    let before = stored(&boxed);
    boxed.fake.clear_requests();
    let child = start(&boxed.fake, &kept, None);
    until(|| stored(&boxed).len() >= 80).await;
    kill(child);
    assert!(sent(&boxed).iter().all(|part| !before.contains(part)));

    // With all there and nothing made of it.
    let before = stored(&boxed);
    boxed.fake.clear_requests();
    let commits = "/api/2.0/files/upload_sessions/*/commit";
    boxed.fake.inject(Fault::on(commits, stuck()));
    let child = start(&boxed.fake, &kept, None);
    until(|| !boxed.sent("POST", "/commit").is_empty()).await;
    kill(child);
    assert_eq!(stored(&boxed).len(), PARTS);
    assert!(sent(&boxed).iter().all(|part| !before.contains(part)));
    assert!(boxed.files().is_empty());

    // Who knows the SHA-1 has nothing left to read.
    boxed.fake.clear_requests();
    let sha1 = sha1_of_all();
    let done = ends(start(&boxed.fake, &kept, Some(&sha1))).await;
    assert_eq!(sent(&boxed), [0; 0]);
    assert_eq!(done["sha1"], sha1);
    assert_eq!(done["size"], SIZE);
    assert_bounded(done["peak"].as_u64());
    let files = boxed.files();
    assert_eq!(files.len(), 1);
    boxed.done();
}
