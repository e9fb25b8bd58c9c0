//! Other processes, and what the operating system knows of this one and of them.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::Failure;

pub(crate) const PART: &str = "--part";

/// This program again, as one of its parts. It ends with this value.
#[derive(Debug)]
pub struct Part {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Part {
    /// Starts the part.
    pub fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(PART)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or("the part has no output")?;
        Ok(Self {
            child,
            said: BufReader::new(said),
        })
    }

    /// The next line that it says.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        match line.trim_end() {
            "" => Err("the part ended without a word".into()),
            line => Ok(line.to_owned()),
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends this process when the one that started it is gone.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// The time that the process has had a core, to a hundredth of a second: only what is summed over
/// seconds says anything. Unlike the finer figures of single threads it keeps those that ended.
pub fn cpu_of(id: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The program's name stands in brackets and can hold anything.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name in the stat")?;
    let mut ticks = 0;
    for field in fields.split(' ').skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 10))
}

/// Where the benches that write put their files: a folder below `folder`, which is in the target
/// folder, because what lies under the system's temporary folder may never reach a disk. With
/// `BENCH_FOLDER` set it lies there: on a memory file system that leaves out the disk.
pub fn scratch(folder: &str) -> Result<tempfile::TempDir, Failure> {
    let chosen = std::env::var("BENCH_FOLDER");
    let folder = chosen.as_deref().unwrap_or(folder);
    fs::create_dir_all(folder)?;
    Ok(tempfile::tempdir_in(folder)?)
}

/// The most memory that this process has had at once, in bytes.
pub fn peak_memory() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|text| text.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or("no peak in the status")?.parse::<u64>()? * 1024)
}
