//! Both vendors as strict, stateful fakes on this machine, for clients in any language.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use box_client::testing::{FakeBox, openapi::Spec};
use clap::Parser;
use salesforce_client::testing::{FakeSalesforce, FakeSalesforceBuilder};

/// Serves FakeBox and FakeSalesforce until Ctrl-C. What goes wrong on demand, and all that they
/// hold, is under /_fake/ of each; see the documentation of the crates' `testing` modules.
#[derive(Parser)]
#[command(name = "fakes", version)]
struct Arguments {
    /// The port of Box's API; 0 takes a free one. Downloads come from another port.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    box_port: u16,
    /// The port of Salesforce: login host and instance in one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    salesforce_port: u16,
    /// The port of Salesforce's Pub/Sub API.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pubsub_port: u16,
    /// Objects that are selected for Change Data Capture, such as Account,Opportunity.
    #[arg(long, value_name = "OBJECTS", value_delimiter = ',')]
    capture: Vec<String>,
    /// Box's OpenAPI document (openapi.json of github.com/box/box-openapi). With it every request
    /// to Box is held against the document; see /_fake/violations.
    #[arg(long, value_name = "FILE")]
    box_openapi: Option<PathBuf>,
    /// Keep only size and checksum of uploaded files, for large ones.
    #[arg(long)]
    forget_bytes: bool,
    /// The id of the app that logs in, at both.
    #[arg(long, value_name = "ID", default_value = FakeBox::CLIENT_ID)]
    client_id: String,
    /// Its secret, at both.
    #[arg(long, value_name = "SECRET", default_value = FakeBox::CLIENT_SECRET)]
    client_secret: String,
    /// Where a login in a browser may come back to, letter by letter, such as
    /// http://localhost:1717/callback; several times for several. Salesforce sends a browser nowhere
    /// else; FakeBox sends it wherever the login says. Both log a person in at once, without a
    /// question.
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<String>,
    /// Make each refresh token of Salesforce good once, as those of Box are. The second use of one
    /// ends the grant.
    #[arg(long)]
    rotate_refresh_tokens: bool,
    /// How long a session of Salesforce lives without use: two hours, as in a new org.
    #[arg(long, value_name = "SECONDS", default_value_t = 7200)]
    session_lifetime: u64,
    /// The first of the two keys that Box signs its webhook deliveries with, as the Developer
    /// Console gives them. Without keys deliveries are not signed.
    #[arg(long, value_name = "KEY", requires = "webhook_secondary_key")]
    webhook_primary_key: Option<String>,
    /// The second key. While keys are changed a delivery is good if either signature is.
    #[arg(long, value_name = "KEY", requires = "webhook_primary_key")]
    webhook_secondary_key: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("fakes: {problem}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let mut content = FakeBox::builder()
        .port(arguments.box_port)
        .client(&arguments.client_id, &arguments.client_secret)
        .keep_bytes(!arguments.forget_bytes);
    if let (Some(primary), Some(secondary)) = (
        arguments.webhook_primary_key,
        arguments.webhook_secondary_key,
    ) {
        content = content.signature_keys(primary, secondary);
    }
    if let Some(path) = &arguments.box_openapi {
        let spec = Spec::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        content = content.openapi(spec);
    }
    let content = content
        .start()
        .await
        .map_err(|error| format!("--box-port {}: {error}", arguments.box_port))?;
    let crm = FakeSalesforce::builder()
        .port(arguments.salesforce_port)
        .pubsub_port(arguments.pubsub_port)
        .client(&arguments.client_id, &arguments.client_secret)
        .rotate_refresh_tokens(arguments.rotate_refresh_tokens)
        .session_lifetime(Duration::from_secs(arguments.session_lifetime))
        .keep_bytes(!arguments.forget_bytes);
    let redirect = |crm: FakeSalesforceBuilder, uri| crm.redirect_uri(&arguments.client_id, uri);
    let crm = arguments.redirect_uri.into_iter().fold(crm, redirect);
    let crm = crm.start().await.map_err(|error| {
        let ports = (arguments.salesforce_port, arguments.pubsub_port);
        format!(
            "--salesforce-port {} or --pubsub-port {}: {error}",
            ports.0, ports.1
        )
    })?;
    crm.capture_changes(&arguments.capture)
        .map_err(|error| format!("--capture {}: {error}", arguments.capture.join(",")))?;

    let (at_box, at_salesforce) = (content.url(), crm.url());
    let greeting = format!(
        "Box         {at_box}\n  downloads {}\n  login     {at_box}/api/oauth2/authorize\n  token     {}\n\
         Salesforce  {at_salesforce}\n  Pub/Sub   {}\n  login     {at_salesforce}/services/oauth2/authorize\n  token     {}\n\
         Client id {}, secret {}, at both.\n\
         Faults and state: /_fake/faults, /_fake/requests, /_fake/state. Ctrl-C ends.",
        content.download_url(),
        content.issue_token(),
        crm.pubsub_url(),
        crm.issue_token(),
        arguments.client_id,
        arguments.client_secret,
    );
    // Whoever does not read it is served all the same.
    let _ = writeln!(io::stdout(), "{greeting}");
    tokio::signal::ctrl_c()
        .await
        .map_err(|error| error.to_string())
}
