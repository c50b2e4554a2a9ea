//! A file that is open stays what it is though its name is taken away: SQLite would go on writing into
//! a journal that the next start does not find.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// A file as it was when it was opened: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFile(u64, u64);

impl OpenFile {
    /// The file that is at the path now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self(found.dev(), found.ino()))
    }

    /// Whether the path leads to another file by now, or to none.
    pub(crate) fn is_gone_from(self, path: &Path) -> bool {
        match Self::at(path) {
            Ok(found) => found != self,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_gone_once_its_name_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&path, "").unwrap();
        let open = OpenFile::at(&path).unwrap();
        assert!(!open.is_gone_from(&path));
        fs::rename(&path, &aside).unwrap();
        assert!(open.is_gone_from(&path));
        fs::write(&path, "").unwrap();
        assert!(open.is_gone_from(&path));
        fs::rename(&aside, &path).unwrap();
        assert!(!open.is_gone_from(&path));
    }
}
