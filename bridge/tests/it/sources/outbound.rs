use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bridge::{Queue, source::OutboundReceiver};
use salesforce_client::{OutboundReader, RecordId, testing::FakeSalesforce};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{org, said, shaky::Shaky};

const SECRET: &str = "a-secret-of-the-path";
const ACTION: &str = "04kxx0000000001AAA";

struct Inlet {
    org: FakeSalesforce,
    store: Arc<Shaky>,
    url: String,
}

impl Inlet {
    async fn up(change: impl FnOnce(OutboundReceiver) -> OutboundReceiver) -> Self {
        let store = Arc::new(Shaky::default());
        Self {
            store: store.clone(),
            ..Self::of(store, change).await
        }
    }

    async fn of(
        queue: Arc<dyn Queue>,
        change: impl FnOnce(OutboundReceiver) -> OutboundReceiver,
    ) -> Self {
        let (org, _) = org().await;
        let reader = OutboundReader::new(&RecordId::new(org.org_id()).unwrap());
        let reader = reader.action(&RecordId::new(ACTION).unwrap());
        let receiver = OutboundReceiver::new(SECRET.to_owned(), reader, queue).unwrap();
        let router = bridge::axum::outbound_route("/webhooks/salesforce", change(receiver));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/webhooks/salesforce",
            listener.local_addr().unwrap()
        );
        tokio::spawn(async move { axum::serve(listener, router).await });
        let store = Arc::default();
        Self { org, store, url }
    }

    fn message(&self, action: &str, records: usize) -> (String, Vec<String>) {
        let create = |n| {
            let fields = json!({ "Name": format!("Acme {n}") });
            self.org.create("Account", fields).unwrap()
        };
        let ids: Vec<String> = (0..records).map(create).collect();
        let borrowed: Vec<_> = ids.iter().map(String::as_str).collect();
        let message = self.org.outbound_message(action, &borrowed, &["Name"]);
        (message.unwrap(), ids)
    }

    async fn send(&self, secret: &str, message: &str) -> (u16, bool) {
        let url = format!("{}/{secret}", self.url);
        let answer = self.org.deliver(&url, message).await.unwrap();
        (answer.status, answer.acknowledged)
    }
}

#[tokio::test]
async fn a_message_is_acknowledged_and_each_of_its_notifications_is_taken_in_once() {
    let inlet = Inlet::up(|it| it).await;
    let (message, ids) = inlet.message(ACTION, 3);
    for _ in 0..3 {
        assert_eq!(inlet.send(SECRET, &message).await, (200, true));
    }
    let expected: Vec<_> = ids.iter().map(|id| format!("CHANGED {id}")).collect();
    assert_eq!(said(&inlet.store.store).await, expected);
    // A further notification of the same record is another event.
    let again = inlet.org.outbound_message(ACTION, &[&ids[0]], &[]);
    assert_eq!(inlet.send(SECRET, &again.unwrap()).await, (200, true));
    assert_eq!(said(&inlet.store.store).await.len(), 4);

    // Where a proxy adds the secret.
    let sent = reqwest::Client::new().post(&inlet.url).body(message);
    let sent = sent.header("x-outbound-secret", SECRET).send().await;
    assert_eq!(sent.unwrap().status(), 200);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_all_of_it_is_durable() {
    let inlet = Inlet::up(|it| it).await;
    let (message, _) = inlet.message(ACTION, 100);
    inlet.store.no_push.store(true, Ordering::SeqCst);
    assert_eq!(inlet.send(SECRET, &message).await, (503, false));
    assert_eq!(said(&inlet.store.store).await, [""; 0]);
    inlet.store.no_push.store(false, Ordering::SeqCst);
    assert_eq!(inlet.send(SECRET, &message).await, (200, true));
    assert_eq!(said(&inlet.store.store).await.len(), 100);
}

#[tokio::test]
async fn who_does_not_know_the_secret_or_is_another_org_gets_nothing_in() {
    let inlet = Inlet::up(|it| it.or_secret("the-next-secret-of-it".to_owned()).unwrap()).await;
    let (message, _) = inlet.message(ACTION, 1);
    for wrong in [
        "a-secret-of-the-pat",
        "a-secret-of-the-path-",
        "A-secret-of-the-path",
        "x",
    ] {
        assert_eq!(inlet.send(wrong, &message).await, (401, false), "{wrong}");
    }
    let sent = reqwest::Client::new()
        .post(&inlet.url)
        .body("")
        .send()
        .await;
    assert_eq!(sent.unwrap().status(), 401);
    let org = inlet.org.org_id();
    let other = message.replace(org, "00Dxx0000001gPMEAY");
    assert_eq!(inlet.send(SECRET, &other).await, (403, false));
    let (other, _) = inlet.message("04kxx0000000002AAA", 1);
    assert_eq!(inlet.send(SECRET, &other).await, (403, false));
    assert_eq!(said(&inlet.store.store).await, [""; 0]);
    assert_eq!(
        inlet.send("the-next-secret-of-it", &message).await,
        (200, true)
    );
}

#[tokio::test]
async fn hostile_and_broken_bodies_are_refused_and_not_acknowledged() {
    let inlet = Inlet::up(|it| it.body_limit(20_000)).await;
    let (message, _) = inlet.message(ACTION, 1);
    let dtd = message.replace(
        "<soapenv:Envelope",
        "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><soapenv:Envelope",
    );
    let deep = message.replace("<sf:Name>", &format!("<sf:Name>{}", "<a>".repeat(500)));
    let long = message.replace("<sf:Name>", &format!("<sf:Name>{}", "a".repeat(30_000)));
    let ids = message.find("<sf:Id>").unwrap()..message.find("<sf:Name>").unwrap();
    let mut nameless = message.clone();
    nameless.replace_range(ids, "");
    for (what, body, status) in [
        ("a document type", dtd.as_str(), 400),
        ("no end of depth", &deep, 400),
        ("too long", &long, 413),
        ("half of it", &message[..message.len() / 2], 400),
        ("no record", &nameless, 400),
        ("nothing", "", 400),
        ("something else", "{}", 400),
    ] {
        assert_eq!(inlet.send(SECRET, body).await, (status, false), "{what}");
    }
    assert_eq!(said(&inlet.store.store).await, [""; 0]);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let inlet = Inlet::up(|it| it.body_timeout(Duration::from_millis(50))).await;
    let address = inlet.url.strip_prefix("http://").unwrap();
    let (host, path) = address.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let path = format!("/{path}/{SECRET}");
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n<so");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn what_the_store_does_not_take_in_time_is_not_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let (store, _lock) = crate::setting::locked_store(&home);
    let within = Duration::from_millis(50);
    let inlet = Inlet::of(Arc::new(store), |it| it.store_within(within)).await;
    let (message, _) = inlet.message(ACTION, 1);
    assert_eq!(inlet.send(SECRET, &message).await, (503, false));
}

#[tokio::test]
async fn the_session_of_a_message_is_kept_nowhere() {
    let inlet = Inlet::up(|it| it).await;
    let (message, _) = inlet.message(ACTION, 1);
    let session = "<SessionId>00D!planted</SessionId>";
    let with = message.replace("<SessionId xsi:nil=\"true\"/>", session);
    assert_ne!(with, message);
    assert_eq!(inlet.send(SECRET, &with).await, (200, true));
    let told = super::told(&inlet.store.store).await;
    assert_eq!(told.len(), 1);
    let kept = format!("{told:?} {:?}", inlet.store);
    assert!(!kept.contains("planted"), "{kept}");
}

#[test]
fn a_secret_is_shown_nowhere_and_a_short_one_is_none() {
    let org = RecordId::new("00Dxx0000001gPLEAY").unwrap();
    let queue: Arc<dyn Queue> = Arc::new(Shaky::default());
    let new = |secret: &str| {
        let reader = OutboundReader::new(&org);
        OutboundReceiver::new(secret.to_owned(), reader, Arc::clone(&queue))
    };
    assert!(new("15 characters..").is_err());
    let shown = format!("{:?}", new(SECRET).unwrap());
    assert!(!shown.contains(SECRET), "{shown}");
}
