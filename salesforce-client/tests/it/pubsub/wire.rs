//! A wire between client and org that breaks, or that nobody hears anything over any more.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{JoinHandle, JoinSet},
};

/// What becomes of a connection once so many bytes of the org's have gone over it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It breaks, in the middle of whatever is under way.
    Cut(usize),
    /// Nothing goes over it any more, and neither side is told.
    Hang(usize),
}

/// Each connection has the next fate, and one that ends before it is met leaves it to another; when
/// there are no more, connections are good.
pub(super) struct Wire {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    /// The next one last.
    fates: Vec<Fate>,
    met: Vec<Fate>,
    connections: usize,
}

impl Wire {
    pub(super) async fn to(org: &str, fates: impl IntoIterator<Item = Fate>) -> Self {
        let org = org.strip_prefix("http://").unwrap().to_owned();
        let mut fates: Vec<_> = fates.into_iter().collect();
        fates.reverse();
        let state = Arc::new(Mutex::new(State {
            fates,
            met: Vec::new(),
            connections: 0,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let own = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // Connections end with the wire.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let far = TcpStream::connect(&org).await.unwrap();
                connections.spawn(carry(client, far, Arc::clone(&own)));
            }
        });
        Self { url, state, task }
    }

    pub(super) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// How many connections were cut, and how many hung.
    pub(super) fn met(&self) -> (usize, usize) {
        let met = &self.state.lock().unwrap().met;
        let cut = met.iter().filter(|it| matches!(it, Fate::Cut(_))).count();
        (cut, met.len() - cut)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, org: TcpStream, state: Arc<Mutex<State>>) {
    for end in [&client, &org] {
        end.set_nodelay(true).unwrap();
    }
    let fate = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        state.fates.pop()
    };
    let limit = match fate {
        Some(Fate::Cut(bytes) | Fate::Hang(bytes)) => bytes,
        None => usize::MAX,
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_org, mut to_org) = org.into_split();
    let is_met = tokio::select! {
        is_met = pass(&mut from_client, &mut to_org, usize::MAX) => is_met,
        is_met = pass(&mut from_org, &mut to_client, limit) => is_met,
    };
    {
        let mut state = state.lock().unwrap();
        let State { fates, met, .. } = &mut *state;
        if is_met { met } else { fates }.extend(fate);
    }
    if is_met && let Some(Fate::Hang(_)) = fate {
        // Until the client gives it up by itself.
        pass_on_nothing(&mut from_client).await;
    }
}

/// Until one side ends the connection, or so many bytes have gone over it, which is told.
async fn pass(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, mut left: usize) -> bool {
    let mut bytes = [0; 4096];
    while left > 0 {
        let most = left.min(bytes.len());
        let Ok(read @ 1..) = from.read(&mut bytes[..most]).await else {
            return false;
        };
        if to.write_all(&bytes[..read]).await.is_err() {
            return false;
        }
        left -= read;
    }
    true
}

async fn pass_on_nothing(from: &mut OwnedReadHalf) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = from.read(&mut bytes).await {}
}
