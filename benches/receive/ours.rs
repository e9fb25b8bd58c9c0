//! The library's own way in, served as a program would serve it.

use std::sync::Arc;

use bridge::{
    Receiver,
    store::sqlite::SqliteStore,
    webhook::{SignatureKeys, Verifier},
};
use bridge_benches::{Failure, process::end_with_parent};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;

use crate::{KEY, PATH};

pub(crate) async fn serve(file: &str) -> Result<(), Failure> {
    end_with_parent();
    let store = SqliteStore::open(file)?;
    let keys = SignatureKeys::new(Some(KEY.into()), None)?;
    let receiver = Receiver::new(Verifier::new(keys), Arc::new(store));
    let service = TowerToHyperService::new(bridge::axum::route(PATH, receiver));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(connection);
    }
}
