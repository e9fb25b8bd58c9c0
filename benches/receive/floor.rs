//! The least that keeps the promise: the signature is right, the delivery is in a table once, and
//! the commit has reached the disk. One thread writes what has gathered in one transaction.

use std::convert::Infallible;

use base64::{Engine, engine::general_purpose::STANDARD};
use bridge_benches::{Failure, process::end_with_parent};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rusqlite::Connection;
use sha2::Sha256;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

use crate::KEY;

const GROUP: usize = 256;

struct Delivery {
    id: String,
    body: Bytes,
    stored: oneshot::Sender<()>,
}

pub(crate) async fn serve(file: &str) -> Result<(), Failure> {
    end_with_parent();
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         CREATE TABLE delivery (id TEXT NOT NULL UNIQUE, body BLOB NOT NULL) STRICT;",
    )?;
    let (inbox, waiting) = mpsc::channel(1024);
    std::thread::spawn(move || write(&connection, waiting));
    let mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (mac, inbox) = (mac.clone(), inbox.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (mac, inbox) = (mac.clone(), inbox.clone());
            async move {
                let taken = take(request, mac, inbox).await;
                let mut response = Response::new(Empty::<Bytes>::new());
                if taken.is_err() {
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn take(
    request: Request<Incoming>,
    mac: Hmac<Sha256>,
    inbox: mpsc::Sender<Delivery>,
) -> Result<(), Failure> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let signature = STANDARD.decode(header(&head.headers, "box-signature-primary")?)?;
    mac.chain_update(&body)
        .chain_update(header(&head.headers, "box-delivery-timestamp")?)
        .verify_slice(&signature)?;
    let (stored, answer) = oneshot::channel();
    let delivery = Delivery {
        id: header(&head.headers, "box-delivery-id")?.to_owned(),
        body,
        stored,
    };
    inbox.send(delivery).await?;
    Ok(answer.await?)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Failure> {
    Ok(headers.get(name).ok_or("a header is missing")?.to_str()?)
}

fn write(connection: &Connection, mut waiting: mpsc::Receiver<Delivery>) -> Result<(), Failure> {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = connection
            .prepare_cached("INSERT INTO delivery VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        for delivery in &group {
            insert.execute((&delivery.id, &*delivery.body))?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        for delivery in group.drain(..) {
            // The sender may have gone away.
            let _ = delivery.stored.send(());
        }
    }
    Ok(())
}
