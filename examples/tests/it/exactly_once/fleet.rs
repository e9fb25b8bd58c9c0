//! The processes of the service: started, killed, frozen, and started again.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::clock;
use crate::setting::{SECRET, program};

/// A port that nobody can take while its process is down: no other test listens on this address
/// and no connection comes from it.
const HOST: &str = if cfg!(target_os = "linux") {
    "127.0.0.2"
} else {
    "127.0.0.1"
};

pub(crate) struct Fleet {
    home: PathBuf,
    pub(crate) urls: Vec<String>,
    processes: Vec<Process>,
}

struct Process {
    orders: mpsc::Sender<Order>,
    kept: JoinHandle<()>,
}

/// What shall happen to a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// `kill -9`, and a new start some time later.
    Kill { down: Duration },
    /// It stands still for so long, and then goes on as if nothing had been.
    Freeze { span: Duration },
}

impl Fleet {
    /// Starts as many processes, whose configuration `write` gives for each address.
    pub(crate) fn up(
        home: PathBuf,
        processes: usize,
        write: impl Fn(SocketAddr) -> String,
    ) -> Self {
        let mut fleet = Self {
            home,
            urls: Vec::new(),
            processes: Vec::new(),
        };
        for number in 0..processes {
            let free = std::net::TcpListener::bind((HOST, 0)).unwrap();
            let listen = free.local_addr().unwrap();
            fleet.urls.push(format!("http://{listen}"));
            std::fs::write(fleet.configuration(number), write(listen)).unwrap();
        }
        for number in 0..processes {
            let (orders, received) = mpsc::channel(16);
            let kept = tokio::spawn(keep(fleet.command(number), received));
            fleet.processes.push(Process { orders, kept });
        }
        fleet
    }

    /// From now on the clock of this process, and of those that take its place, is off by so many
    /// seconds.
    pub(crate) fn jump(&self, process: usize, off: i64) {
        clock::set(&self.home, process, off);
    }

    pub(crate) fn set_clocks_right(&self) {
        for process in 0..self.processes.len() {
            clock::set(&self.home, process, 0);
        }
    }

    pub(crate) async fn order(&self, process: usize, order: Order) {
        self.processes[process].orders.send(order).await.unwrap();
    }

    /// Ends all of them in order, so that nothing happens any more.
    pub(crate) async fn stop(&mut self) {
        for Process { orders, kept } in self.processes.drain(..) {
            drop(orders);
            kept.await.unwrap();
        }
    }

    /// The events in this state.
    pub(crate) async fn events(&self, state: &str) -> Vec<Value> {
        let mut command = program(&self.home);
        command.args(["queue", "--config", "bridge0.toml", "list", "--json"]);
        command.args(["--limit", "10000000", "--state", state]);
        let output = secrets(&mut command).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        let logs = (0..self.urls.len()).map(|it| self.home.join(format!("log{it}")));
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default())
            .collect()
    }

    fn configuration(&self, number: usize) -> PathBuf {
        self.home.join(format!("bridge{number}.toml"))
    }

    fn command(&self, number: usize) -> impl Fn() -> Command + Send + 'static {
        let (home, config) = (self.home.clone(), self.configuration(number));
        move || {
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(home.join(format!("log{number}")))
                .unwrap();
            let mut command = program(&home);
            command.arg("serve").arg("--config").arg(&config);
            clock::give(&mut command, &home, number);
            secrets(&mut command).stdout(Stdio::null()).stderr(log);
            command
        }
    }
}

fn secrets(command: &mut Command) -> &mut Command {
    command
        .env("TEST_SALESFORCE_SECRET", SECRET)
        .env(super::grants::KEY, super::grants::key())
        .env(
            "TEST_BOX_SECRET",
            box_client::testing::FakeBox::CLIENT_SECRET,
        )
}

/// As a service manager does: whatever ends is started anew.
async fn keep(command: impl Fn() -> Command, mut orders: mpsc::Receiver<Order>) {
    let mut process = command().spawn().unwrap();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            // Its database was not there when it started, for one.
            _ = process.wait() => {
                sleep(Duration::from_millis(100)).await;
                process = command().spawn().unwrap();
                continue;
            }
        };
        match order {
            Some(Order::Kill { down }) => {
                process.kill().await.unwrap();
                sleep(down).await;
                process = command().spawn().unwrap();
            }
            Some(Order::Freeze { span }) => {
                signal(&process, "-STOP").await;
                sleep(span).await;
                signal(&process, "-CONT").await;
            }
            None => {
                signal(&process, "-TERM").await;
                let ended = timeout(Duration::from_secs(60), process.wait()).await;
                ended.expect("it does not stop").unwrap();
                return;
            }
        }
    }
}

async fn signal(process: &Child, signal: &str) {
    // It may have ended just now.
    if let Some(id) = process.id() {
        let _ = Command::new("kill")
            .args([signal, &id.to_string()])
            .stderr(Stdio::null())
            .status()
            .await;
    }
}
