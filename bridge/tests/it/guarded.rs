//! Every port behind its circuit: what actions, the watch and sources ask is turned back as well.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bridge::{
    Change, CircuitState, Circuits, Folders, Handler, Layout, Metadata, PackageLinks, Pauses,
    Pipeline, PortError, PortErrorKind, Provision, Queue, QueueAdmin, RecordEvent, Records, Rule,
    Side, Worker,
    crm::Record,
    folders::{Ensured, FolderName, Invitation, Invited, Invitee, Named, Placed},
    metadata::{Claimed, Instance, MappedFolder, MappedFolders, TemplateField, ValueChange},
    records::{Changed, Contact, FieldShape, RecordState, RecordTimes},
    store::memory::MemoryStore,
    watch::{Created, Entry, EventPage, EventStream, Hook, HookRef, Hooks, Tree},
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::far_sides::FarSides;

/// Counts what it is asked, and does not answer.
#[derive(Debug, Default)]
struct Silent(AtomicUsize);

impl Silent {
    fn asked(&self) -> PortError {
        self.0.fetch_add(1, Ordering::Relaxed);
        PortError::new(PortErrorKind::Down, "test").with_status(Some(503))
    }

    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Folders for Silent {
    fn name(&self, text: &str, _: Option<&str>) -> FolderName {
        let (name, changes) = (text.to_owned(), Vec::new());
        FolderName { name, changes }
    }

    async fn ensure(&self, _: &str, _: &str) -> Result<Ensured, PortError> {
        Err(self.asked())
    }

    async fn place(&self, _: &str, _: &str, _: &str) -> Result<Placed, PortError> {
        Err(self.asked())
    }

    async fn discard(&self, _: &str) -> Result<bool, PortError> {
        Err(self.asked())
    }

    async fn invite(&self, _: &str, _: &Invitation) -> Result<Invited, PortError> {
        Err(self.asked())
    }

    async fn end_collaboration(&self, _: &str) -> Result<(), PortError> {
        Err(self.asked())
    }

    async fn named(&self, _: &str, _: &str) -> Result<Option<Named>, PortError> {
        Err(self.asked())
    }

    async fn standing(&self, _: &str, _: &Invitee) -> Result<Option<Invited>, PortError> {
        Err(self.asked())
    }
}

#[async_trait]
impl Metadata for Silent {
    async fn read(&self, _: &str) -> Result<Option<Instance>, PortError> {
        Err(self.asked())
    }

    async fn set(&self, _: &str, _: &Map<String, Value>) -> Result<(), PortError> {
        Err(self.asked())
    }

    async fn claim(&self, _: &str, _: &Map<String, Value>) -> Result<Claimed, PortError> {
        Err(self.asked())
    }

    async fn change(&self, _: &str, _: &[ValueChange]) -> Result<bool, PortError> {
        Err(self.asked())
    }

    async fn ensure_template(&self, _: &[TemplateField]) -> Result<(), PortError> {
        Err(self.asked())
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        Err(self.asked())
    }

    async fn find(&self, _: &str, _: &str, _: &str) -> Result<Vec<String>, PortError> {
        Err(self.asked())
    }

    async fn above(&self, _: &str) -> Result<Vec<String>, PortError> {
        Err(self.asked())
    }
}

#[async_trait]
impl Records for Silent {
    async fn read(&self, _: &Record, _: &[&str]) -> Result<RecordState, PortError> {
        Err(self.asked())
    }

    async fn write(
        &self,
        _: &Record,
        _: &Map<String, Value>,
        _: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        Err(self.asked())
    }

    async fn shape(&self, _: &str) -> Result<Vec<FieldShape>, PortError> {
        Err(self.asked())
    }

    async fn contacts(&self, _: &str, _: Option<&Record>) -> Result<Vec<Contact>, PortError> {
        Err(self.asked())
    }

    async fn changed(&self, _: &str, _: Timestamp) -> Result<Changed, PortError> {
        Err(self.asked())
    }

    async fn times(&self, _: &Record) -> Result<Option<RecordTimes>, PortError> {
        Err(self.asked())
    }
}

#[async_trait]
impl PackageLinks for Silent {
    async fn folder_of(&self, _: &Record) -> Result<Option<String>, PortError> {
        Err(self.asked())
    }

    async fn show(&self, _: &Record, _: &str, _: Option<&str>) -> Result<bool, PortError> {
        Err(self.asked())
    }
}

#[async_trait]
impl Hooks for Silent {
    async fn list(&self) -> Result<Vec<HookRef>, PortError> {
        Err(self.asked())
    }

    async fn hook(&self, _: &str) -> Result<Option<Hook>, PortError> {
        Err(self.asked())
    }

    async fn create(&self, _: &str, _: &str, _: &[String]) -> Result<Created, PortError> {
        Err(self.asked())
    }

    async fn change(&self, _: &str, _: &str, _: &[String]) -> Result<Hook, PortError> {
        Err(self.asked())
    }

    async fn remove(&self, _: &str) -> Result<(), PortError> {
        Err(self.asked())
    }
}

#[async_trait]
impl EventStream for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn page(&self, _: Option<&str>) -> Result<EventPage, PortError> {
        Err(self.asked())
    }
}

impl Tree for Silent {
    fn entries(&self, _: &str) -> BoxStream<'_, Result<Entry, PortError>> {
        stream::once(async { Err(self.asked()) }).boxed()
    }
}

impl MappedFolders for Silent {
    fn mapped(&self, _: &str) -> BoxStream<'_, Result<MappedFolder, PortError>> {
        stream::once(async { Err(self.asked()) }).boxed()
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), PortError>> + Send + 'a>>;

fn boxed<'a, T>(call: impl Future<Output = Result<T, PortError>> + Send + 'a) -> Answer<'a> {
    Box::pin(async move { call.await.map(drop) })
}

/// Every port behind the same circuits.
struct Ports {
    folders: Arc<dyn Folders>,
    metadata: Arc<dyn Metadata>,
    mapped_folders: Arc<dyn MappedFolders>,
    records: Arc<dyn Records>,
    package_links: Arc<dyn PackageLinks>,
    hooks: Arc<dyn Hooks>,
    events: Arc<dyn EventStream>,
    tree: Arc<dyn Tree>,
    record: Record,
    invitation: Invitation,
    nothing: Map<String, Value>,
}

impl Ports {
    fn of(silent: &Arc<Silent>, circuits: &Circuits) -> Self {
        Self {
            folders: circuits.folders(silent.clone()),
            metadata: circuits.metadata(silent.clone()),
            mapped_folders: circuits.mapped_folders(silent.clone()),
            records: circuits.records(silent.clone()),
            package_links: circuits.package_links(silent.clone()),
            hooks: circuits.hooks(silent.clone()),
            events: circuits.events(silent.clone()),
            tree: circuits.tree(silent.clone()),
            record: Record {
                id: "001".to_owned(),
                object: Some("Account".to_owned()),
            },
            invitation: Invitation {
                invitee: Invitee::User("1".to_owned()),
                role: "editor".to_owned(),
                notify: false,
                instead_of: None,
            },
            nothing: Map::new(),
        }
    }

    fn all(&self) -> Vec<(Side, &'static str, Answer<'_>)> {
        let Self {
            folders,
            metadata,
            mapped_folders,
            records,
            package_links,
            hooks,
            events,
            tree,
            record,
            invitation,
            nothing,
        } = self;
        let (content, crm) = (Side::Content, Side::Crm);
        let first = async { tree.entries("1").next().await.unwrap() };
        let mapped = async { mapped_folders.mapped("k").next().await.unwrap() };
        vec![
            (content, "ensure", boxed(folders.ensure("0", "a"))),
            (content, "place", boxed(folders.place("1", "0", "a"))),
            (content, "discard", boxed(folders.discard("1"))),
            (content, "invite", boxed(folders.invite("1", invitation))),
            (content, "end", boxed(folders.end_collaboration("1"))),
            (content, "named", boxed(folders.named("0", "a"))),
            (
                content,
                "standing",
                boxed(folders.standing("1", &invitation.invitee)),
            ),
            (content, "read", boxed(metadata.read("1"))),
            (content, "set", boxed(metadata.set("1", nothing))),
            (content, "claim", boxed(metadata.claim("1", nothing))),
            (content, "change", boxed(metadata.change("1", &[]))),
            (content, "template", boxed(metadata.ensure_template(&[]))),
            (content, "shape", boxed(metadata.shape())),
            (content, "find", boxed(metadata.find("0", "k", "v"))),
            (content, "above", boxed(metadata.above("1"))),
            (content, "mapped", boxed(mapped)),
            (content, "list", boxed(hooks.list())),
            (content, "hook", boxed(hooks.hook("1"))),
            (content, "create", boxed(hooks.create("1", "a", &[]))),
            (content, "change hook", boxed(hooks.change("1", "a", &[]))),
            (content, "remove", boxed(hooks.remove("1"))),
            (content, "page", boxed(events.page(None))),
            (content, "entries", boxed(first)),
            (crm, "read record", boxed(records.read(record, &[]))),
            (crm, "write", boxed(records.write(record, nothing, None))),
            (crm, "fields", boxed(records.shape("Account"))),
            (crm, "contacts", boxed(records.contacts("a@b", None))),
            (
                crm,
                "changed",
                boxed(records.changed("Account", Timestamp::MIN)),
            ),
            (crm, "times", boxed(records.times(record))),
            (crm, "folder of", boxed(package_links.folder_of(record))),
            (crm, "show", boxed(package_links.show(record, "1", None))),
        ]
    }
}

fn pipeline(circuits: &Circuits, store: &Arc<MemoryStore>, rules: Vec<Rule>) -> Pipeline {
    let sides = Arc::new(FarSides::new());
    Pipeline::new(sides.clone(), sides, store.clone(), rules).behind(circuits)
}

#[tokio::test]
async fn every_call_of_every_port_tells_its_circuit_and_is_turned_back_when_it_is_open() {
    // Each opens the circuit of its side alone, and finds it open afterwards.
    let number = Ports::of(&Arc::default(), &Circuits::default()).all().len();
    for chosen in 0..number {
        let (silent, circuits) = (Arc::new(Silent::default()), Circuits::default());
        let ports = Ports::of(&silent, &circuits);
        for failure in 1..=6 {
            let (side, name, call) = ports.all().swap_remove(chosen);
            let error = call.await.unwrap_err();
            assert_eq!(error.side(), Some(side), "{name}");
            let (kind, calls) = match failure {
                6 => (PortErrorKind::Outage, 5),
                _ => (PortErrorKind::Down, failure),
            };
            assert_eq!((error.kind(), silent.times()), (kind, calls), "{name}");
        }
        let (side, name, _) = ports.all().swap_remove(chosen);
        for other in Side::ALL {
            let is_open = matches!(circuits.state(other), CircuitState::Open(_));
            assert_eq!(is_open, other == side, "{name}");
        }
    }
}

#[tokio::test]
async fn a_paused_side_is_asked_by_nobody() {
    let (silent, circuits) = (Arc::new(Silent::default()), Circuits::default());
    let ports = Ports::of(&silent, &circuits);
    let pipeline = pipeline(&circuits, &Arc::default(), Vec::new());
    let both = Side::ALL.into_iter();
    pipeline.obey(both.fold(Pauses::default(), |it, side| it.with(Some(side), true)));
    for (_, name, call) in ports.all() {
        let error = call.await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Outage, "{name}");
    }
    assert_eq!(silent.times(), 0);
    pipeline.obey(Pauses::default());
    let (_, _, call) = ports.all().swap_remove(0);
    assert_eq!(call.await.unwrap_err().kind(), PortErrorKind::Down);
}

#[tokio::test]
async fn an_outage_costs_provisioning_no_attempts() {
    let (silent, circuits) = (Arc::new(Silent::default()), Circuits::default());
    let ports = Ports::of(&silent, &circuits);
    let Ports {
        folders,
        metadata,
        records,
        ..
    } = ports;
    let layout: Layout = "/Clients/{Account.Name}".parse().unwrap();
    let provision = Provision::new(folders, metadata, records, layout);
    let rule = Rule::new("clients", ["Account.CREATED"], vec![Arc::new(provision)]).unwrap();
    let store = Arc::new(MemoryStore::new());
    let jobs = (0..40).map(|number| {
        let record = Record {
            id: format!("001xx00000{number:05}"),
            object: Some("Account".to_owned()),
        };
        let event = RecordEvent::new("made", record, Change::Created);
        event.job().unwrap()
    });
    let now = Timestamp::now();
    store.push(jobs.collect(), now).await.unwrap();
    let worker = Worker::new(store.clone(), pipeline(&circuits, &store, vec![rule]), "w");
    let mut options = bridge::WorkerOptions::default();
    options.concurrency = 1;
    let worker = worker.options(options);
    worker.run_until_idle().await.unwrap();
    let jobs = store.jobs(&bridge::JobFilter::default()).await.unwrap();
    let attempts: u32 = jobs.iter().map(|job| job.attempts).sum();
    assert_eq!((jobs.len(), silent.times()), (40, 5), "{:?}", jobs[0]);
    assert!(attempts < 5, "{attempts} attempts were burned");
}
