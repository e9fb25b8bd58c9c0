//! Box's event streams, and what the watch makes of them.

use std::sync::Arc;

use box_client::{BoxClient, DeveloperToken, FileId, testing::FakeBox};
use bridge::{
    BOX_FOUND, BOX_MISSED, BoxContent, JobFilter, MappingKeys, QueueAdmin,
    store::memory::MemoryStore,
    watch::{BoxEvents, EventStream, Watch, WatchOptions},
    webhook::Event,
};

const ADDRESS: &str = "https://bridge.example.com/webhooks/box";
const TRIGGERS: [&str; 4] = [
    "FILE.UPLOADED",
    "COMMENT.CREATED",
    "COLLABORATION.CREATED",
    "SIGN_REQUEST.COMPLETED",
];

struct World {
    content: FakeBox,
    client: BoxClient,
    watched: String,
    inner: String,
    elsewhere: String,
}

impl World {
    async fn up() -> Self {
        let content = FakeBox::builder()
            .auto_deliver(false)
            .start()
            .await
            .unwrap();
        let token = DeveloperToken::new(content.issue_token());
        let client = BoxClient::builder(token).base_url(&content.url());
        let watched = content.create_folder("0", "Deals").unwrap();
        let inner = content.create_folder(&watched, "Acme").unwrap();
        let elsewhere = content.create_folder("0", "Elsewhere").unwrap();
        Self {
            client: client.build().unwrap(),
            content,
            watched,
            inner,
            elsewhere,
        }
    }

    /// One of each kind, and a file that is none of those.
    async fn happens(&self, folder: &str) -> String {
        let upload = self.content.upload(folder, "nda.pdf", "%PDF-1.7");
        let file = upload.unwrap().file_id;
        self.content.preview(&file).unwrap();
        let id = FileId::new(&file).unwrap();
        self.client
            .comments()
            .create(&id, "see page 3")
            .send()
            .await
            .unwrap();
        self.content
            .collaborate(folder, "buyer@customer.example", "viewer")
            .unwrap();
        self.content
            .sign_completed(&file, &["buyer@customer.example"])
            .unwrap();
        file
    }

    fn watch(&self, events: BoxEvents, store: &Arc<MemoryStore>) -> Watch {
        let side = Arc::new(BoxContent::new(self.client.clone(), "enterprise", "none"));
        let options = WatchOptions::new([self.watched.as_str()], ADDRESS, TRIGGERS);
        Watch::new(
            side.clone(),
            side.clone(),
            store.clone(),
            store.clone(),
            options,
        )
        .events(Some(Arc::new(events)))
        .mappings(side, MappingKeys::default())
    }
}

async fn told(store: &MemoryStore) -> Vec<(String, Event)> {
    let mut told = Vec::new();
    for job in store.jobs(&JobFilter::default()).await.unwrap() {
        let job = store.job(job.id).await.unwrap().unwrap();
        told.push((job.kind, Event::parse(&job.body).unwrap()));
    }
    told
}

#[tokio::test]
async fn of_a_whole_enterprise_only_what_lies_below_watched_folders_is_taken_in() {
    let world = World::up().await;
    let store = Arc::new(MemoryStore::new());
    let events = BoxEvents::enterprise(world.client.clone(), TRIGGERS);
    let watch = world.watch(events, &store);
    watch.catch_up().await.unwrap();
    let file = world.happens(&world.inner).await;
    for _ in 0..3 {
        let name = format!("{}.pdf", fastrand::u32(..));
        world
            .content
            .upload(&world.elsewhere, &name, "%PDF-1.7")
            .unwrap();
    }
    world.happens(&world.elsewhere).await;
    world.content.clear_requests();
    let done = watch.catch_up().await.unwrap();
    assert_eq!(done.pushed, 4);
    let requests = world.content.requests();
    let asked: Vec<_> = requests
        .iter()
        .filter(|it| it.path.contains("/folders/"))
        .collect();
    assert_eq!(asked.len(), 2, "each folder once: {asked:#?}");
    let page = requests
        .iter()
        .find(|it| it.path.ends_with("/events"))
        .unwrap();
    let query = format!("{:?}", page.query);
    assert!(
        query.contains("COMMENT_CREATE") && !query.contains("PREVIEW"),
        "{query}"
    );

    let told = told(&store).await;
    let kinds: Vec<_> = told
        .iter()
        .map(|(kind, event)| (&**kind, event.trigger.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            // Which version it was nobody says.
            (BOX_FOUND, "FILE.UPLOADED"),
            (BOX_MISSED, "COMMENT.CREATED"),
            (BOX_MISSED, "COLLABORATION.CREATED"),
            (BOX_MISSED, "SIGN_REQUEST.COMPLETED"),
        ]
    );
    let signed = &told[3].1;
    assert_eq!(signed.source.id(), Some(&*file));
    let request = signed.additional_info.0.get("sign_request_id").unwrap();
    assert!(
        request.as_str().is_some_and(|id| !id.is_empty()),
        "{signed:?}"
    );
    let comment = serde_json::to_string(&format!("{:?}", told[1].1.source)).unwrap();
    assert!(comment.contains(&file), "{comment}");
}

#[tokio::test]
async fn a_stream_says_what_it_does_not_tell_of() {
    let world = World::up().await;
    let user = BoxEvents::user(world.client.clone());
    let enterprise = BoxEvents::enterprise(world.client.clone(), TRIGGERS);
    for (trigger, by_user, by_enterprise) in [
        ("FILE.UPLOADED", true, true),
        ("COMMENT.CREATED", true, true),
        ("SHARED_LINK.CREATED", true, true),
        ("METADATA_INSTANCE.UPDATED", false, true),
        ("SIGN_REQUEST.SIGN_SIGNER_SIGNED", false, true),
        ("FILE.DELETED", false, false),
    ] {
        let tells = (user.tells(trigger), enterprise.tells(trigger));
        assert_eq!(tells, (by_user, by_enterprise), "{trigger}");
    }
}

#[tokio::test]
async fn a_user_stream_tells_of_comments_and_of_nothing_elsewhere() {
    let world = World::up().await;
    let store = Arc::new(MemoryStore::new());
    let watch = world.watch(BoxEvents::user(world.client.clone()), &store);
    watch.catch_up().await.unwrap();
    world.happens(&world.inner).await;
    world.happens(&world.elsewhere).await;
    watch.catch_up().await.unwrap();
    let told = told(&store).await;
    let triggers: Vec<_> = told
        .iter()
        .map(|(_, event)| event.trigger.as_str())
        .collect();
    assert_eq!(
        triggers,
        ["FILE.UPLOADED", "COMMENT.CREATED", "COLLABORATION.CREATED"]
    );
}
