use box_client::{BoxClient, DeveloperToken, ErrorKind};
use http::Method;
use serde_json::{Value, json};

use crate::vendor::{TOKEN, Vendor, error, header, reply, status};

#[tokio::test]
async fn a_call_of_ones_own_has_token_query_headers_and_body() {
    let vendor = Vendor::start().await;
    let folder = reply(200, json!({ "id": "100" }));
    vendor.answers("PUT", "/2.0/folders/100", [folder]).await;
    let client = vendor.client();
    let answer = client
        .request(Method::PUT, "/folders/100")
        .query("fields", "id,name")
        .header("If-Match", "3")
        .header("As-User", "33")
        .json(&json!({ "name": "A & B" }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<Value>().unwrap()["id"], "100");
    let request = vendor.request().await;
    assert_eq!(header(&request, "if-match"), Some("3"));
    assert_eq!(header(&request, "as-user"), Some("33"));
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(header(&request, "authorization"), Some(bearer.as_str()));
    assert_eq!(request.url.query(), Some("fields=id%2Cname"));
    assert_eq!(request.body, br#"{"name":"A & B"}"#);
    vendor.done().await;
}

#[tokio::test]
async fn a_body_of_another_kind_is_sent_as_it_is() {
    let vendor = Vendor::start().await;
    let path = "/2.0/folders/100/metadata/enterprise/deal";
    vendor.answers("PUT", path, [reply(200, json!({}))]).await;
    let patch = r#"[{"op":"replace","path":"/stage","value":"Won"}]"#;
    let client = vendor.client();
    let request = client
        .request(Method::PUT, "/folders/100/metadata/enterprise/deal")
        .body("application/json-patch+json", patch);
    request.send().await.unwrap();
    let request = vendor.request().await;
    let kind = header(&request, "content-type");
    assert_eq!(kind, Some("application/json-patch+json"));
    assert_eq!(request.body, patch.as_bytes());
    vendor.done().await;
}

#[tokio::test]
async fn not_modified_is_an_answer_and_a_refusal_is_an_error() {
    let vendor = Vendor::start().await;
    let answers = [status(304), error(404, "not_found")];
    vendor.answers("GET", "/2.0/files/777", answers).await;
    let client = vendor.client();
    let ask = || {
        let request = client.request(Method::GET, "/files/777");
        request.header("If-None-Match", "1").send()
    };
    assert_eq!(ask().await.unwrap().status, 304);
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::NotFound);
    vendor.done().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_it_is_sent() {
    let vendor = Vendor::start().await;
    let client = vendor.client();
    for path in [
        "",
        "files/1",
        "/files/1?fields=x",
        "/files/1#x",
        "/files/../users/me",
        "/files/%2E%2e/users/me",
        "/files/.",
        "/files\\..\\users",
    ] {
        let failure = client.request(Method::GET, path).send().await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Invalid, "{path}");
    }
    for (name, value) in [("a b", "c"), ("a", "b\r\nc: d")] {
        let request = client.request(Method::GET, "/users/me").header(name, value);
        assert_eq!(request.send().await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    vendor.done().await;
}

#[test]
fn a_base_url_that_cannot_work_is_refused() {
    for url in [
        "",
        "box.com",
        "ftp://box.com",
        "https://box.com?x=1",
        "https://box.com#x",
        "https://user:password@box.com",
    ] {
        let builder = BoxClient::builder(DeveloperToken::new("token")).base_url(url);
        let failure = builder.build().unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config, "{url}");
        assert!(!format!("{failure} {failure:?}").contains("password"));
    }
}
