//! Box's deliveries: late, overtaken, several times over, and repeated until they are taken.

use std::{sync::Arc, time::Duration};

use box_client::testing::FakeBox;
use fastrand::Rng;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Longer than any process stands still.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Post {
    http: reqwest::Client,
    content: FakeBox,
    addresses: Arc<Vec<String>>,
    seed: u64,
    sent: u64,
    under_way: JoinSet<u32>,
}

impl Post {
    pub(crate) fn new(content: &FakeBox, urls: &[String], seed: u64) -> Self {
        let addresses = urls.iter().map(|url| format!("{url}/webhooks/box"));
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy();
        Self {
            http: http.build().unwrap(),
            content: content.clone(),
            addresses: Arc::new(addresses.collect()),
            seed,
            sent: 0,
            under_way: JoinSet::new(),
        }
    }

    /// Delivers the event, and perhaps once or twice more, each time until some process takes it.
    pub(crate) fn deliver(&mut self, event: &str) {
        self.sent += 1;
        let mut rng = Rng::with_seed(self.seed.rotate_left(32) ^ self.sent);
        let copies = [1, 1, 1, 2, 3][rng.usize(0..5)];
        for _ in 0..copies {
            let late = match rng.u32(0..6) {
                0 => rng.u64(500..5_000),
                1 => rng.u64(50..500),
                _ => 0,
            };
            let (http, content) = (self.http.clone(), self.content.clone());
            let (addresses, event) = (Arc::clone(&self.addresses), event.to_owned());
            let mut rng = rng.fork();
            self.under_way.spawn(async move {
                sleep(Duration::from_millis(late)).await;
                let mut attempts = 0;
                loop {
                    attempts += 1;
                    let address = &addresses[rng.usize(0..addresses.len())];
                    if is_taken(&http, &content, address, &event).await {
                        return attempts;
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            });
        }
    }

    /// Waits until all are taken, and tells how often they were sent.
    pub(crate) async fn all_taken(&mut self, patience: Duration) -> u32 {
        let end = Instant::now() + patience;
        let mut attempts = 0;
        while let Ok(Some(taken)) = tokio::time::timeout_at(end, self.under_way.join_next()).await {
            attempts += taken.unwrap();
        }
        assert!(self.under_way.is_empty(), "some deliveries are never taken");
        attempts
    }
}

async fn is_taken(http: &reqwest::Client, content: &FakeBox, address: &str, event: &str) -> bool {
    let delivery = content.delivery(event).unwrap();
    let mut request = http.post(address).body(delivery.body);
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    match request.send().await {
        Err(_) => false,
        Ok(answer) => match answer.status().as_u16() {
            200 => true,
            // Signed too long ago, or too far ahead, by a clock that is off.
            401 | 503 => false,
            other => panic!("a delivery was answered with {other}"),
        },
    }
}
