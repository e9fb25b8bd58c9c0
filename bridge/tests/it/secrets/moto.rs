//! moto, a fake of AWS by others, as it comes from PyPI.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Mutex,
};

const PACKAGE: &str = "moto[server,secretsmanager]==5.2.5";
/// It ends with whoever started it: its input does.
const SERVE: &str = r#"
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"#;

/// One installation at a time: the tests share a folder that outlives them.
static INSTALLING: Mutex<()> = Mutex::new(());

pub(crate) struct Moto {
    pub(crate) url: String,
    process: Child,
    _input: ChildStdin,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(python())
            .args(["-c", SERVE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut url = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "moto does not start");
        Self {
            url: url.trim().to_owned(),
            process,
            _input: input,
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of a virtual environment with moto.
fn python() -> PathBuf {
    let _one = INSTALLING.lock().unwrap_or_else(|it| it.into_inner());
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto-5.2.5");
    let python = place.join("bin/python");
    let done = place.join("done");
    if !done.exists() {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&place));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]));
        std::fs::write(done, "").unwrap();
    }
    python
}

fn run(command: &mut Command) {
    let needs = "python3 with venv (on Debian: apt-get install python3-venv) and PyPI";
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}. It needs {needs}."));
    assert!(
        output.status.success(),
        "{command:?} failed; it needs {needs}.\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
