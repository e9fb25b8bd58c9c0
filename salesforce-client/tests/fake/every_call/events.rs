use std::pin::pin;

use futures_util::TryStreamExt;
use salesforce_client::pubsub::{Delivery, Replay};
use serde::Serialize;

use super::Served;

#[derive(Serialize)]
struct Signed {
    #[serde(rename = "CreatedDate")]
    created_date: i64,
    #[serde(rename = "CreatedById")]
    created_by_id: String,
    #[serde(rename = "Document__c")]
    document: &'static str,
}

pub(super) async fn try_all(served: &mut Served) {
    let bus = served.client.pubsub().endpoint(served.org.pubsub_url());
    let bus = bus.build().unwrap();
    let topic = bus.topic("/event/Signed__e").await;
    assert!(served.ok("PubSub::topic", topic).can_publish);
    let signed = Signed {
        created_date: 1_700_000_000_000,
        created_by_id: served.org.integration_user().to_owned(),
        document: "nda.pdf",
    };
    let published = bus.publish("/event/Signed__e", &[signed]).await;
    let published = served.ok("PubSub::publish", published);
    let published = published[0].as_ref().unwrap();

    for (call, topic) in [
        ("PubSub::subscribe", "/data/AccountChangeEvent"),
        ("Subscribe::stream", "/event/Signed__e"),
    ] {
        let stream = bus.subscribe(topic).replay(Replay::Earliest).stream();
        let mut stream = pin!(stream);
        let first = served.ok(call, stream.try_next().await);
        let Some(Delivery::Event(event)) = first else {
            panic!("{call}: {first:?}");
        };
        if topic == "/event/Signed__e" {
            assert_eq!(event.id, published.id);
        }
    }
}
