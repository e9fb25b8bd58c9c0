//! Box and Salesforce as far as the benches need them, in a process of their own and as cheap as
//! can be, so that what is measured is this side.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    Failure,
    process::{Part, end_with_parent},
    sample::{self, BLOCK},
};

/// The argument that makes a bench its far side.
pub const FAR_SIDE: &str = "far-side";
/// Rows of the whole query and of one page of it.
pub const ROWS: u64 = 200_000;
const PAGE: u64 = 2_000;
const BUFFER: usize = 256 * 1024;
/// One that is not there: nobody sends more than the largest file in base64.
const MOST: u64 = 1 << 30;

/// The far side, running.
#[derive(Debug)]
pub struct FarSide {
    /// Its root, for both clients.
    pub url: String,
    _process: Part,
}

impl FarSide {
    /// Starts it.
    pub fn start() -> Result<Self, Failure> {
        let mut process = Part::start(&[FAR_SIDE])?;
        Ok(Self {
            url: format!("http://{}", process.line()?),
            _process: process,
        })
    }
}

struct Shelf {
    /// Where downloads are: another address than where they are asked for.
    downloads: SocketAddr,
    block: Vec<u8>,
    rows: String,
}

/// Is the far side until the process that started it is gone.
pub async fn serve() -> Result<(), Failure> {
    end_with_parent();
    let api = TcpListener::bind("127.0.0.1:0").await?;
    let downloads = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", api.local_addr()?);
    let shelf = Arc::new(Shelf {
        downloads: downloads.local_addr()?,
        block: sample::block(),
        rows: sample::rows(PAGE),
    });
    let take = async |listener: TcpListener| -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let shelf = Arc::clone(&shelf);
            tokio::spawn(async move {
                // Clients close connections as they like.
                let _ = converse(stream, &shelf).await;
            });
        }
    };
    tokio::try_join!(take(api), take(downloads))?;
    Ok(())
}

async fn converse(mut stream: TcpStream, shelf: &Shelf) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let end = loop {
            let head = buffer[..filled].windows(4).position(|it| it == b"\r\n\r\n");
            if let Some(position) = head {
                break position + 4;
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let length = content_length(&head);
        let mut left = length.unwrap_or(0);
        let mut last = [0; 4];
        let mut from = end;
        loop {
            let here = left.min((filled - from) as u64);
            let body = &buffer[from..from + here as usize];
            remember(&mut last, body);
            left -= here;
            from += here as usize;
            if left == 0 {
                break;
            }
            filled = stream.read(&mut buffer).await?;
            from = 0;
            if filled == 0 {
                return Ok(());
            }
        }
        buffer.copy_within(from..filled, 0);
        filled -= from;
        answer(&mut stream, shelf, &head, length, last).await?;
    }
}

async fn answer(
    stream: &mut TcpStream,
    shelf: &Shelf,
    head: &str,
    length: Option<u64>,
    last: [u8; 4],
) -> io::Result<()> {
    let mut words = head.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        (Some("GET"), ["2.0", "files", id, "content"]) => {
            let location = format!("http://{}/bytes/{id}", shelf.downloads);
            let answer =
                format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await
        }
        (Some("GET"), ["bytes", id]) => {
            let mut left = id.parse().map_or(0, sample::size_of);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {left}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            while left > 0 {
                let part = left.min(BLOCK as u64);
                stream.write_all(&shelf.block[..part as usize]).await?;
                left -= part;
            }
            Ok(())
        }
        (Some("GET"), ["services", "data", _, "query"]) => page(stream, shelf, 0).await,
        (Some("GET"), ["services", "data", _, "query", locator]) => {
            let first = locator
                .rsplit_once('-')
                .and_then(|(_, first)| first.parse().ok());
            page(stream, shelf, first.unwrap_or(ROWS)).await
        }
        (Some("POST"), ["services", "data", _, "sobjects", object])
            if is_whole(length, last) && head.contains("uthorization: Bearer ") =>
        {
            let (id, checksum) = match *object {
                "Task" => ("00T", "EAA"),
                _ => ("068", "AAA"),
            };
            let body =
                format!("{{\"id\":\"{id}000000000001{checksum}\",\"success\":true,\"errors\":[]}}");
            json(stream, "201 Created", &body).await
        }
        (Some("POST"), ["services", "data", _, "jobs", "ingest"]) => {
            json(stream, "200 OK", &ingest_job("Open")).await
        }
        (Some("PUT"), ["services", "data", _, "jobs", "ingest", _, "batches"]) => {
            let answer = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await
        }
        (Some("PATCH"), ["services", "data", _, "jobs", "ingest", _]) => {
            json(stream, "200 OK", &ingest_job("UploadComplete")).await
        }
        _ => json(stream, "400 Bad Request", "[]").await,
    }
}

fn ingest_job(state: &str) -> String {
    format!(
        "{{\"id\":\"750000000000001AAA\",\"operation\":\"insert\",\"object\":\"Task\",\
         \"createdById\":\"005000000000001AAA\",\"createdDate\":\"2031-06-30T00:00:00.000+0000\",\
         \"systemModstamp\":\"2031-06-30T00:00:00.000+0000\",\"state\":\"{state}\",\
         \"concurrencyMode\":\"Parallel\",\"contentType\":\"CSV\",\"apiVersion\":58.0,\
         \"contentUrl\":\"services/data/v58.0/jobs/ingest/750000000000001AAA/batches\",\
         \"lineEnding\":\"LF\",\"columnDelimiter\":\"COMMA\",\"jobType\":\"V2Ingest\"}}"
    )
}

/// JSON ends in its brace, multipart in its last boundary.
fn is_whole(length: Option<u64>, last: [u8; 4]) -> bool {
    length.is_some_and(|length| length < MOST) && (last[3] == b'}' || last == *b"--\r\n")
}

async fn page(stream: &mut TcpStream, shelf: &Shelf, first: u64) -> io::Result<()> {
    let next = first + PAGE;
    let more = if next < ROWS {
        format!("false,\"nextRecordsUrl\":\"/services/data/v58.0/query/01g000000000001-{next}\"")
    } else {
        "true".to_owned()
    };
    let rows = &shelf.rows;
    let body = format!("{{\"totalSize\":{ROWS},\"done\":{more},\"records\":[{rows}]}}");
    json(stream, "200 OK", &body).await
}

async fn json(stream: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await
}

fn content_length(head: &str) -> Option<u64> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })
}

fn remember(last: &mut [u8; 4], body: &[u8]) {
    for byte in &body[body.len().saturating_sub(4)..] {
        last.rotate_left(1);
        last[3] = *byte;
    }
}
