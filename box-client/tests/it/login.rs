//! A person logs in: authorize page, redirect, code, grant, and the end of it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use box_client::{
    Authorization, ErrorKind, LoopbackRedirect, MemoryTokenStore, OAuth, RedirectError, TokenStore,
    testing::{FakeBox, Fault, FaultEffect},
};
use secrecy::{ExposeSecret, SecretString};

use crate::fake;

const SERVICE: &str = "AutomationUser_1_fake@boxdevedition.com";
const LONG: Duration = Duration::from_secs(60);

fn query(url: &str) -> Vec<(String, String)> {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().into_owned().collect()
}

/// What a browser shows: status line, headers and body.
async fn browse(url: String) -> String {
    let url = url::Url::parse(&url).unwrap();
    let target = url[url::Position::BeforePath..].to_owned();
    let address = url.socket_addrs(|| None).unwrap();
    let visit = move || {
        let mut stream = TcpStream::connect(&address[..]).unwrap();
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    };
    tokio::task::spawn_blocking(visit).await.unwrap()
}

async fn location(page: &str) -> String {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    line.unwrap_or_else(|| panic!("no redirect: {page}"))
        .to_owned()
}

#[test]
fn the_page_is_asked_for_as_box_documents_it() {
    let oauth = OAuth::new("the-client", "the-secret").unwrap();
    let login = oauth
        .authorize()
        .redirect_uri("https://app.example.com/box?x=1")
        .scopes(["root_readwrite", "manage_webhook"])
        .login_hint("jo@example.com")
        .start()
        .unwrap();
    assert!(
        login
            .url()
            .starts_with("https://account.box.com/api/oauth2/authorize?")
    );
    let state = login.state().to_owned();
    let expected = [
        ("response_type", "code"),
        ("client_id", "the-client"),
        ("state", &state),
        ("redirect_uri", "https://app.example.com/box?x=1"),
        ("scope", "root_readwrite manage_webhook"),
        ("login_hint", "jo@example.com"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(query(login.url()), expected);
    let another = oauth.authorize().start().unwrap();
    assert_eq!(query(another.url()).len(), 3);
    assert_ne!(another.state(), state, "each login has its own state");
}

#[test]
fn a_page_of_an_enterprise_of_its_own_can_be_named_and_a_bad_one_is_refused() {
    let builder = || OAuth::builder("id", "secret");
    let own = builder().authorize_url("https://ent.box.com/api/oauth2/authorize");
    let login = own.build().unwrap().authorize().start().unwrap();
    assert!(
        login
            .url()
            .starts_with("https://ent.box.com/api/oauth2/authorize?")
    );
    for bad in ["", "ftp://x/", "https://u:p@x/", "https://x/?y", "no url"] {
        let failure = builder().authorize_url(bad).build().unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config, "{bad}");
        let failure = builder().base_url(bad).build().unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config, "{bad}");
    }
}

#[tokio::test]
async fn a_person_logs_in_through_the_loopback() {
    let fake = fake::start(FakeBox::builder()).await;
    let oauth = fake::oauth(&fake);
    let redirect = LoopbackRedirect::bind(0).await.unwrap();
    let login = oauth
        .authorize()
        .redirect_uri(redirect.uri())
        .start()
        .unwrap();
    let browser = {
        let url = login.url().to_owned();
        tokio::spawn(async move { browse(location(&browse(url).await).await).await })
    };
    let code = redirect.wait(&login, LONG).await.unwrap();
    let page = browser.await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("logged in"), "{page}");
    assert!(!page.contains(code.expose_secret()), "{page}");

    let store = std::sync::Arc::new(MemoryTokenStore::default());
    let grant = oauth.exchange(&code).await.unwrap();
    grant.store_in(&store).await.unwrap();
    let sent = fake::forms(&fake).remove(0);
    let sent: Vec<_> = sent.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        sent,
        [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("client_id", FakeBox::CLIENT_ID),
            ("client_secret", FakeBox::CLIENT_SECRET),
        ]
    );
    // The access token that came with the grant is used before anything is refreshed.
    let client = fake::client(&fake, oauth.refresh_token(store.clone()));
    assert_eq!(fake::me(&client).await.unwrap(), SERVICE);
    assert_eq!(fake::forms(&fake).len(), 1);
    fake.inject(Fault::on("/2.0/users/me", FaultEffect::ExpireSession));
    assert_eq!(fake::me(&client).await.unwrap(), SERVICE);
    assert_eq!(fake::forms(&fake).len(), 2);
    let stored = store.load().await.unwrap().unwrap().grant;
    assert_ne!(
        stored.refresh_token.expose_secret(),
        grant.refresh_token.expose_secret()
    );
    assert_eq!(fake.violations(), [""; 0]);
}

#[tokio::test]
async fn a_code_that_is_spent_or_foreign_gives_no_grant() {
    let fake = fake::start(FakeBox::builder()).await;
    let oauth = fake::oauth(&fake);
    let code = SecretString::from(fake.issue_code());
    oauth.exchange(&code).await.unwrap();
    for code in [code, SecretString::from("never issued")] {
        let failure = oauth.exchange(&code).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert_eq!(failure.api().unwrap().code(), Some("invalid_grant"));
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_code_is_reported_and_not_waited_for() {
    let fake = fake::start(FakeBox::builder()).await;
    fake.inject(Fault::on("/oauth2/token", FaultEffect::LostAnswer));
    let code = SecretString::from(fake.issue_code());
    // Box has spent the code, and its second answer says so.
    let failure = fake::oauth(&fake).exchange(&code).await.unwrap_err();
    assert_eq!(failure.api().unwrap().code(), Some("invalid_grant"));
    assert_eq!(failure.attempts(), 2);
}

#[tokio::test]
async fn a_revoked_grant_is_at_its_end() {
    let fake = fake::start(FakeBox::builder()).await;
    let oauth = fake::oauth(&fake);
    let code = SecretString::from(fake.issue_code());
    let grant = oauth.exchange(&code).await.unwrap();
    let client = fake::client(
        &fake,
        oauth.refresh_token(MemoryTokenStore::new(grant.clone())),
    );
    fake::me(&client).await.unwrap();
    oauth.revoke(&grant.refresh_token).await.unwrap();
    oauth.revoke(&grant.refresh_token).await.unwrap();
    let failure = fake::me(&client).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(failure.to_string().contains("log in again"), "{failure}");
    assert_eq!(fake.violations(), [""; 0]);
}

#[tokio::test]
async fn a_wrong_secret_revokes_nothing_and_says_so() {
    let fake = fake::start(FakeBox::builder()).await;
    let oauth = OAuth::builder(FakeBox::CLIENT_ID, "wrong").base_url(&fake.url());
    let oauth = oauth.build().unwrap();
    let token = SecretString::from(fake.issue_refresh_token());
    let failure = oauth.revoke(&token).await.unwrap_err();
    assert_eq!(failure.operation(), "revoke");
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert_eq!(failure.api().unwrap().code(), Some("invalid_client"));
}

async fn waiting(
    patience: Duration,
) -> (
    String,
    Authorization,
    tokio::task::JoinHandle<Result<SecretString, RedirectError>>,
) {
    let redirect = LoopbackRedirect::bind(0).await.unwrap();
    let uri = redirect.uri();
    let oauth = OAuth::new("id", "secret").unwrap();
    let login = oauth.authorize().redirect_uri(&uri).start().unwrap();
    let wait = {
        let login = login.clone();
        tokio::spawn(async move { redirect.wait(&login, patience).await })
    };
    (uri, login, wait)
}

#[tokio::test]
async fn a_denial_is_told_with_boxs_words() {
    let (uri, login, wait) = waiting(LONG).await;
    let url = format!(
        "{uri}?error=access_denied&error_description=%3Cscript%3E&state={}",
        login.state()
    );
    let page = browse(url).await;
    assert!(!page.contains("script>"), "{page}");
    match wait.await.unwrap().unwrap_err() {
        RedirectError::Denied { error, description } => {
            assert_eq!(error, "access_denied");
            assert_eq!(description.as_deref(), Some("<script>"));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_redirect_with_another_state_ends_the_login() {
    for query in ["?code=stolen&state=guessed", "?code=stolen", ""] {
        let (uri, _, wait) = waiting(LONG).await;
        let page = browse(format!("{uri}{query}")).await;
        assert!(page.starts_with("HTTP/1.1 400"), "{page}");
        let failure = wait.await.unwrap().unwrap_err();
        assert!(matches!(failure, RedirectError::WrongState), "{failure}");
    }
}

#[tokio::test]
async fn a_redirect_without_a_code_says_so() {
    let (uri, login, wait) = waiting(LONG).await;
    browse(format!("{uri}?state={}", login.state())).await;
    let failure = wait.await.unwrap().unwrap_err();
    assert!(matches!(failure, RedirectError::NoCode), "{failure}");
}

#[tokio::test]
async fn what_is_no_redirect_neither_ends_the_login_nor_holds_it_up() {
    let (uri, login, wait) = waiting(LONG).await;
    let icon = browse(uri.replace("/callback", "/favicon.ico")).await;
    assert!(icon.starts_with("HTTP/1.1 404"), "{icon}");
    let port = url::Url::parse(&uri).unwrap().port().unwrap();
    // One that says nothing, one that never ends a line, one that speaks something else.
    let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut endless = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut binary = TcpStream::connect(("127.0.0.1", port)).unwrap();
    binary.write_all(&[0x16, 3, 1, 0, 5, 0xff]).unwrap();
    let flood = tokio::task::spawn_blocking(move || {
        let line = [b'a'; 4096];
        // Far beyond what is read of a request: the server hangs up.
        (0..4096)
            .find_map(|_| endless.write_all(&line).err())
            .is_some()
    });
    assert!(flood.await.unwrap(), "an endless request is read to no end");
    let page = browse(format!("{uri}?code=c&state={}", login.state())).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert_eq!(wait.await.unwrap().unwrap().expose_secret(), "c");
    drop(silent);
}

#[tokio::test]
async fn the_wait_ends_when_nobody_comes() {
    let (_, _, wait) = waiting(Duration::from_millis(20)).await;
    let failure = wait.await.unwrap().unwrap_err();
    assert!(matches!(failure, RedirectError::TimedOut), "{failure}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_reported() {
    let first = LoopbackRedirect::bind(0)
        .await
        .unwrap()
        .localhost()
        .path("box");
    let uri = first.uri();
    assert!(
        uri.starts_with("http://localhost:") && uri.ends_with("/box"),
        "{uri}"
    );
    let port = url::Url::parse(&uri).unwrap().port().unwrap();
    let failure = LoopbackRedirect::bind(port).await.unwrap_err();
    assert!(matches!(failure, RedirectError::Listen(_)), "{failure}");
    assert!(std::error::Error::source(&failure).is_some());
}
