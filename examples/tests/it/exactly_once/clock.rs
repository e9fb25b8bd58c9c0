//! A clock for each process, that can be put forward and back. The time that passes stays right, as
//! it does where somebody sets the time of day.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Whether processes have clocks of their own on this platform.
pub(crate) const IS_THERE: bool = cfg!(target_os = "linux");

/// Where distributions put it.
const FOLDERS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib/faketime",
    "/usr/lib64/faketime",
    "/usr/local/lib/faketime",
];

pub(crate) fn set(home: &Path, process: usize, off: i64) {
    let file = file(home, process);
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{off:+}s\n")).unwrap();
    // At once and whole, for it is read at every look at the clock.
    std::fs::rename(next, file).unwrap();
}

/// Lets a process that is about to start go by the clock of its number.
pub(crate) fn give(command: &mut Command, home: &Path, process: usize) {
    if !IS_THERE {
        return;
    }
    let file = file(home, process);
    if !file.exists() {
        set(home, process, 0);
    }
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
}

fn file(home: &Path, process: usize) -> PathBuf {
    home.join(format!("clock{process}"))
}

fn library() -> PathBuf {
    let all = FOLDERS.map(|folder| Path::new(folder).join("libfaketimeMT.so.1"));
    all.into_iter().find(|path| path.exists()).expect(
        "no libfaketime here, which gives each process a clock of its own: install it, as with \
         `apt-get install faketime` or `dnf install libfaketime`",
    )
}
