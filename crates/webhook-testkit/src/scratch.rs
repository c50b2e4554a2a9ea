//! Where a server of a test keeps its data.

use std::{
    env,
    fs::{self, File},
    io,
    path::Path,
};

use tempfile::TempDir;

/// How the names of these directories begin.
const PREFIX: &str = "decnet-db-";
/// The file in them that their process keeps locked.
const OWNER: &str = "owner";

/// A temporary directory that goes when it is dropped, or else with the next one that is made after
/// its process ended: a shared server is never dropped, as no static is.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: TempDir,
    /// Locked while this process lives.
    _owner: File,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        sweep(&env::temp_dir());
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .expect("a temporary directory");
        let owner = own(dir.path()).expect("a temporary file");
        Self { dir, _owner: owner }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Marks a directory as that of a living process. The mark is locked before it has its name, so
/// that nobody finds it without.
fn own(dir: &Path) -> io::Result<File> {
    let owner = File::create(dir.join("owner.new"))?;
    owner.lock()?;
    fs::rename(dir.join("owner.new"), dir.join(OWNER))?;
    Ok(owner)
}

/// Removes what processes left behind that are gone.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let owner = File::open(entry.path().join(OWNER));
        if owner.is_ok_and(|owner| owner.try_lock().is_ok()) {
            // Another process may be at it, too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_processes_left_is_swept() {
        let folder = crate::temp_dir();
        let made = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (alive, dead) = (made("decnet-db-alive"), made("decnet-db-dead"));
        let (young, other) = (made("decnet-db-young"), made("other"));
        let _owner = own(&alive).unwrap();
        drop(own(&dead).unwrap());
        drop(own(&other).unwrap());
        sweep(folder.path());
        assert!(alive.exists() && young.exists() && other.exists());
        assert!(!dead.exists());
    }
}
