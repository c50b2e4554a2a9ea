//! Little room, and none to write: a small tmpfs in a mount namespace of the server's own, as root
//! or in a user namespace; where neither may be had, a limit on the size of its files.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{Decnet, Starter};

/// Room on the small disk, in MiB. The bus wants 256 of them free to take events.
const SIZE: u64 = 320;
/// What leaves less than that, and room for outcomes.
const MOST: u64 = 120;

/// Mounts over the data directory, then becomes the program.
const ON_TMPFS: &str =
    r#"mount -t tmpfs -o "size=${SIZE}m" tmpfs "$DECNET_DATA_DIR" && exec "$0" "$@""#;
/// Makes the database's files read-only whatever the user may do.
const READ_ONLY: &str = r#"mount --bind "$DECNET_DATA_DIR" "$DECNET_DATA_DIR" \
    && mount -o remount,ro,bind "$DECNET_DATA_DIR" && exec "$0" "$@""#;
/// A write over the limit fails instead of killing the program.
const LIMITED: &str = r#"trap "" XFSZ; exec "$0" "$@""#;
const UNWRITABLE: &str = r#"chmod -R a-w "$DECNET_DATA_DIR" && exec "$0" "$@""#;

pub(crate) struct Quota {
    dir: PathBuf,
    /// How to get a mount namespace of one's own.
    unshare: Option<&'static [&'static str]>,
}

impl Quota {
    pub(crate) fn new(dir: &Path) -> Self {
        let ways: [&[&str]; 2] = [&["unshare", "--mount"], &["unshare", "-Ur", "--mount"]];
        let works = |way: &&&[&str]| {
            let probe = r#"mount -t tmpfs tmpfs "$0""#;
            Command::new(way[0])
                .args(&way[1..])
                .args(["sh", "-c", probe])
                .arg(dir)
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        Self {
            dir: dir.to_owned(),
            unshare: ways.iter().find(works).copied(),
        }
    }

    /// Without a disk of its own.
    pub(crate) fn of_files(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            unshare: None,
        }
    }

    /// Starts a server on the small disk.
    pub(crate) async fn start(&self, starter: Starter) -> Decnet {
        let script = if self.unshare.is_some() {
            ON_TMPFS
        } else {
            LIMITED
        };
        self.wrap(starter.var("SIZE", &SIZE.to_string()), script)
            .start()
            .await
    }

    /// Starts one that can read its data and write nothing.
    pub(crate) fn start_read_only(&self, starter: Starter) -> Decnet {
        let script = if self.unshare.is_some() {
            READ_ONLY
        } else {
            UNWRITABLE
        };
        self.wrap(starter, script).spawn()
    }

    fn wrap(&self, starter: Starter, script: &str) -> Starter {
        let mut wrapper: Vec<&str> = self.unshare.unwrap_or_default().to_vec();
        wrapper.extend(["sh", "-c", script]);
        starter.wrapped(&wrapper)
    }

    /// Leaves room for acknowledgements, not for events.
    pub(crate) fn fill_most(&self, decnet: &Decnet) {
        if self.unshare.is_some() {
            self.grow(decnet, MOST);
        } else {
            limit(decnet, "0");
        }
    }

    /// Leaves none.
    pub(crate) fn fill(&self, decnet: &Decnet) {
        if self.unshare.is_some() {
            self.grow(decnet, SIZE);
        }
    }

    /// Gives all of it back.
    pub(crate) fn free(&self, decnet: &Decnet) {
        if self.unshare.is_some() {
            fs::remove_file(self.filler(decnet)).expect("the filler can be removed");
        } else {
            limit(decnet, "unlimited");
        }
    }

    /// As the server's own namespace has it.
    fn filler(&self, decnet: &Decnet) -> PathBuf {
        let inside = self.dir.strip_prefix("/").expect("it is absolute");
        Path::new("/proc")
            .join(decnet.pid().to_string())
            .join("root")
            .join(inside)
            .join("filler")
    }

    fn grow(&self, decnet: &Decnet, mebibytes: u64) {
        let path = self.filler(decnet);
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("a filler");
        let block = vec![1; 1 << 16];
        for _ in 0..mebibytes * 16 {
            if file.write_all(&block).is_err() {
                // The last page, too.
                while file.write(&[1; 512]).is_ok_and(|written| written > 0) {}
                return;
            }
        }
    }
}

/// Sets the limit on the size of the files that a running process writes.
fn limit(decnet: &Decnet, bytes: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &decnet.pid().to_string()])
        .arg(format!("--fsize={bytes}:unlimited"))
        .status()
        .expect("prlimit (util-linux) is there");
    assert!(status.success(), "prlimit: {status}");
}
