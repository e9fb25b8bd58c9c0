//! A backfill that is stopped, and goes on.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
};

use bridge::{
    ContentSource, Pipeline, PortError, PortErrorKind, QueueAdmin,
    content::FolderRef,
    store::memory::MemoryStore,
    watch::{Backfill, Backfilled, Entry, Told, Tree, WatchError},
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use crate::{far_sides::FarSides, setting::rules};

/// `deal` with the folders 1 and 2, and one file in each of the three.
#[derive(Debug)]
struct Folders {
    sides: FarSides,
    read: Mutex<Vec<String>>,
    /// How the next lists break off, each behind the file in it.
    breaks: Mutex<VecDeque<PortErrorKind>>,
    /// Files in `deal` besides the one.
    more: usize,
}

impl Tree for Folders {
    fn entries(&self, folder: &str) -> BoxStream<'_, Result<Entry, PortError>> {
        self.read.lock().unwrap().push(folder.to_owned());
        let below = if folder == "deal" {
            &["2", "1"][..]
        } else {
            &[]
        };
        let below = below.iter().map(|id| {
            let (id, name) = (id.to_string(), id.to_string());
            Ok(Entry::Folder(FolderRef { id, name }))
        });
        let more = if folder == "deal" { self.more } else { 0 };
        let files = (0..more).map(|number| format!("file {number}"));
        let files: Vec<_> = files.chain([format!("file in {folder}")]).collect();
        let file = async |file: String| Ok(Entry::File(self.sides.file(&file).await?));
        let broken = self.breaks.lock().unwrap().pop_front();
        let broken = broken.map(|kind| Err(PortError::new(kind, "list the folder")));
        let below = broken.into_iter().chain(below);
        stream::iter(files)
            .then(file)
            .chain(stream::iter(below))
            .boxed()
    }
}

fn three_files(more: usize) -> (Arc<MemoryStore>, Arc<Folders>, Backfill) {
    let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
    for folder in ["deal", "1", "2"] {
        sides.add_version(&format!("file in {folder}"), folder.as_bytes());
    }
    for number in 0..more {
        sides.add_version(&format!("file {number}"), b"bytes");
    }
    let content = Arc::new(sides.clone());
    let tree = Arc::new(Folders {
        sides,
        read: Mutex::default(),
        breaks: Mutex::default(),
        more,
    });
    let pipeline = Pipeline::new(content.clone(), content, store.clone(), rules());
    let backfill = Backfill::new(tree.clone(), pipeline, store.clone(), store.clone());
    let backfill = backfill.most_ahead(1000);
    (store, tree, backfill)
}

#[tokio::test]
async fn a_stopped_backfill_goes_on_where_it_was_and_pushes_nothing_twice() {
    let (store, tree, backfill) = three_files(0);
    let run = async |steps: usize| -> Backfilled {
        let stop = Notify::new();
        let mut left = steps;
        let tell = |told| {
            if matches!(told, Told::Progress(_)) {
                left -= 1;
                if left == 0 {
                    stop.notify_one();
                }
            }
        };
        backfill.run("deal", stop.notified(), tell).await.unwrap()
    };
    let first = run(1).await;
    assert_eq!((first.files, first.is_finished), (1, false));
    let second = run(2).await;
    assert_eq!((second.files, second.is_finished), (2, false));
    tree.read.lock().unwrap().clear();
    let third = backfill.run("deal", pending(), |_| {}).await.unwrap();
    assert_eq!(
        (third.files, third.matched, third.is_finished),
        (3, 3, true)
    );
    // The way down is found again, and what is done on it is not looked at.
    assert_eq!(*tree.read.lock().unwrap(), ["deal", "1", "2"]);
    // Those of the folder that it was stopped in came again, and were known.
    assert_eq!(store.counts().await.unwrap().ready, 3);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_lets_nobody_in_is_waited_for_and_what_is_done_is_not_done_again() {
    /// So that some are told of before a list breaks off.
    const MORE: usize = 250;
    use PortErrorKind::{Busy, Gone, Later, Outage, Refused};
    for is_dry in [false, true] {
        let (store, tree, backfill) = three_files(MORE);
        // As long as a side is shut, and by what passes a few times.
        let shut = (0..20).map(|number| [Outage, Later][number % 2]);
        *tree.breaks.lock().unwrap() = shut.chain([Busy, Busy]).collect();
        let mut paused = 0;
        let mut planned = Vec::new();
        let tell = |told| match told {
            Told::Paused { .. } => paused += 1,
            Told::Planned { file, .. } => planned.push(file),
            _ => {}
        };
        let done = match is_dry {
            true => backfill.dry_run("deal", pending(), tell).await,
            false => backfill.run("deal", pending(), tell).await,
        };
        let done = done.unwrap();
        let all = MORE as u64 + 3;
        assert_eq!(
            (done.files, done.matched, done.is_finished),
            (all, all, true)
        );
        assert_eq!(paused, 1, "it is told once");
        let (pushed, told) = if is_dry { (0, all) } else { (all, 0) };
        assert_eq!(store.counts().await.unwrap().ready, pushed);
        assert_eq!(planned.len() as u64, told);
    }

    // It can be stopped while it waits, and goes on.
    let (_, tree, backfill) = three_files(0);
    *tree.breaks.lock().unwrap() = [Outage; 100].into();
    let stop = Notify::new();
    let tell = |told| {
        if matches!(told, Told::Paused { .. }) {
            stop.notify_one();
        }
    };
    let stopped = backfill.run("deal", stop.notified(), tell).await.unwrap();
    assert!(!stopped.is_finished);
    // Waiting does not mend this.
    *tree.breaks.lock().unwrap() = [Refused].into();
    let error = backfill.run("deal", pending(), |_| {}).await.unwrap_err();
    let is_refused = |it: &PortError| it.kind() == Refused;
    assert!(
        matches!(&error, WatchError::Port(it) if is_refused(it)),
        "{error}"
    );
    let done = backfill.run("deal", pending(), |_| {}).await.unwrap();
    assert!(done.is_finished);

    let error = backfill
        .run("nowhere", pending(), |_| {})
        .await
        .unwrap_err();
    match error {
        WatchError::NoFolder { folder, source } => {
            assert_eq!((folder.as_str(), source.kind()), ("nowhere", Gone));
        }
        other => panic!("{other}"),
    }
}
