//! The whole integration as one program.

mod api;
mod attach;
mod backfill;
mod budget;
mod build;
mod by_hand;
mod check;
mod config;
mod demo;
mod events;
mod heed;
mod inbox;
mod login;
mod numbers;
mod plan;
mod provision;
mod ready;
mod secrets;
mod serve;
mod store;
mod sync;
mod task;
mod watch;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Joins Box and Salesforce: files, Tasks and stages for what happens in Box, folders for records, and
/// fields and metadata that stay the same; each effect exactly once.
///
/// `demo` shows all of it without credentials. Then copy bridge.example.toml to bridge.toml, fill in the
/// credentials, see what `check` says, and `serve`.
///
/// Status 0 is success, 1 something that went wrong, 2 a configuration or arguments that cannot work:
/// then nothing was started. BRIDGE_LOG=info logs to standard error.
#[derive(Parser)]
#[command(name = "bridge-server", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tells the whole story on fakes of both vendors, without credentials or network.
    ///
    /// All four jobs and the watch, each under what can go wrong, in half a minute. It ends with 1 where
    /// what both sides hold at the end is not as promised.
    Demo {
        /// Leaves everything running at the end, until Ctrl-C.
        #[arg(long)]
        hold: bool,
    },
    /// Runs the service until SIGTERM or Ctrl-C.
    Serve {
        #[command(flatten)]
        of: Of,
        /// Stops when standard input ends too, as it does when a parent process dies.
        #[arg(long, hide = true)]
        stop_with_stdin: bool,
    },
    /// Looks whether all is there that the service needs, and says what to do about it.
    ///
    /// Credentials, rights, the metadata template, fields, stages, webhooks, clocks and the store: a line
    /// each. Changes nothing; ends with 1 where something is a problem.
    Check {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        arguments: check::Arguments,
    },
    /// Brings a Box file to its Salesforce records, whatever the rules say.
    ///
    /// Through the inbox of the service, or at once where none runs.
    Attach {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        attach: attach::Options,
    },
    /// Logs a completed Task on a record, whatever the rules say.
    ///
    /// Through the inbox of the service, or at once where none runs.
    Task {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        task: task::Options,
    },
    /// Keeps records and their folders' metadata the same now, as the rules say.
    Sync {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        arguments: sync::Arguments,
    },
    /// Lists and decides what both sides have changed at one time.
    Conflicts {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        arguments: sync::ConflictArguments,
    },
    /// Lets a person log in to Box or Salesforce, and stores the grant.
    ///
    /// In a browser of this machine, which comes back to login.port. The grant goes into [secrets], in
    /// place of the one that is there, and is never shown.
    Login {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        arguments: login::Arguments,
    },
    /// Puts grants into the secret store, and changes its key.
    Secrets {
        #[command(flatten)]
        of: Of,
        #[command(subcommand)]
        command: secrets::Command,
    },
    /// Lists webhooks, looks at those of the watched folders, and puts them right.
    Webhooks {
        #[command(flatten)]
        of: Of,
        #[command(subcommand)]
        command: watch::Command,
    },
    /// Makes a record's folders, or brings them to where they should be.
    ///
    /// Through the inbox of the service, or at once where none runs.
    Provision {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        provision: provision::Options,
    },
    /// Brings what lies in a folder already to its records, through the inbox of the service.
    Backfill {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        arguments: backfill::Arguments,
    },
    /// Looks into the inbox, also while the service runs.
    Queue {
        #[command(flatten)]
        of: Of,
        #[command(subcommand)]
        command: inbox::Command,
    },
}

/// Which service a command is about.
#[derive(Args)]
struct Of {
    /// The configuration of the service; bridge.example.toml explains every key.
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        default_value = "bridge.toml"
    )]
    config: PathBuf,
}

/// A failure that ends the program.
#[derive(Debug)]
enum Failure {
    /// Something in the configuration or the arguments: a line for each. Nothing was started.
    Setup(Vec<String>),
    /// Something went wrong later.
    Run(String),
    /// Nobody reads what the program has to say, as behind `| head`.
    Unheard,
}

impl Failure {
    fn run(error: impl std::error::Error) -> Self {
        Self::Run(in_one_line(&error))
    }

    /// It as a part of something else that is said.
    fn line(self) -> String {
        match self {
            Self::Setup(lines) => lines.join("; "),
            Self::Run(line) => line,
            Self::Unheard => String::new(),
        }
    }
}

/// Says a line. Unlike `println!` it does not panic when the reader has gone, and what people have
/// written into records and names does nothing to the terminal.
fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{}", harmless(&line.to_string())).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Unheard,
        _ => Failure::run(error),
    })
}

fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Says what is only to be watched, beside what was asked for.
fn aside(line: impl std::fmt::Display) {
    // Who has closed standard error does not want to watch.
    let _ = writeln!(io::stderr(), "{line}");
}

fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let quiet = !matches!(arguments.command, Command::Serve { .. });
    let default = if quiet { "off" } else { "info" };
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("BRIDGE_LOG").unwrap_or_else(|_| EnvFilter::new(default)),
        )
        .with_timer(tracing_subscriber::fmt::time::SystemTime)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        // It would say them on standard error, and panic where that is gone.
        .log_internal_errors(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Err(error) => Err(Failure::run(error)),
        Ok(runtime) => runtime.block_on(async {
            match arguments.command {
                Command::Demo { hold } => demo::run(hold).await,
                Command::Serve {
                    of,
                    stop_with_stdin,
                } => serve::run(&of.config, stop_with_stdin).await,
                Command::Check { of, arguments } => check::run(&of.config, arguments).await,
                Command::Attach { of, attach } => attach::run(&of.config, attach).await,
                Command::Task { of, task } => task::run(&of.config, task).await,
                Command::Sync { of, arguments } => sync::run(&of.config, arguments).await,
                Command::Conflicts { of, arguments } => {
                    sync::run_conflicts(&of.config, arguments).await
                }
                Command::Login { of, arguments } => login::run(&of.config, arguments).await,
                Command::Secrets { of, command } => secrets::run(&of.config, command).await,
                Command::Webhooks { of, command } => watch::run(&of.config, command).await,
                Command::Provision { of, provision } => provision::run(&of.config, provision).await,
                Command::Backfill { of, arguments } => backfill::run(&of.config, arguments).await,
                Command::Queue { of, command } => inbox::run(&of.config, command).await,
            }
        }),
    };
    let (lines, code) = match result {
        Ok(()) | Err(Failure::Unheard) => (Vec::new(), ExitCode::SUCCESS),
        Err(Failure::Setup(lines)) => (lines, ExitCode::from(2)),
        Err(Failure::Run(line)) => (vec![line], ExitCode::FAILURE),
    };
    for line in lines {
        // Where this fails too, the exit code still tells.
        let _ = writeln!(io::stderr(), "bridge-server: {line}");
    }
    code
}
