//! A server as a process: started, waited for, frozen, killed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::tools;

/// Longest wait for a server to answer, or to go; a loaded machine takes seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// A port that was free may be taken when the server binds it: so many other ones are tried.
pub(crate) const PORTS: usize = 5;

/// The process of one server, its output in a file. Killed when dropped, and with the test's own
/// process (see [`tools::spawn`]).
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn new(name: &'static str, log: PathBuf) -> Self {
        let child = None;
        Self { name, log, child }
    }

    pub(crate) fn start(&mut self, program: &Path, arguments: impl FnOnce(&mut Command)) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a temporary file");
        let child = tools::spawn(program, |command| {
            arguments(command);
            command.stdout(Stdio::null()).stderr(log);
        });
        let child = child.unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        self.child = Some(child);
    }

    /// Waits until `answers` says yes; false once the server has ended by itself.
    ///
    /// # Panics
    /// If it does neither.
    pub(crate) async fn comes_up<F: Future<Output = bool>>(
        &mut self,
        answers: impl Fn() -> F,
    ) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if answers().await {
                return true;
            }
            let child = self.child.as_mut().expect("just started");
            if child.try_wait().expect("a child").is_some() {
                self.child = None;
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("{} does not answer: {}", self.name, self.log());
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child may be killed");
            child.wait().expect("a child may be waited for");
        }
    }

    /// Stops it in its tracks: connections stay, nothing is answered.
    pub(crate) fn freeze(&self) {
        let pid = self.signal(Signal::SIGSTOP);
        // Its threads stop one after the other.
        waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("a child may be waited for");
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) -> Pid {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id().cast_signed());
        kill(pid, signal).expect("a child may be signalled");
        pid
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
