//! Makes the socket file: private until its mode and group are right, then moved into place.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};

use super::SocketConfig;
use crate::BusError;

/// How long a listener may take to accept before it counts as one that listens: connecting to a
/// local socket is immediate unless its queue is full.
const PROBE: Duration = Duration::from_secs(1);
/// Longest path the system takes for a socket, less the dot of the file that is moved into place.
const MAX_PATH_BYTES: usize = 106;

/// The file of a bound socket; removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file at its path is the one that was made, as far as can be seen.
    pub(super) fn is_there(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            Ok(meta) => meta.ino() == self.inode,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The file was made again.
    pub(super) fn is_now(&mut self, inode: u64) {
        self.inode = inode;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not what another program has put there since.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|it| it.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the bus socket");
        }
    }
}

pub(super) async fn bind(config: &SocketConfig) -> Result<(UnixListener, SocketFile), BusError> {
    let (listener, inode) = listen(config).await?;
    let path = config.path.clone();
    Ok((listener, SocketFile { path, inode }))
}

/// Listens at the path; returns the inode of the file made there.
pub(super) async fn listen(config: &SocketConfig) -> Result<(UnixListener, u64), BusError> {
    let path = &config.path;
    let wrong = |error: io::Error| BusError::Socket {
        path: path.clone(),
        source: Arc::new(error),
    };
    let hidden = hidden(path).map_err(wrong)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(wrong)?;
    }
    if in_use(path).await.map_err(wrong)? {
        return Err(BusError::SocketInUse(path.clone()));
    }
    remove_if_there(&hidden).map_err(wrong)?;
    let listener = UnixListener::bind(&hidden).map_err(wrong)?;
    give_to_group(&hidden, &config.group);
    fs::set_permissions(&hidden, Permissions::from_mode(config.mode)).map_err(wrong)?;
    let inode = fs::symlink_metadata(&hidden).map_err(wrong)?.ino();
    fs::rename(&hidden, path).map_err(wrong)?;
    Ok((listener, inode))
}

/// Where the socket is made before it is moved into place.
fn hidden(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().len() > MAX_PATH_BYTES {
        let text = format!("a socket's path has at most {MAX_PATH_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file name"));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    Ok(path.with_file_name(hidden))
}

/// Whether a program listens there. A file that is no socket is an error, never replaced.
async fn in_use(path: &Path) -> io::Result<bool> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    if !meta.file_type().is_socket() {
        let text = "there is a file that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match tokio::time::timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Somebody accepted, is too busy to, or does not let us in.
        _ => Ok(true),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where there is no such group, the socket stays with the owner's.
fn give_to_group(path: &Path, name: &str) {
    let group = match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => group,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, group = name, "cannot look up the bus socket's group");
            return;
        }
    };
    if let Err(error) = std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())) {
        tracing::warn!(
            %error,
            group = name,
            "cannot give the bus socket to its group: only this user's programs can connect"
        );
    }
}
