//! A client that knows nothing of the fake but its URLs.

use box_client::testing::{FakeBox, FakeBoxBuilder};
use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap, redirect::Policy};
use serde_json::Value;
use sha1::{Digest as _, Sha1};

pub(crate) struct Session {
    pub(crate) fake: FakeBox,
    pub(crate) http: Client,
    pub(crate) token: String,
}

#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Session {
    pub(crate) async fn start() -> Self {
        Self::with(FakeBox::builder()).await
    }

    pub(crate) async fn with(builder: FakeBoxBuilder) -> Self {
        let fake = builder.start().await.unwrap();
        let token = fake.issue_token();
        Self {
            fake,
            http: client(),
            token,
        }
    }

    /// `2.0/…` or `api/2.0/…`
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}/{path}", self.fake.url());
        self.http.request(method, url).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        send(self.request("GET", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Got {
        send(self.request("DELETE", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Got {
        send(self.request("POST", path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Got {
        send(self.request("PUT", path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Got {
        let request = self.request("PUT", path).body(body.to_string());
        send(request.header("content-type", "application/json-patch+json")).await
    }

    pub(crate) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Got {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs(pairs).finish();
        let url = format!("{}/oauth2/{path}", self.fake.url());
        let request = self.http.post(url).body(body);
        send(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    pub(crate) async fn upload(&self, path: &str, attributes: &Value, content: &[u8]) -> Got {
        let attributes = attributes.to_string();
        send(self.multipart(
            path,
            &[("attributes", attributes.as_bytes()), ("file", content)],
        ))
        .await
    }

    pub(crate) fn multipart(&self, path: &str, parts: &[(&str, &[u8])]) -> RequestBuilder {
        let mut body = Vec::new();
        for (name, content) in parts {
            let head = format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--B--\r\n");
        self.request("POST", &format!("api/2.0/files/{path}"))
            .header("content-type", "multipart/form-data; boundary=B")
            .body(body)
    }

    /// Where the content is, after the redirect.
    pub(crate) async fn location(&self, file: &str) -> String {
        let got = self.get(&format!("2.0/files/{file}/content")).await;
        assert_eq!(got.status, 302, "{got:?}");
        got.header("location").to_owned()
    }
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let value = json.pointer(pointer).and_then(Value::as_str);
        value
            .unwrap_or_else(|| panic!("no text at {pointer}: {json}"))
            .to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The error in Box's standard shape.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!(
            (self.status, json["code"].as_str()),
            (status, Some(code)),
            "{json}"
        );
        assert_eq!(
            (json["type"].as_str(), json["status"].as_u64()),
            (Some("error"), Some(status.into()))
        );
        for member in ["message", "request_id", "help_url"] {
            assert!(
                json[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member}: {json}"
            );
        }
        // The two ids of a request differ.
        assert_ne!(json["request_id"], self.header("box-request-id"));
        assert_ne!(self.header("box-request-id"), "");
        json
    }

    /// The error in the short shape of metadata.
    #[track_caller]
    pub(crate) fn metadata_refused(&self, status: u16, code: &str) {
        let json = self.json();
        assert_eq!(
            (self.status, json["code"].as_str()),
            (status, Some(code)),
            "{json}"
        );
        let mut members: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        members.sort_unstable();
        assert_eq!(members, ["code", "message", "request_id"]);
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Got {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Got {
        status,
        headers,
        body: answer.bytes().await.unwrap(),
    }
}

/// Follows no redirect: the tests look at it.
pub(crate) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .build()
        .unwrap()
}

pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
