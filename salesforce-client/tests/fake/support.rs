use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use salesforce_client::testing::{FakeSalesforce, FakeSalesforceBuilder};
use serde_json::{Value, json};

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} {:?}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Status and code of the first error.
    pub(crate) fn error(&self) -> (u16, String) {
        let code = self.json()[0]["errorCode"].as_str().map(str::to_owned);
        (self.status, code.unwrap_or_default())
    }

    pub(crate) fn message(&self) -> String {
        self.json()[0]["message"].as_str().unwrap().to_owned()
    }

    /// The id of what was created.
    pub(crate) fn id(&self) -> String {
        assert_eq!(self.status, 201, "{:?}", self.body);
        let body = self.json();
        assert_eq!(
            (&body["success"], &body["errors"]),
            (&json!(true), &json!([]))
        );
        body["id"].as_str().unwrap().to_owned()
    }
}

/// A fake and a client with a session in it.
pub(crate) struct Session {
    pub(crate) fake: FakeSalesforce,
    pub(crate) http: Client,
    pub(crate) token: String,
}

impl Session {
    pub(crate) async fn start() -> Self {
        Self::with(FakeSalesforce::builder()).await
    }

    pub(crate) async fn with(builder: FakeSalesforceBuilder) -> Self {
        let fake = builder.start().await.unwrap();
        let token = fake.issue_token();
        Self {
            fake,
            http: Client::new(),
            token,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with('/') {
            format!("{}{path}", self.fake.url())
        } else {
            format!("{}/services/data/v58.0/{path}", self.fake.url())
        }
    }

    /// A request to a path of the version, or to an absolute one.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        let request = self.http.request(method, self.url(path));
        request.bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request("DELETE", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request("POST", path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        send(self.request("PATCH", path).json(&body)).await
    }

    pub(crate) async fn create(&self, object: &str, body: Value) -> Answer {
        self.post(&format!("sobjects/{object}"), body).await
    }

    pub(crate) async fn query(&self, soql: &str) -> Answer {
        self.get(&format!("query?{}", encoded(&[("q", soql)])))
            .await
    }

    pub(crate) async fn upload(&self, fields: Value, content: &[u8]) -> Answer {
        let body = form(&fields, content);
        send(self.form_request().body(body)).await
    }

    pub(crate) fn form_request(&self) -> RequestBuilder {
        self.request("POST", "sobjects/ContentVersion")
            .header("content-type", "multipart/form-data; boundary=\"b0undary\"")
    }

    pub(crate) fn opportunity(&self) -> String {
        let values =
            json!({ "Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-06-30" });
        self.fake.create("Opportunity", values).unwrap()
    }

    pub(crate) fn account(&self, name: &str) -> String {
        self.fake
            .create("Account", json!({ "Name": name }))
            .unwrap()
    }

    /// The document that a version belongs to.
    pub(crate) fn document_of(&self, version: &str) -> String {
        let record = self.fake.record(version).unwrap();
        record["ContentDocumentId"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap(),
    }
}

/// Names and values as in a query or in a form.
pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(pairs).finish()
}

pub(crate) fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub(crate) fn form_start(fields: &Value) -> String {
    format!(
        "--b0undary\r\nContent-Disposition: form-data; name=\"entity_content\"\r\n\
         Content-Type: application/json\r\n\r\n{fields}\r\n--b0undary\r\n\
         Content-Disposition: form-data; name=\"VersionData\"; filename=\"file.bin\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
}

pub(crate) const FORM_END: &str = "\r\n--b0undary--\r\n";

pub(crate) fn form(fields: &Value, content: &[u8]) -> Vec<u8> {
    let mut body = form_start(fields).into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(FORM_END.as_bytes());
    body
}

pub(crate) fn base64(content: &[u8]) -> String {
    STANDARD.encode(content)
}

/// Waits for something that another task brings about; fails after two minutes.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(120), wait)
            .await
            .is_ok()
    );
}
