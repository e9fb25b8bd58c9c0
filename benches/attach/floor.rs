//! What somebody would write by hand who wants nothing but this one way through: no retries, no
//! token, no idle timeouts, no ledger.

use base64::{
    Engine,
    engine::{general_purpose::PAD, simd::Simd},
};
use bridge_benches::{
    Failure,
    sample::{SampleFile, hex},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use md5::Md5;
use sha1::{Digest, Sha1};

use crate::Form;

const TOKEN: &str = "Bearer token";
const FIELDS: &str = r#"{"Title":"contract","PathOnClient":"contract.pdf""#;
const BOUNDARY: &str = "b0unday0123456789b0unday0123456789";

#[derive(Clone, Debug)]
pub(crate) struct Floor {
    http: reqwest::Client,
    url: String,
    with_md5: bool,
}

struct Hashes {
    sha1: Sha1,
    md5: Option<Md5>,
}

impl Floor {
    pub(crate) fn new(url: &str, with_md5: bool) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            url: url.to_owned(),
            with_md5,
        })
    }

    pub(crate) async fn carry(self, file: SampleFile, form: Form) -> Result<(), Failure> {
        #[derive(serde::Deserialize)]
        struct Saved {
            id: String,
        }
        let url = format!("{}/2.0/files/{}/content", self.url, file.id);
        let asked = self
            .http
            .get(url)
            .header(AUTHORIZATION, TOKEN)
            .send()
            .await?;
        let place = asked
            .headers()
            .get(LOCATION)
            .ok_or("no redirect")?
            .to_str()?;
        let download = self.http.get(place).send().await?.error_for_status()?;
        let hashes = Hashes {
            sha1: Sha1::new(),
            md5: self.with_md5.then(Md5::new),
        };
        let chunks = hashed(download.bytes_stream(), hashes, file.sha1);
        let (content_type, head, tail, size) = match form {
            Form::Base64 => (
                "application/json".to_owned(),
                format!("{FIELDS},\"VersionData\":\""),
                "\"}".to_owned(),
                file.size.div_ceil(3) * 4,
            ),
            Form::Multipart => (
                format!("multipart/form-data; boundary={BOUNDARY}"),
                format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"entity_content\"\r\n\
                     Content-Type: application/json\r\n\r\n{FIELDS}}}\r\n--{BOUNDARY}\r\n\
                     Content-Disposition: form-data; name=\"VersionData\"; filename=\"a.pdf\"\r\n\
                     Content-Type: application/octet-stream\r\n\r\n"
                ),
                format!("\r\n--{BOUNDARY}--\r\n"),
                file.size,
            ),
        };
        let length = size + (head.len() + tail.len()) as u64;
        let ends = |text: String| stream::iter([Ok::<_, Failure>(Bytes::from(text))]);
        let body = match form {
            Form::Base64 => {
                reqwest::Body::wrap_stream(ends(head).chain(encoded(chunks)).chain(ends(tail)))
            }
            Form::Multipart => {
                reqwest::Body::wrap_stream(ends(head).chain(chunks).chain(ends(tail)))
            }
        };
        let url = format!("{}/services/data/v58.0/sobjects/ContentVersion", self.url);
        let request = self
            .http
            .post(url)
            .header(AUTHORIZATION, TOKEN)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, length)
            .body(body);
        let saved: Saved = request.send().await?.error_for_status()?.json().await?;
        (!saved.id.is_empty())
            .then_some(())
            .ok_or_else(|| "no id".into())
    }
}

fn hashed<E: std::error::Error + Send + Sync + 'static>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    hashes: Hashes,
    sha1: String,
) -> impl Stream<Item = Result<Bytes, Failure>> + Send + 'static {
    let state = (Box::pin(chunks), hashes);
    stream::try_unfold(
        (state, sha1),
        |((mut chunks, mut hashes), sha1)| async move {
            let Some(chunk) = chunks.next().await.transpose()? else {
                if hex(&hashes.sha1.finalize()) != sha1 {
                    return Err("other bytes".into());
                }
                return Ok(None);
            };
            hashes.sha1.update(&chunk);
            if let Some(md5) = &mut hashes.md5 {
                md5.update(&chunk);
            }
            Ok(Some((chunk, ((chunks, hashes), sha1))))
        },
    )
}

fn encoded(
    chunks: impl Stream<Item = Result<Bytes, Failure>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Failure>> + Send + 'static {
    let engine = Simd::standard(PAD);
    let state = (Box::pin(chunks), Vec::new());
    stream::try_unfold(state, move |(mut chunks, mut rest)| {
        let engine = engine.clone();
        async move {
            let Some(chunk) = chunks.next().await.transpose()? else {
                let last = engine.encode(std::mem::take(&mut rest));
                return Ok((!last.is_empty()).then(|| (Bytes::from(last), (chunks, rest))));
            };
            let text = encode(&engine, &mut rest, &chunk)?;
            Ok(Some((Bytes::from(text), (chunks, rest))))
        }
    })
}

/// All whole groups of three; up to two bytes stay for the next chunk.
fn encode(engine: &Simd, rest: &mut Vec<u8>, mut chunk: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut text = vec![0; (rest.len() + chunk.len()) / 3 * 4];
    let mut written = 0;
    if !rest.is_empty() {
        let missing = (3 - rest.len()).min(chunk.len());
        rest.extend_from_slice(&chunk[..missing]);
        chunk = &chunk[missing..];
        if rest.len() < 3 {
            return Ok(Vec::new());
        }
        written += engine.encode_slice(&rest, &mut text)?;
        rest.clear();
    }
    let (groups, left) = chunk.split_at(chunk.len() / 3 * 3);
    engine.encode_slice(groups, &mut text[written..])?;
    rest.extend_from_slice(left);
    Ok(text)
}
