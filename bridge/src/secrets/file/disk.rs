//! The file itself: who may see it, one writer at a time, replaced as a whole.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{OPEN, SecretError, SecretErrorKind, shown};

/// In bytes: far more than the secrets of a bridge take.
pub(super) const MOST: usize = 4 * 1024 * 1024;
/// A change takes milliseconds. Whoever holds the lock for so long is stuck.
const LOCK_WAIT: Duration = Duration::from_secs(20);
const LOCK_POLL: Duration = Duration::from_millis(3);

pub(super) struct Disk {
    folder: PathBuf,
    file: PathBuf,
    next: PathBuf,
    lock: PathBuf,
}

/// Held while the file is changed. It ends with the process too.
pub(super) struct Lock(#[expect(dead_code, reason = "held until it is dropped")] File);

impl Disk {
    /// A link is followed now, so that the file is replaced and not the link.
    pub(super) fn at(path: &Path) -> Result<Self, SecretError> {
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(unavailable(OPEN).with_cause(error)),
        };
        let Some(name) = path.file_name() else {
            return Err(unavailable(OPEN).with_cause("the path names no file"));
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = fs::canonicalize(folder).map_err(|error| {
            let error = unavailable(OPEN).with_cause(error);
            error.at(format!("the folder {}", folder.display()))
        })?;
        let beside = |ending: &str| {
            let mut beside = name.to_owned();
            beside.push(ending);
            folder.join(beside)
        };
        Ok(Self {
            file: folder.join(name),
            next: beside(".new"),
            lock: beside(".lock"),
            folder,
        })
    }

    pub(super) fn shown(&self) -> String {
        shown(&self.file)
    }

    /// The bytes, or `None` where there is no file.
    pub(super) fn read(&self, doing: &'static str) -> Result<Option<Vec<u8>>, SecretError> {
        let failed = |error: io::Error| self.unavailable(doing, error);
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Of the file that is open, whatever is put in its place meanwhile.
        let meta = file.metadata().map_err(failed)?;
        let error = |kind, why: String| {
            Err(SecretError::new(kind, doing)
                .at(self.shown())
                .with_cause(why))
        };
        if !meta.is_file() {
            return error(SecretErrorKind::Foreign, "it is not a file".to_owned());
        }
        if let Some(why) = open_to_others(&meta, &self.folder).map_err(failed)? {
            return error(SecretErrorKind::OpenToOthers, why);
        }
        let mut bytes = Vec::new();
        let most = MOST as u64 + 1;
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MOST {
            return error(
                SecretErrorKind::Foreign,
                "it is too long to be ours".to_owned(),
            );
        }
        Ok(Some(bytes))
    }

    /// Waits until no other process changes the file.
    pub(super) fn lock(&self, doing: &'static str) -> Result<Lock, SecretError> {
        let failed = |error: io::Error| self.unavailable(doing, error);
        let file = owners_only()
            .create(true)
            .truncate(false)
            .open(&self.lock)
            .map_err(failed)?;
        let give_up = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    std::thread::sleep(LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    let error = unavailable(doing).at(self.shown());
                    return Err(error.with_cause("another process does not let go of its lock"));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Puts new bytes in place as a whole, and durably.
    pub(super) fn replace(
        &self,
        doing: &'static str,
        bytes: &[u8],
        _held: &Lock,
    ) -> Result<(), SecretError> {
        let replaced = self.write_next(bytes).and_then(|()| {
            fs::rename(&self.next, &self.file)?;
            sync_folder(&self.folder)
        });
        replaced.map_err(|error| self.unavailable(doing, error))
    }

    fn write_next(&self, bytes: &[u8]) -> io::Result<()> {
        // Whoever left it was killed: we hold the lock.
        match fs::remove_file(&self.next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut next = owners_only().create_new(true).open(&self.next)?;
        next.write_all(bytes)?;
        next.sync_all()
    }

    fn unavailable(&self, doing: &'static str, cause: io::Error) -> SecretError {
        unavailable(doing).at(self.shown()).with_cause(cause)
    }
}

fn owners_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Why others could read or replace the file, if they could.
#[cfg(unix)]
fn open_to_others(meta: &fs::Metadata, folder: &Path) -> io::Result<Option<String>> {
    use std::os::unix::fs::PermissionsExt;
    const STICKY: u32 = 0o1000;
    let mode = meta.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o777;
        return Ok(Some(format!("its mode is {mode:03o}: chmod 600 it")));
    }
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o002 != 0 && mode & STICKY == 0 {
        let mode = mode & 0o777;
        return Ok(Some(format!(
            "the mode of its folder is {mode:03o}: chmod o-w it"
        )));
    }
    Ok(None)
}

/// Elsewhere a file inherits who may see it from its folder.
#[cfg(not(unix))]
fn open_to_others(_: &fs::Metadata, _: &Path) -> io::Result<Option<String>> {
    Ok(None)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

fn unavailable(doing: &'static str) -> SecretError {
    SecretError::new(SecretErrorKind::Unavailable, doing)
}
