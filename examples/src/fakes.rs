//! Both vendors as strict, stateful fakes on this machine, for clients in any language.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use box_client::testing::{FakeBox, openapi::Spec};
use clap::Parser;
use salesforce_client::testing::FakeSalesforce;

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
}

const CLIENT: (&str, &str) = ("fake_client", "fake_secret");

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
        .client(CLIENT.0, CLIENT.1)
        .keep_bytes(!arguments.forget_bytes);
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
        .client(CLIENT.0, CLIENT.1)
        .keep_bytes(!arguments.forget_bytes)
        .start()
        .await
        .map_err(|error| {
            let ports = (arguments.salesforce_port, arguments.pubsub_port);
            format!(
                "--salesforce-port {} or --pubsub-port {}: {error}",
                ports.0, ports.1
            )
        })?;
    crm.capture_changes(&arguments.capture)
        .map_err(|error| format!("--capture {}: {error}", arguments.capture.join(",")))?;

    let greeting = format!(
        "Box         {}\n  downloads {}\n  token     {}\nSalesforce  {}\n  Pub/Sub   {}\n  token     {}\n\
         Client id {}, secret {}, at both.\n\
         Faults and state: /_fake/faults, /_fake/requests, /_fake/state. Ctrl-C ends.",
        content.url(),
        content.download_url(),
        content.issue_token(),
        crm.url(),
        crm.pubsub_url(),
        crm.issue_token(),
        CLIENT.0,
        CLIENT.1,
    );
    // Whoever does not read it is served all the same.
    let _ = writeln!(io::stdout(), "{greeting}");
    tokio::signal::ctrl_c()
        .await
        .map_err(|error| error.to_string())
}
