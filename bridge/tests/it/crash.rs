//! `kill -9` at any instant loses nothing that was acknowledged.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bridge::{JobFilter, NewJob, Push, Queue, QueueAdmin, store::sqlite::SqliteStore};
use jiff::Timestamp;

const STORE: &str = "INBOX_CRASH_STORE";
const PRODUCERS: usize = 16;
const KILLS: usize = 25;

/// The victim: this binary again, asked for this test alone. It stores until it is killed, and
/// says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "only as the child of the test below"]
async fn victim() {
    let Ok(path) = std::env::var(STORE) else {
        return;
    };
    let store = SqliteStore::open(path).unwrap();
    let life = std::process::id();
    let producers = (0..PRODUCERS).map(|producer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0_u64.. {
                let job = NewJob {
                    dedupe: format!("{life}/{producer}/{n}"),
                    key: format!("{producer}"),
                    kind: "test".into(),
                    body: vec![b'x'; 1000].into(),
                };
                let dedupe = job.dedupe.clone();
                let pushed = store.push(vec![job], Timestamp::now()).await.unwrap();
                let [Push::Queued(id)] = pushed[..] else {
                    panic!("{pushed:?}")
                };
                // One write each, so that the parent never reads half a line as a whole one.
                let line = format!("acknowledged {id} {dedupe}\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for producer in producers.collect::<Vec<_>>() {
        producer.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut random = fastrand::Rng::with_seed(7);
    let mut acknowledged = HashMap::new();
    for _ in 0..KILLS {
        // By number of acknowledgements, not by time: a busy machine is only slower.
        acknowledged.extend(run_and_kill(&path, random.usize(1..400)));
        let store = SqliteStore::open(&path).unwrap();
        let stored = dedupes(&store).await;
        for (id, dedupe) in &acknowledged {
            assert_eq!(
                stored.get(id),
                Some(dedupe),
                "{id} was acknowledged and is gone"
            );
        }
        store.close().await;
    }
    assert!(acknowledged.len() >= KILLS);
    let check = rusqlite::Connection::open(&path).unwrap();
    let verdict: String = check
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

/// Lets the victim live for so many acknowledgements; gives back all that it made.
fn run_and_kill(path: &Path, lives_for: usize) -> Vec<(i64, String)> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::victim", "--ignored", "--nocapture"])
        .env(STORE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The test runner talks in between, and the last line may have broken off.
        if let Some((_, rest)) = line.split_once("acknowledged ")
            && let Some((id, dedupe)) = rest.trim_end_matches('\n').split_once(' ')
            && line.ends_with('\n')
        {
            acknowledged.push((id.parse().unwrap(), dedupe.to_owned()));
        }
        line.clear();
        if acknowledged.len() == lives_for {
            // SIGKILL; what it had written to the pipe is still read.
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
    assert!(acknowledged.len() >= lives_for, "the victim died by itself");
    acknowledged
}

async fn dedupes(store: &SqliteStore) -> HashMap<i64, String> {
    let mut all = HashMap::new();
    let mut filter = JobFilter {
        state: None,
        after: None,
        limit: 1000,
    };
    loop {
        let page = store.jobs(&filter).await.unwrap();
        let Some(last) = page.last() else { return all };
        filter.after = Some(last.id);
        all.extend(page.into_iter().map(|job| (job.id.0, job.dedupe)));
    }
}

#[tokio::test]
async fn what_a_dead_worker_held_is_free_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let now = Timestamp::now();
    let job = NewJob {
        dedupe: "a".into(),
        key: "k".into(),
        kind: "test".into(),
        body: "b".into(),
    };
    let hold = Duration::from_secs(3600);
    let former = SqliteStore::open(&path).unwrap();
    former.push(vec![job], now).await.unwrap();
    assert_eq!(former.lease("w", 1, hold, now).await.unwrap().len(), 1);
    drop(former);

    let store = SqliteStore::open(&path).unwrap();
    let _sole = store.sole_worker().unwrap();
    assert!(store.lease("w", 1, hold, now).await.unwrap().is_empty());
    assert_eq!(store.release(None, now).await.unwrap(), 1);
    let again = store.lease("w", 1, hold, now).await.unwrap();
    assert_eq!(again[0].attempt, 2, "the life that ended counts");
}
