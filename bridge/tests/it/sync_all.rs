//! Everything that is mapped, listed and gone through under what can happen to a list.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bridge::{
    Circuits, Clock, PortError, PortErrorKind, Side, SyncMetadata,
    metadata::{MappedFolder, MappedFolders, ValueKind},
    records::FieldShape,
    store::memory::MemoryStore,
    sync::{FieldMap, FieldPair, SyncAll, SyncTold, SyncedAll},
};
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use serde_json::json;
use tokio::time::Instant;

use crate::far_sides::{FarSides, Folder};

const DEALS: usize = 4;

/// Tells of the folders, the first so many times with something wrong after this many of them.
#[derive(Debug, Default)]
struct Lists {
    faults: Mutex<VecDeque<(usize, PortErrorKind, Option<Duration>)>>,
    asked: Mutex<usize>,
}

impl Lists {
    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl MappedFolders for Lists {
    fn mapped(&self, _: &str) -> BoxStream<'_, Result<MappedFolder, PortError>> {
        let all = (0..DEALS).map(|number| {
            let (folder, record) = (format!("f{number}"), format!("006-{number}"));
            Ok(MappedFolder { folder, record })
        });
        let begun = async move {
            *self.asked.lock().unwrap() += 1;
            match self.faults.lock().unwrap().pop_front() {
                None => stream::iter(all).boxed(),
                Some((after, kind, asked)) => {
                    let error = PortError::new(kind, "list").with_retry_after(asked);
                    stream::iter(all.take(after).chain([Err(error)])).boxed()
                }
            }
        };
        stream::once(begun).flatten().boxed()
    }
}

/// Deals whose folders lack what their records say.
fn sides() -> FarSides {
    let sides = FarSides::default();
    for number in 0..DEALS {
        let deal = format!("006-{number}");
        sides.record(&deal, json!({ "NextStep": "call" }));
        let folder = Folder {
            parent: "0".to_owned(),
            name: deal.clone(),
            mapping: json!({ "opportunity_id": deal }).as_object().cloned(),
            ..Folder::default()
        };
        sides.world().folders.insert(format!("f{number}"), folder);
    }
    sides.world().fields = vec![FieldShape {
        digits: None,
        name: "NextStep".to_owned(),
        kind: "string".to_owned(),
        longest: 255,
        is_writable: true,
        is_nillable: true,
        choices: Vec::new(),
        only_choices: false,
    }];
    sides
}

fn told(sides: &FarSides) -> usize {
    let world = sides.world();
    let values = world.folders.values().filter_map(|it| it.mapping.as_ref());
    values.filter(|it| it.contains_key("next_step")).count()
}

struct Ground {
    sides: FarSides,
    lists: Arc<Lists>,
    circuits: Circuits,
    all: SyncAll,
}

impl Ground {
    fn new(faults: impl IntoIterator<Item = (usize, PortErrorKind, Option<Duration>)>) -> Self {
        let (sides, circuits) = (sides(), Circuits::default());
        let lists = Arc::new(Lists {
            faults: Mutex::new(faults.into_iter().collect()),
            asked: Mutex::default(),
        });
        let pair = FieldPair::new("NextStep", "next_step", ValueKind::String);
        let map = FieldMap::new("Opportunity", [pair]).unwrap();
        let ports = Arc::new(sides.clone());
        let metadata = circuits.metadata(ports.clone());
        let sync = SyncMetadata::new(metadata, circuits.records(ports.clone()), map);
        let store = Arc::new(MemoryStore::new());
        let folders = circuits.mapped_folders(lists.clone());
        let clock: Arc<dyn Clock> = ports.clone();
        let crm = circuits.crm(ports);
        let all = SyncAll::new(folders, crm, vec![Arc::new(sync)], store).clock(clock);
        Self {
            sides,
            lists,
            circuits,
            all,
        }
    }

    async fn run(&self, stop: impl Future<Output = ()>) -> (SyncedAll, Vec<String>) {
        let mut waits = Vec::new();
        let tell = |told| {
            if let SyncTold::Waits { reason } = told {
                waits.push(reason);
            }
        };
        let done = self.all.run(stop, tell).await.unwrap();
        (done, waits)
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_is_read_again_after_the_pause_that_was_asked_for() {
    let asked = Some(Duration::from_secs(20));
    let ground = Ground::new([
        (0, PortErrorKind::Busy, asked),
        (3, PortErrorKind::Down, None),
    ]);
    let started = Instant::now();
    let (done, _) = ground.run(std::future::pending()).await;
    assert!(done.is_finished, "{done:?}");
    assert_eq!((done.total, done.done), (DEALS as u64, DEALS as u64));
    assert_eq!(told(&ground.sides), DEALS);
    assert_eq!(ground.lists.asked(), 3);
    assert!(started.elapsed() >= Duration::from_secs(20));

    // What does not pass is told, and not waited for.
    let refused = Ground::new([(1, PortErrorKind::Refused, None)]);
    let never = std::future::pending();
    let error = refused.all.run(never, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    assert_eq!((refused.lists.asked(), told(&refused.sides)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_paused_or_failing_side_is_asked_for_no_list_until_it_is_back() {
    let ground = Ground::new([]);
    let paused = bridge::Pauses::default().with(Some(Side::Content), true);
    ground.circuits.obey(paused);
    let resumed = tokio::time::sleep(Duration::from_secs(300)).map(|()| {
        assert_eq!(ground.lists.asked(), 0, "somebody has asked a paused side");
        ground.circuits.obey(bridge::Pauses::default());
    });
    let ((done, waits), ()) = tokio::join!(ground.run(std::future::pending()), resumed);
    assert!(done.is_finished && ground.lists.asked() == 1, "{done:?}");
    assert!(waits.len() == 1 && waits[0].contains("an operator has paused it"));

    // The list itself says that nothing will succeed for a while, which is for all to know.
    let hour = Some(Duration::from_secs(3600));
    let ground = Ground::new([(2, PortErrorKind::Outage, hour)]);
    let started = Instant::now();
    let (done, _) = ground.run(std::future::pending()).await;
    assert!(done.is_finished && started.elapsed() >= Duration::from_secs(3600));
    assert_eq!((ground.lists.asked(), told(&ground.sides)), (2, DEALS));
}

#[tokio::test(start_paused = true)]
async fn who_is_stopped_while_the_list_is_waited_for_has_done_nothing_and_goes_on_later() {
    let ground = Ground::new([(1, PortErrorKind::Outage, Some(Duration::from_secs(3600)))]);
    let stop = tokio::time::sleep(Duration::from_secs(10));
    let (done, _) = ground.run(stop).await;
    assert_eq!(done, SyncedAll::default());
    assert_eq!(told(&ground.sides), 0);
    let (done, _) = ground.run(std::future::pending()).await;
    assert!(done.is_finished && told(&ground.sides) == DEALS, "{done:?}");
}
