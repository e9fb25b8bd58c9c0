//! A backfill that is stopped, and goes on.

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use bridge::{
    ContentSource, Pipeline, PortError, QueueAdmin,
    content::FolderRef,
    store::memory::MemoryStore,
    watch::{Backfill, Backfilled, Entry, Told, Tree},
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
        let file = format!("file in {folder}");
        let file = async move { Ok(Entry::File(self.sides.file(&file).await?)) };
        stream::once(file).chain(stream::iter(below)).boxed()
    }
}

#[tokio::test]
async fn a_stopped_backfill_goes_on_where_it_was_and_pushes_nothing_twice() {
    let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
    for folder in ["deal", "1", "2"] {
        sides.add_version(&format!("file in {folder}"), folder.as_bytes());
    }
    let content = Arc::new(sides.clone());
    let read = Mutex::default();
    let tree = Arc::new(Folders { sides, read });
    let pipeline = Pipeline::new(content.clone(), content, store.clone(), rules());
    let backfill = Backfill::new(tree.clone(), pipeline, store.clone(), store.clone());
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
