//! Which directory holds the data, and the files in it that commands share.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::env::{Env, SettingError};

/// Where a system installation keeps its data.
const SYSTEM_DIR: &str = "/var/lib/decnet";
/// Owner and group only: group members may use the bus socket, others see nothing.
const DIR_MODE: u32 = 0o750;

/// The data directory and the names in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// A directory that exists already.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory a server uses: made when it is missing, and known to be writable.
    pub(crate) fn for_server(env: Env<'_>, flag: Option<&Path>) -> Result<Self, SettingError> {
        if let Some(path) = chosen(env, flag) {
            return open(&path).map_err(|source| SettingError::DataDir { path, source });
        }
        if let Ok(dir) = open(Path::new(SYSTEM_DIR)) {
            return Ok(dir);
        }
        let path = user_dir(env).ok_or(SettingError::NoDataDir)?;
        open(&path).map_err(|source| SettingError::DataDir { path, source })
    }

    /// The directory a client command looks into; nothing is made. Without a choice it is the
    /// first that a server has left its address in.
    pub(crate) fn for_client(env: Env<'_>, flag: Option<&Path>) -> Self {
        if let Some(path) = chosen(env, flag) {
            return Self(path);
        }
        let system = Self(SYSTEM_DIR.into());
        let user = user_dir(env).map(Self);
        [Some(system.clone()), user.clone()]
            .into_iter()
            .flatten()
            .find(|dir| fs::File::open(dir.api_url()).is_ok())
            .or(if system.path().is_dir() {
                Some(system.clone())
            } else {
                user
            })
            .unwrap_or(system)
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The key that tokens are signed with, when no variable gives one.
    pub(crate) fn jwt_secret(&self) -> PathBuf {
        self.0.join("jwt.secret")
    }

    /// The first admin token, when no terminal could show it.
    pub(crate) fn admin_token(&self) -> PathBuf {
        self.0.join("admin.token")
    }

    /// The base URL of the API that runs on this directory.
    pub(crate) fn api_url(&self) -> PathBuf {
        self.0.join("api.url")
    }

    /// The embedded bus's journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal.db")
    }

    /// Where the embedded bus serves DECNET's socket protocol.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("bus.sock")
    }

    /// The default database.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("decnet.db")
    }

    /// The daemon's output.
    pub(crate) fn worker_log(&self) -> PathBuf {
        self.0.join("webhook.log")
    }
}

fn chosen(env: Env<'_>, flag: Option<&Path>) -> Option<PathBuf> {
    flag.map(Path::to_path_buf)
        .or_else(|| env.path("DECNET_DATA_DIR"))
        .map(|path| std::path::absolute(&path).unwrap_or(path))
}

/// The user's data directory of the XDG base directory specification.
fn user_dir(env: Env<'_>) -> Option<PathBuf> {
    env.path("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| env.path("HOME").map(|home| home.join(".local/share")))
        .map(|path| path.join("decnet"))
}

fn open(path: &Path) -> io::Result<DataDir> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)?;
    // Only writing tells: permission bits do not know about read-only mounts and capabilities.
    tempfile::tempfile_in(path)?;
    Ok(DataDir(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_comes_before_variable() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b/c"));
        let vars = [("DECNET_DATA_DIR", a.to_str().unwrap())];
        assert_eq!(DataDir::for_server(Env(&vars), None).unwrap().path(), a);
        assert_eq!(DataDir::for_server(Env(&vars), Some(&b)).unwrap().path(), b);
        assert!(b.is_dir(), "missing parents are made");
    }

    #[test]
    fn a_file_in_the_way_is_named_with_the_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::for_server(Env(&[("X", "")]), Some(file.path())).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(file.path().to_str().unwrap()), "{text}");
        assert!(text.contains("DECNET_DATA_DIR"), "{text}");
    }

    #[test]
    fn the_users_directory_follows_xdg() {
        let vars = [("XDG_DATA_HOME", "/xdg"), ("HOME", "/home/u")];
        assert_eq!(user_dir(Env(&vars)), Some("/xdg/decnet".into()));
        let relative = [("XDG_DATA_HOME", "xdg"), ("HOME", "/home/u")];
        assert_eq!(
            user_dir(Env(&relative)),
            Some("/home/u/.local/share/decnet".into())
        );
        assert_eq!(user_dir(Env(&[("X", "")])), None);
    }

    #[test]
    fn a_client_makes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("not/there");
        let vars = [("DECNET_DATA_DIR", path.to_str().unwrap())];
        assert_eq!(DataDir::for_client(Env(&vars), None).path(), path);
        assert!(!path.exists());
    }
}
