//! Programs that tests start: found, or fetched once, and never left behind.

use std::{
    env,
    fs::{self, File},
    io, iter,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{LazyLock, mpsc},
    thread,
};

/// A program of that name in `PATH`.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The folder of that name under `target/tools`, filled by `fetch` unless an earlier run did so.
/// Several processes may ask at once: one fetches, the others wait for it. What `fetch` leaves
/// half done is not kept.
pub fn fetched(
    name: &str,
    fetch: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let tools = tools();
    let said = |error: io::Error| format!("{}: {error}", tools.display());
    fs::create_dir_all(&tools).map_err(said)?;
    let lock = File::create(tools.join(format!("{name}.lock"))).map_err(said)?;
    lock.lock().map_err(said)?;
    let whole = folder_of(name);
    if whole.exists() {
        return Ok(whole);
    }
    let part = tempfile::tempdir_in(&tools).map_err(said)?;
    fetch(part.path())?;
    fs::rename(part.keep(), &whole).map_err(said)?;
    Ok(whole)
}

/// Downloads packages of Debian's and unpacks them in a folder, for which nobody need be root.
pub fn debian(folder: &Path, packages: &[&str]) -> Result<(), String> {
    let download = || {
        run(Command::new("apt-get")
            .arg("download")
            .args(packages)
            .current_dir(folder))
    };
    // Lists that are missing or old are root's to renew.
    download().or_else(|why| {
        run(Command::new("apt-get").args(["update", "-qq"])).map_err(|_| why)?;
        download()
    })?;
    let files = fs::read_dir(folder).map_err(|error| error.to_string())?;
    for file in files.filter_map(Result::ok).map(|file| file.path()) {
        if file.extension().is_some_and(|it| it == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(folder))?;
            fs::remove_file(&file).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Where [`fetched`] keeps the folder of that name.
pub fn folder_of(name: &str) -> PathBuf {
    tools().join(name)
}

/// Runs those tests of this test program once more whose names contain one of `filters`, with the
/// programs in `folder` before all others. Says how many passed.
///
/// # Panics
/// If one fails, with what it said.
pub fn run_tests_again(filters: &[&str], folder: &Path) -> u32 {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = iter::once(folder.to_owned()).chain(env::split_paths(&path));
    let ended = Command::new(env::current_exe().expect("this program has a path"))
        .args(filters)
        .env(
            "PATH",
            env::join_paths(all).expect("a folder without a colon"),
        )
        .stdin(Stdio::null())
        .output()
        .expect("this program can be started");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}");
    let passed = said.split_once("test result: ok. ");
    passed
        .and_then(|(_, counts)| counts.split(' ').next()?.parse().ok())
        .expect("a test program says how many passed")
}

/// Runs a command to its end; the error is what it said.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let shown = command.get_program().display().to_string();
    let ended = command.stdin(Stdio::null()).output();
    let output = ended.map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!("{shown}: {}", last.unwrap_or("failed")))
}

/// Starts a program that is killed when this process ends, however that ends, where `setpriv`
/// (util-linux) is there to arrange it; else it is up to the caller's `Drop`.
pub fn spawn(program: &Path, arguments: impl FnOnce(&mut Command)) -> io::Result<Child> {
    let mut command = match in_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.stdin(Stdio::null());
    arguments(&mut command);
    let (reply, answer) = mpsc::channel();
    // The kernel ties the child to the thread that started it, so that one must stay.
    let asked = SPAWNER.send((command, reply));
    asked.expect("the spawning thread lives as long as the process");
    answer.recv().expect("it answers")
}

type Spawn = (Command, mpsc::Sender<io::Result<Child>>);

static SPAWNER: LazyLock<mpsc::Sender<Spawn>> = LazyLock::new(|| {
    let (commands, todo) = mpsc::channel::<Spawn>();
    thread::spawn(move || {
        for (mut command, reply) in todo {
            // Nobody waits any more: the handle is dropped, the child goes with the process.
            let _ = reply.send(command.spawn());
        }
    });
    commands
});

fn tools() -> PathBuf {
    target().join("tools")
}

/// The build folder that this program lies in, else the system's temporary one.
fn target() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map_or_else(|| env::temp_dir().join("decnet-tests"), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_stays_and_a_failure_leaves_nothing() {
        let name = format!("test-{}", std::process::id());
        let failed = fetched(&name, |_| Err("no network".to_owned()));
        assert_eq!(failed.unwrap_err(), "no network");
        let first = fetched(&name, |part| {
            fs::write(part.join("tool"), "x").map_err(|error| error.to_string())
        });
        let again = fetched(&name, |_| Err("fetched twice".to_owned()));
        assert_eq!(first, again);
        assert!(again.unwrap().join("tool").is_file());
        fs::remove_dir_all(first.unwrap()).unwrap();
        fs::remove_file(folder_of(&format!("{name}.lock"))).unwrap();
    }

    #[test]
    fn a_failing_command_says_what_it_said() {
        let said = run(Command::new("sh").args(["-c", "echo because >&2; exit 3"]));
        assert_eq!(said.unwrap_err(), "sh: because");
        assert!(run(&mut Command::new("no-such-program")).is_err());
    }
}
