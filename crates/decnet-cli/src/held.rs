//! Whether another process has a database's file open. SQLite's own locks tell only while a
//! transaction runs or, with a write-ahead log, while a connection is open; the system knows of the
//! rest.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

/// Where SQLite locks a database's file (sqlite.org/fileformat2.html, the lock-byte page).
const FILE_LOCKS: (i64, i64) = (1 << 30, 512);
/// Where it locks the shared memory of a write-ahead log (sqlite.org/walformat.html).
const LOG_LOCKS: (i64, i64) = (120, 9);

/// A process that has the file open, for people; none that can be seen, if none is named.
pub(crate) fn holder(path: &Path) -> io::Result<Option<String>> {
    let mut log = path.as_os_str().to_owned();
    log.push("-shm");
    for (file, locks) in [
        (path.to_owned(), FILE_LOCKS),
        (PathBuf::from(log), LOG_LOCKS),
    ] {
        let file = match File::options().read(true).write(true).open(&file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Some(pid) = locked_by(&file, locks)? {
            return Ok(Some(named(pid)));
        }
    }
    let wanted = fs::metadata(path)?;
    Ok(opened_by((wanted.dev(), wanted.ino())).map(named))
}

fn locked_by(file: &File, (start, length): (i64, i64)) -> io::Result<Option<u32>> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    let is_free = lock.l_type == libc::F_UNLCK as libc::c_short;
    // One of another machine or container has no number here.
    Ok((!is_free).then(|| u32::try_from(lock.l_pid).unwrap_or(0)))
}

/// Looks through what every process has open that this user may look at.
fn opened_by(wanted: (u64, u64)) -> Option<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != process::id())
        .find(|pid: &u32| {
            let files = fs::read_dir(format!("/proc/{pid}/fd"));
            files
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|file| fs::metadata(file.path()).ok())
                .any(|found| (found.dev(), found.ino()) == wanted)
        })
}

fn named(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim() {
        "" => format!("process {pid}"),
        name => format!("process {pid} ({name})"),
    }
}
