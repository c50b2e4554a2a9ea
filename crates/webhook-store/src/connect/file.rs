//! A file that is open stays what it is though its name is taken away: SQLite would go on writing into
//! a database that the next start does not find.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::StoreError;

/// A file as it was when it was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenFile {
    /// The file that is at the path now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Fails where the path leads to another file by now, or to none.
    pub(crate) fn still_there(&self) -> Result<(), StoreError> {
        let same = |found: &fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        match fs::metadata(&self.path) {
            Ok(found) if same(&found) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Ok(()),
            _ => Err(StoreError::Vanished(self.path.clone())),
        }
    }
}
