//! Every file below a folder, a few at a time, from where an earlier walk stopped.

use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;

use super::port::{Entry, Tree};
use crate::{
    content::FileState,
    port_error::{PortError, PortErrorKind},
};

const AT_ONCE: usize = 100;

/// Goes through the folders in the order of their ids, each before those in it, so that a path of
/// ids tells what is done and what is to come.
pub(super) struct Walk<'a> {
    tree: &'a dyn Tree,
    /// From the root down: a folder, and those in it that are to come, the next one last.
    levels: Vec<(String, Vec<String>)>,
    /// Folders of an earlier walk's position that are yet to be gone down.
    resume: Vec<String>,
    /// The folder to read next.
    folder: Option<String>,
}

impl<'a> Walk<'a> {
    /// From this position, which is one of an earlier walk or the root alone.
    pub(super) fn from(tree: &'a dyn Tree, position: &[String]) -> Self {
        let mut resume: Vec<_> = position.iter().rev().cloned().collect();
        Self {
            tree,
            levels: Vec::new(),
            folder: resume.pop(),
            resume,
        }
    }

    /// Where to go on: the folder that is next, below those above it.
    pub(super) fn position(&self) -> Vec<String> {
        let above = self.levels.iter().map(|(folder, _)| folder.clone());
        let below = self.resume.iter().rev().cloned();
        above.chain(self.folder.clone()).chain(below).collect()
    }

    /// The files of the next folder, if there is one. [`end`](Self::end) is to follow.
    pub(super) fn folder(&self) -> Option<Reading<'a>> {
        let folder = self.folder.as_deref()?;
        Some(Reading {
            entries: self.tree.entries(folder),
            folders: Vec::new(),
            // Above the position the files were done by the earlier walk.
            skips_files: !self.resume.is_empty(),
        })
    }

    /// The folder is read, and has these in it.
    pub(super) fn end(&mut self, mut folders: Vec<String>) {
        folders.sort_by(|a, b| order(b).cmp(&order(a)));
        if let Some(next) = self.resume.last() {
            folders.retain(|folder| order(folder) >= order(next));
            if folders.last() != Some(next) {
                // It has gone meanwhile: the one after it is new.
                self.resume.clear();
            } else {
                self.resume.pop();
            }
        }
        if let Some(folder) = self.folder.take() {
            self.levels.push((folder, folders));
        }
        while let Some((_, to_come)) = self.levels.last_mut() {
            self.folder = to_come.pop();
            if self.folder.is_some() {
                return;
            }
            self.levels.pop();
        }
    }
}

/// One folder being read.
pub(super) struct Reading<'a> {
    entries: BoxStream<'a, Result<Entry, PortError>>,
    folders: Vec<String>,
    skips_files: bool,
}

impl Reading<'_> {
    /// Some more files; none at the end.
    pub(super) async fn files(&mut self) -> Result<Vec<FileState>, PortError> {
        let mut files = Vec::new();
        while files.len() < AT_ONCE {
            match self.entries.try_next().await {
                Ok(Some(Entry::File(file))) if !self.skips_files => files.push(file),
                Ok(Some(Entry::File(_))) => {}
                Ok(Some(Entry::Folder(folder))) => self.folders.push(folder.id),
                Ok(None) => break,
                // Deleted while others were read.
                Err(error) if error.kind() == PortErrorKind::Gone => break,
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    /// The folders in it, once all files are read.
    pub(super) fn folders(self) -> Vec<String> {
        self.folders
    }
}

/// Ids are numbers, so the longer one is the larger one.
fn order(id: &str) -> (usize, &str) {
    (id.len(), id)
}
