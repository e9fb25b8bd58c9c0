use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{AuthorizationCode, LoginError, PendingLogin};

/// What a browser sends as the head of a request is far shorter.
const HEAD_LIMIT: usize = 16 * 1024;
/// A connection that says nothing does not keep the browser's own one waiting for longer.
const ONE_CONNECTION: Duration = Duration::from_secs(5);

type Outcome = Result<AuthorizationCode, LoginError>;

/// A server on this machine that waits for one person to come back from logging in: for programs
/// that people run.
///
/// ```no_run
/// # use std::time::Duration;
/// # use salesforce_client::{LoopbackRedirect, OAuthApp};
/// # async fn example(app: OAuthApp) -> Result<(), Box<dyn std::error::Error>> {
/// let redirect = LoopbackRedirect::bind(1717).await?;
/// let login = app.authorize(redirect.uri()).begin()?;
/// println!("open {}", login.url());
/// let code = redirect.wait(&login, Duration::from_secs(300)).await?;
/// let grant = app.exchange(&login, &code).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LoopbackRedirect {
    listener: TcpListener,
    uri: String,
}

impl LoopbackRedirect {
    /// Listens on this port of the loopback address. The app has registered
    /// `http://localhost:<port>/callback`.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let uri = format!(
            "http://localhost:{}/callback",
            listener.local_addr()?.port()
        );
        Ok(Self { listener, uri })
    }

    /// The redirect URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Waits for the person. What is no callback of this login is answered and forgotten: a
    /// browser asks for its icon, and anybody on the machine can knock.
    pub async fn wait(
        self,
        login: &PendingLogin,
        patience: Duration,
    ) -> Result<AuthorizationCode, LoginError> {
        let came_back = timeout(patience, self.came_back(login)).await;
        let (outcome, mut stream) = came_back.unwrap_or(Err(LoginError::TimedOut))?;
        // A code is good once: no browser that is slow to take its page may cost it.
        show(&mut stream, &outcome).await;
        outcome
    }

    /// What became of the login, and who is to be told.
    async fn came_back(self, login: &PendingLogin) -> Result<(Outcome, TcpStream), LoginError> {
        loop {
            let accepted = self.listener.accept().await;
            let (mut stream, _) = accepted.map_err(|error| LoginError::Io(error.kind()))?;
            let Ok(Some(target)) = timeout(ONE_CONNECTION, target(&mut stream)).await else {
                continue;
            };
            let outcome = match target.strip_prefix("/callback") {
                Some(rest) if rest.starts_with('?') => login.callback(rest),
                _ => Err(LoginError::State),
            };
            match outcome {
                Err(LoginError::State) => show(&mut stream, &outcome).await,
                outcome => return Ok((outcome, stream)),
            }
        }
    }
}

async fn show(stream: &mut TcpStream, outcome: &Outcome) {
    let (status, text) = match outcome {
        Ok(_) => ("200 OK", "Logged in. You can close this window."),
        Err(LoginError::State) => ("404 Not Found", "Nothing here."),
        Err(_) => (
            "200 OK",
            "The login was refused. You can close this window.",
        ),
    };
    // Who has hung up needs no answer.
    let _ = timeout(ONE_CONNECTION, answer(stream, status, text)).await;
}

/// The path and query of a GET, if it is one.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if head.len() > HEAD_LIMIT || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let target = words
        .next()
        .filter(|method| *method == "GET")
        .and(words.next());
    target.map(str::to_owned)
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
