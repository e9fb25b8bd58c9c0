//! A sender with as little of its own as can be: ready-made requests, answers only told apart.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bridge_benches::Failure;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{KEY, PATH};

pub(crate) const CONNECTIONS: usize = 32;

/// What each connection sends.
pub(crate) struct Load(Vec<Vec<Vec<u8>>>);

impl Load {
    /// Distinct deliveries, signed.
    pub(crate) fn prepare(a_connection: usize) -> Result<Self, Failure> {
        let sent_at = Timestamp::now().to_string();
        let connection = |connection: usize| {
            (0..a_connection)
                .map(|number| request(connection * a_connection + number, &sent_at))
                .collect::<Result<Vec<_>, Failure>>()
        };
        Ok(Self(
            (0..CONNECTIONS).map(connection).collect::<Result<_, _>>()?,
        ))
    }

    /// Sends all, and notes how long each answer took.
    pub(crate) async fn send(
        self,
        server: SocketAddr,
        waits: &mut Vec<Duration>,
    ) -> Result<Duration, Failure> {
        let mut streams = Vec::new();
        for requests in self.0 {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            streams.push((stream, requests));
        }
        let started = Instant::now();
        let mut senders = JoinSet::new();
        for (stream, requests) in streams {
            senders.spawn(one_after_the_other(stream, requests));
        }
        while let Some(sender) = senders.join_next().await {
            waits.extend(sender??);
        }
        Ok(started.elapsed())
    }
}

async fn one_after_the_other(
    mut stream: TcpStream,
    requests: Vec<Vec<u8>>,
) -> Result<Vec<Duration>, Failure> {
    let mut waits = Vec::with_capacity(requests.len());
    let mut answer = [0; 2048];
    for request in requests {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        let mut filled = 0;
        while !is_whole(&answer[..filled]) {
            match stream.read(&mut answer[filled..]).await? {
                0 => return Err("the server hung up".into()),
                read => filled += read,
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer[..filled])
                .into_owned()
                .into());
        }
        waits.push(sent.elapsed());
    }
    Ok(waits)
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse::<usize>().ok());
    answer.len() >= end + 4 + length.unwrap_or(0)
}

fn request(number: usize, sent_at: &str) -> Result<Vec<u8>, Failure> {
    let body = body(number);
    let mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes())?
        .chain_update(&body)
        .chain_update(sent_at);
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         box-delivery-id: {number:032x}\r\nbox-delivery-timestamp: {sent_at}\r\n\
         box-signature-version: 1\r\nbox-signature-algorithm: HmacSHA256\r\n\
         box-signature-primary: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok([head.as_bytes(), &body].concat())
}

/// An upload, as Box tells of it; a thousand files take turns.
fn body(number: usize) -> Vec<u8> {
    let person = json!({"type": "user", "id": "226067247", "name": "Ada Lovelace", "login": "ada@example.com"});
    let file = (1_000_000 + number % 1_000).to_string();
    let event = json!({
        "type": "webhook_event",
        "id": format!("{number:08x}-d2f3-4f6f-a1a1-8b0bd3c0f0d2"),
        "created_at": "2031-01-01T00:00:00-08:00",
        "trigger": "FILE.UPLOADED",
        "webhook": {"id": "4133153456", "type": "webhook"},
        "created_by": person,
        "source": {
            "id": file, "type": "file",
            "file_version": {
                "type": "file_version", "id": format!("22222{number:08}"),
                "sha1": "3b5d8f2c9a7e4610d1f0a2b3c4d5e6f708192a3b",
            },
            "sequence_id": "0", "etag": "0",
            "sha1": "3b5d8f2c9a7e4610d1f0a2b3c4d5e6f708192a3b",
            "name": format!("Contract {number}.pdf"), "description": "", "size": 629_644,
            "path_collection": {"total_count": 3, "entries": [
                {"type": "folder", "id": "0", "sequence_id": null, "etag": null, "name": "All Files"},
                {"type": "folder", "id": "11446498", "sequence_id": "1", "etag": "1", "name": "Customers"},
                {"type": "folder", "id": "11446499", "sequence_id": "1", "etag": "1", "name": "Acme"},
            ]},
            "created_at": "2031-01-01T00:00:00-08:00", "modified_at": "2031-01-01T00:00:00-08:00",
            "trashed_at": null, "purged_at": null,
            "content_created_at": "2031-01-01T00:00:00-08:00",
            "content_modified_at": "2031-01-01T00:00:00-08:00",
            "created_by": person, "modified_by": person, "owned_by": person,
            "shared_link": null, "item_status": "active",
            "parent": {"type": "folder", "id": "11446499", "sequence_id": "1", "etag": "1", "name": "Acme"},
        },
        "additional_info": [],
    });
    event.to_string().into_bytes()
}
