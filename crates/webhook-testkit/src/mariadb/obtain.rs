//! Where MariaDB comes from: `PATH`, where Debian puts it, else Debian's packages, unpacked beside.
//! None of it needs root.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::tools::{debian, fetched, in_path};

const NAME: &str = "mariadbd";
/// Where Debian puts it, which only root has in `PATH`.
const SBIN: &str = "usr/sbin";
/// The server, and those of its libraries that a small installation may not have.
const PACKAGES: [&str; 3] = ["mariadb-server-core", "liburing2", "libnuma1"];

/// What it is run with.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) server: PathBuf,
    /// Its messages and character sets, where it does not find them by itself.
    pub(super) share: Option<PathBuf>,
    /// Libraries of its own.
    pub(super) libraries: Option<PathBuf>,
}

pub(super) fn programs() -> Result<Programs, String> {
    let of_debian = || Some(Path::new("/").join(SBIN).join(NAME)).filter(|it| it.is_file());
    if let Some(server) = in_path(NAME).or_else(of_debian) {
        let (share, libraries) = (None, None);
        return Ok(Programs {
            server,
            share,
            libraries,
        });
    }
    let root = fetched("mariadb", |folder| debian(folder, &PACKAGES))?;
    let libraries = fs::read_dir(root.join("usr/lib")).into_iter().flatten();
    Ok(Programs {
        server: root.join(SBIN).join(NAME),
        share: Some(root.join("usr/share/mysql")),
        // A folder named after the machine's architecture.
        libraries: libraries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|folder| folder.ends_with(format!("{}-linux-gnu", std::env::consts::ARCH))),
    })
}
