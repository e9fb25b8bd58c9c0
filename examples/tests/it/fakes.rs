//! The `fakes` program, as a stranger points a login and a webhook at it.

use std::process::Stdio;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use bridge::webhook::{SignatureKeys, Verifier};
use jiff::Timestamp;
use reqwest::{Client, redirect::Policy};
use salesforce_client::{MemoryTokenStore, OAuthApp, RefreshToken, SalesforceClient};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::mpsc,
};

const CALLBACK: &str = "http://localhost:1717/callback";

/// The running program, and what it says behind each word at the beginning of a line.
struct Fakes {
    _program: Child,
    said: Vec<(String, String)>,
}

impl Fakes {
    async fn start(arguments: &[&str]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_fakes"))
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.starts_with("Faults and state") {
                break;
            }
            let mut words = line.split_whitespace();
            let (name, rest) = (words.next().unwrap(), words.next_back().unwrap());
            said.push((name.to_owned(), rest.to_owned()));
        }
        Self {
            _program: program,
            said,
        }
    }

    /// What was said the first or the second time: by Box, or by Salesforce.
    fn said(&self, name: &str, time: usize) -> &str {
        let mut said = self.said.iter().filter(|(word, _)| word == name);
        &said.nth(time).unwrap().1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_a_callback_works_as_with_salesforce() {
    let arguments = ["--client-id", "mine", "--client-secret", "own secret"];
    let more = ["--redirect-uri", CALLBACK, "--rotate-refresh-tokens"];
    let fakes = Fakes::start(&[&arguments[..], &more].concat()).await;
    let url = fakes.said("Salesforce", 0);
    let app = OAuthApp::builder("mine").client_secret("own secret");
    let app = app.login_url(url).build().unwrap();
    let browser = Client::builder().redirect(Policy::none()).build().unwrap();

    let elsewhere = app.authorize("http://localhost:1718/callback").begin();
    let page = browser.get(elsewhere.unwrap().url()).send().await.unwrap();
    assert_eq!(page.status(), 400);

    let login = app.authorize(CALLBACK).begin().unwrap();
    assert!(login.url().starts_with(fakes.said("login", 1)));
    let page = browser.get(login.url()).send().await.unwrap();
    let callback = page.headers()["location"].to_str().unwrap();
    assert!(callback.starts_with(CALLBACK), "{callback}");
    let code = login.callback(callback).unwrap();
    let grant = app.exchange(&login, &code).await.unwrap();
    let store = MemoryTokenStore::new(grant);
    let tokens = RefreshToken::new("mine", Some("own secret".into()), store);
    let client = SalesforceClient::builder(tokens).login_url(url);
    let client = client.build().unwrap();
    client.limits().await.unwrap();
    // When the session is over, the one refresh token gives way to another.
    let sessions = browser.delete(format!("{url}/_fake/tokens"));
    sessions.send().await.unwrap();
    client.limits().await.unwrap();
    let requests = browser.get(format!("{url}/_fake/requests")).send();
    let requests: Value = requests.await.unwrap().json().await.unwrap();
    let bodies = requests.as_array().unwrap().iter();
    let bodies = bodies.filter_map(|request| request["body"].as_str());
    let mut spent = bodies.filter(|body| body.contains("grant_type=refresh_token"));
    let spent = spent.next().unwrap().to_owned();
    let again = browser.post(format!("{url}/services/oauth2/token"));
    let again = again.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(again.body(spent).send().await.unwrap().status(), 400);
}

type Delivered = (HeaderMap, Bytes);

/// Takes deliveries in, and gives the address to send them to.
async fn receiver() -> (String, mpsc::UnboundedReceiver<Delivered>) {
    let (tell, told) = mpsc::unbounded_channel();
    let take = async |State(tell): State<mpsc::UnboundedSender<Delivered>>,
                      headers: HeaderMap,
                      body: Bytes| {
        let _ = tell.send((headers, body));
        StatusCode::OK
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/box", listener.local_addr().unwrap());
    let routes = Router::new().route("/box", post(take)).with_state(tell);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (address, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_signed_with_the_keys_that_are_given() {
    let keys = [
        "--webhook-primary-key",
        "one",
        "--webhook-secondary-key",
        "two",
    ];
    let fakes = Fakes::start(&keys).await;
    let (address, mut told) = receiver().await;
    let (url, token) = (fakes.said("Box", 0), fakes.said("token", 0));
    let http = Client::new();
    let folder = json!({ "name": "Deals", "parent": { "id": "0" } });
    let call = |path: &str, body: Value| {
        let call = http.post(format!("{url}{path}")).bearer_auth(token);
        async move {
            let answer = call.json(&body).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
            answer.json::<Value>().await.unwrap()
        }
    };
    let folder = call("/2.0/folders", folder).await["id"].clone();
    let webhook = json!({
        "target": { "id": folder, "type": "folder" },
        "address": address,
        "triggers": ["FILE.UPLOADED"],
    });
    call("/2.0/webhooks", webhook).await;
    let file = json!({ "folder": folder, "name": "nda.pdf", "size": 10, "seed": 1 });
    call("/_fake/upload_generated", file).await;

    let (headers, body) = told.recv().await.unwrap();
    let sent = headers["box-delivery-timestamp"].to_str().unwrap();
    let sent: Timestamp = sent.parse().unwrap();
    let verifies = |primary: Option<&str>, secondary: Option<&str>| {
        let keys = SignatureKeys::new(primary.map(Into::into), secondary.map(Into::into));
        let verifier = Verifier::new(keys.unwrap());
        verifier.verify(&headers, body.clone(), sent).is_ok()
    };
    assert!(verifies(Some("one"), None));
    assert!(verifies(None, Some("two")));
    assert!(!verifies(Some("two"), Some("one")));
}
