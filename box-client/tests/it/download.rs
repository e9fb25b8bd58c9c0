//! Where the bytes come from and which of them.

use box_client::{DownloadRequest, ErrorKind, FileId, FileVersionId, RetryPolicy};
use futures_util::TryStreamExt;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::vendor::{Vendor, error, header, status};

const CONTENT: &str = "/2.0/files/777/content";
/// SHA-1 of `hello`.
const HELLO: &str = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";

fn request(vendor: &Vendor) -> DownloadRequest {
    let id = FileId::new("777").unwrap();
    vendor.client().files().download(&id)
}

async fn read(request: DownloadRequest) -> box_client::Result<Vec<u8>> {
    Ok(request.send().await?.bytes(1000).await?.to_vec())
}

/// The host that has the bytes. It is not Box's API, so it is not in Box's document.
async fn host(answer: ResponseTemplate) -> MockServer {
    let host = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&host).await;
    host
}

fn to(host: &MockServer) -> ResponseTemplate {
    to_url(&format!("{}/dl/signed?sig=s3cr3t", host.uri()))
}

fn to_url(url: &str) -> ResponseTemplate {
    status(302).insert_header("location", url)
}

#[tokio::test]
async fn the_bytes_come_from_another_host_which_never_sees_the_token() {
    let (vendor, host) = (
        Vendor::start().await,
        host(status(200).set_body_string("hello")).await,
    );
    vendor.answers("GET", CONTENT, [to(&host)]).await;
    let download = request(&vendor).expect_sha1(HELLO).send().await.unwrap();
    assert_eq!(download.size(), Some(5));
    assert_eq!(download.bytes(5).await.unwrap(), "hello");

    assert!(header(&vendor.request().await, "authorization").is_some());
    let requests = host.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].url.path(), "/dl/signed");
    assert_eq!(requests[0].url.query(), Some("sig=s3cr3t"));
    for name in ["authorization", "referer", "cookie"] {
        assert_eq!(header(&requests[0], name), None);
    }
    vendor.done().await;
}

#[tokio::test]
async fn hosts_may_send_the_caller_on_among_themselves() {
    let last = host(status(200).set_body_string("hello")).await;
    let first = host(to(&last)).await;
    let vendor = Vendor::start().await;
    vendor.answers("GET", CONTENT, [to(&first)]).await;
    assert_eq!(read(request(&vendor)).await.unwrap(), b"hello");
    let requests = last.received_requests().await.unwrap();
    assert_eq!(header(&requests[0], "authorization"), None);
    vendor.done().await;
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let host = MockServer::start().await;
    let round = to_url(&format!("{}/dl/again", host.uri()));
    Mock::given(any()).respond_with(round).mount(&host).await;
    let vendor = Vendor::start().await;
    vendor.answers("GET", CONTENT, [to(&host)]).await;
    let failure = read(request(&vendor)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Decode);
    assert!(host.received_requests().await.unwrap().len() <= 5);
    vendor.done().await;
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_a_decode_error() {
    for answer in [
        status(302),
        to_url("file:///etc/passwd"),
        to_url("http://[::1"),
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("GET", CONTENT, [answer]).await;
        let failure = read(request(&vendor)).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Decode);
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_file_that_is_not_ready_is_asked_for_again() {
    let (vendor, host) = (
        Vendor::start().await,
        host(status(200).set_body_string("hello")).await,
    );
    let later = || status(202).insert_header("retry-after", "0");
    let answers = [later(), later(), to(&host)];
    vendor.answers("GET", CONTENT, answers).await;
    assert_eq!(read(request(&vendor)).await.unwrap(), b"hello");
    vendor.done().await;
}

#[tokio::test]
async fn a_file_that_stays_unready_says_so() {
    let vendor = Vendor::start().await;
    let later = status(202).insert_header("retry-after", "3600");
    vendor.answers("GET", CONTENT, [later]).await;
    let failure = read(request(&vendor)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::NotReady);
    assert!(failure.is_retryable());
    assert_eq!(failure.retry_after().unwrap().as_secs(), 3600);
    vendor.done().await;
}

#[tokio::test]
async fn the_api_may_have_the_bytes_itself() {
    let vendor = Vendor::start().await;
    let answer = status(200).set_body_string("hello");
    vendor.answers("GET", CONTENT, [answer]).await;
    let bytes = read(request(&vendor).expect_sha1(HELLO.to_uppercase())).await;
    assert_eq!(bytes.unwrap(), b"hello");
    vendor.done().await;
}

#[tokio::test]
async fn a_version_is_named_in_the_query() {
    let vendor = Vendor::start().await;
    let answer = status(200).set_body_string("old");
    vendor.answers("GET", CONTENT, [answer]).await;
    let version = FileVersionId::new("888").unwrap();
    read(request(&vendor).version(&version)).await.unwrap();
    assert_eq!(vendor.request().await.url.query(), Some("version=888"));
    vendor.done().await;
}

fn part(range: &str, body: &str) -> ResponseTemplate {
    status(206)
        .insert_header("content-range", format!("bytes {range}").as_str())
        .set_body_string(body)
}

#[tokio::test]
async fn a_range_is_asked_for_at_both_hosts() {
    let (vendor, host) = (Vendor::start().await, host(part("1-3/5", "ell")).await);
    vendor.answers("GET", CONTENT, [to(&host)]).await;
    let download = request(&vendor).range(1, 3).send().await.unwrap();
    assert_eq!(download.size(), Some(3));
    assert_eq!(download.bytes(3).await.unwrap(), "ell");
    let mut requests = host.received_requests().await.unwrap();
    requests.extend(vendor.requests().await);
    for request in requests {
        assert_eq!(header(&request, "range"), Some("bytes=1-3"));
    }
    vendor.done().await;
}

#[tokio::test]
async fn a_range_is_cut_out_of_an_answer_with_everything() {
    for (first, last, wanted) in [(1, 3, "ell"), (0, 0, "h"), (4, u64::MAX, "o"), (9, 12, "")] {
        let vendor = Vendor::start().await;
        let whole = status(200).set_body_string("hello");
        vendor.answers("GET", CONTENT, [whole]).await;
        let download = request(&vendor).range(first, last).send().await.unwrap();
        assert_eq!(download.size(), Some(wanted.len() as u64));
        assert_eq!(download.bytes(100).await.unwrap(), wanted);
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_range_that_reaches_past_the_end_stops_there() {
    let vendor = Vendor::start().await;
    let rest = part("3-4/5", "lo");
    vendor.answers("GET", CONTENT, [rest]).await;
    let bytes = read(request(&vendor).range(3, u64::MAX)).await.unwrap();
    assert_eq!(bytes, b"lo");
    vendor.done().await;
}

#[tokio::test]
async fn a_range_that_cannot_be_is_refused_by_whoever_sees_it() {
    let vendor = Vendor::start().await;
    let failure = read(request(&vendor).range(3, 2)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Invalid);
    vendor.answers("GET", CONTENT, [status(416)]).await;
    let failure = read(request(&vendor).range(9, 9)).await.unwrap_err();
    assert_eq!(failure.status(), Some(416));
    vendor.done().await;
}

#[tokio::test]
async fn another_part_than_the_one_asked_for_is_no_good() {
    for range in ["0-2/5", "1-4/5", "2-3/5", "3-1/5", "nonsense", "1-3/2"] {
        let vendor = Vendor::start().await;
        vendor.answers("GET", CONTENT, [part(range, "ell")]).await;
        let failure = read(request(&vendor).range(1, 3)).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Integrity, "{range}");
        vendor.done().await;
    }
}

#[tokio::test]
async fn wrong_bytes_end_in_an_error_instead_of_an_end() {
    let vendor = Vendor::start().await;
    let answer = status(200).set_body_string("hellO");
    vendor.answers("GET", CONTENT, [answer]).await;
    let mut download = request(&vendor).expect_sha1(HELLO).send().await.unwrap();
    assert_eq!(download.chunk().await.unwrap().unwrap(), "hellO");
    let failure = download.chunk().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Integrity);
    assert!(!failure.is_retryable());
    assert!(download.chunk().await.unwrap().is_none());
    vendor.done().await;
}

#[tokio::test]
async fn wrong_bytes_end_a_stream_in_an_error() {
    let vendor = Vendor::start().await;
    let answer = status(200).set_body_string("hellO");
    vendor.answers("GET", CONTENT, [answer]).await;
    let download = request(&vendor).expect_sha1(HELLO).send().await.unwrap();
    let read: Result<Vec<_>, _> = download.into_stream().try_collect().await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Integrity);
    vendor.done().await;
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    for (sha1, good) in [
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709", true),
        (HELLO, false),
    ] {
        let vendor = Vendor::start().await;
        let empty = status(200).set_body_bytes([]);
        vendor.answers("GET", CONTENT, [empty]).await;
        let mut download = request(&vendor).expect_sha1(sha1).send().await.unwrap();
        assert_eq!(download.size(), Some(0));
        assert_eq!(download.chunk().await.is_ok(), good);
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_not_held() {
    let vendor = Vendor::start().await;
    let answer = status(200).set_body_string("hello");
    vendor.answers("GET", CONTENT, [answer]).await;
    let download = request(&vendor).send().await.unwrap();
    let failure = download.bytes(4).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::TooLarge);
    vendor.done().await;
}

#[tokio::test]
async fn a_refusal_has_boxs_reason() {
    let vendor = Vendor::start().await;
    let answer = error(403, "forbidden_by_policy");
    vendor.answers("GET", CONTENT, [answer]).await;
    let failure = read(request(&vendor)).await.unwrap_err();
    let reason = failure.api().unwrap().code();
    assert_eq!(reason, Some("forbidden_by_policy"));
    vendor.done().await;
}

#[tokio::test]
async fn the_signed_url_is_in_no_error() {
    // A host that is not there, and one that refuses.
    let vendor = Vendor::start().await;
    let refusing = host(status(403).set_body_string("no")).await;
    let gone = "http://127.0.0.1:1/dl/signed?sig=s3cr3t";
    let answers = [to_url(gone), to(&refusing), to_url("ftp://s3cr3t/")];
    let count = answers.len();
    vendor.answers("GET", CONTENT, answers).await;
    let tokens = box_client::DeveloperToken::new("token");
    let builder = vendor.builder(tokens).retry(RetryPolicy::none());
    let client = builder.build().unwrap();
    for _ in 0..count {
        let id = FileId::new("777").unwrap();
        let failure = read(client.files().download(&id)).await.unwrap_err();
        let mut text = format!("{failure} {failure:?}");
        let mut cause = std::error::Error::source(&failure);
        while let Some(error) = cause {
            text += &format!(" {error} {error:?}");
            cause = error.source();
        }
        assert!(
            !text.contains("s3cr3t") && !text.contains("signed"),
            "{text}"
        );
    }
    vendor.done().await;
}
