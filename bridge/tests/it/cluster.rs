//! A PostgreSQL of the tests' own, started from what is installed.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

/// A cluster of its own in a folder of its own, on a Unix socket.
pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("pg")
            .tempdir_in("/tmp")
            .unwrap()
            .keep();
        let bin = bin();
        if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
            let owned = Command::new("chown").arg("postgres").arg(&folder).status();
            assert!(owned.unwrap().success());
        }
        let cluster = Self { folder, bin };
        let data = cluster.folder.join("data");
        let made = as_nobody(&cluster.bin.join("initdb"))
            .args([
                "--auth=trust",
                "--username=bridge",
                "--encoding=UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        cluster.control(&["start"]);
        cluster
    }

    pub(crate) fn control(&self, command: &[&str]) {
        let options = format!(
            "-c listen_addresses= -c max_connections=200 -c shared_buffers=32MB \
             -c unix_socket_directories={}",
            self.folder.display()
        );
        let done = as_nobody(&self.bin.join("pg_ctl"))
            .args(command)
            // To come up again it writes every file of every database out, on a busy disk.
            .args(["--wait", "--timeout=300", "--options", &options, "--log"])
            .arg(self.folder.join("log"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .stdout(Stdio::null())
            .status();
        let said = || std::fs::read_to_string(self.folder.join("log"));
        assert!(
            done.unwrap().success(),
            "pg_ctl {command:?}: {:?}",
            said().map(|log| log
                .lines()
                .rev()
                .take(20)
                .map(str::to_owned)
                .collect::<Vec<_>>())
        );
    }

    /// The URL of a database that is not there yet.
    pub(crate) fn database(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let created = as_nobody(&self.bin.join("createdb"))
            .args(["--username=bridge", "--host"])
            .arg(&self.folder)
            .arg(&name)
            .status();
        assert!(created.unwrap().success());
        format!(
            "postgres:///{name}?host={}&user=bridge",
            self.folder.display()
        )
    }

    /// A session in a database that [`database`](Self::database) has made.
    #[allow(dead_code, reason = "not all who start a cluster look into it")]
    pub(crate) fn prompt(&self, url: &str) -> Prompt {
        let name = url.split(['/', '?']).nth(3).unwrap();
        let mut psql = as_nobody(&self.bin.join("psql"))
            .args(["--username=bridge", "--quiet", "-At", "--host"])
            .arg(&self.folder)
            .args(["-d", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(psql.stdout.take().unwrap()).lines();
        Prompt { psql, says }
    }

    /// Runs a statement in a database that [`database`](Self::database) has made.
    #[allow(dead_code, reason = "not all who start a cluster look into it")]
    pub(crate) fn run(&self, url: &str, statement: &str) {
        let name = url.split(['/', '?']).nth(3).unwrap();
        let done = as_nobody(&self.bin.join("psql"))
            .args(["--username=bridge", "--quiet", "--host"])
            .arg(&self.folder)
            .args(["-d", name, "-c", statement])
            .status();
        assert!(done.unwrap().success(), "{statement}");
    }
}

/// A person at the database's own prompt.
#[allow(dead_code, reason = "not all who start a cluster look into it")]
pub(crate) struct Prompt {
    psql: Child,
    says: Lines<BufReader<ChildStdout>>,
}

#[allow(dead_code, reason = "not all who start a cluster look into it")]
impl Prompt {
    /// Runs statements of which the last gives one value.
    pub(crate) fn ask(&mut self, statements: &str) -> String {
        writeln!(self.psql.stdin.as_mut().unwrap(), "{statements}").unwrap();
        self.says.next().unwrap().unwrap()
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        let _ = self.psql.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.control(&["stop", "--mode=immediate"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// PostgreSQL refuses to run as root.
fn as_nobody(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

fn bin() -> PathBuf {
    let found = |folder: &PathBuf| folder.join("initdb").exists();
    let from_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect());
    let mut folders: Vec<PathBuf> = from_path.unwrap_or_default();
    for root in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let inside = std::fs::read_dir(root).into_iter().flatten().flatten();
        folders.extend(inside.map(|entry| entry.path().join("bin")));
    }
    let found = folders.into_iter().rfind(found);
    found.expect("PostgreSQL is missing: install it (on Debian: apt-get install postgresql)")
}
