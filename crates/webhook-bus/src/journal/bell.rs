//! Tells the worker's process that another one has appended, so that it need not wait for its next
//! look: a datagram without content to a socket beside the journal. It carries nothing and may get
//! lost; the look that comes anyway finds whatever it would have told.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// Where it hangs.
fn path(journal: &Path) -> PathBuf {
    journal.with_extension("bell")
}

/// What an appender rings.
#[derive(Debug)]
pub(crate) struct Bell {
    socket: Option<UnixDatagram>,
    path: PathBuf,
}

impl Bell {
    /// A socket that cannot be had leaves the worker to its looks.
    pub(crate) fn new(journal: &Path) -> Self {
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Self {
            socket: socket.ok(),
            path: path(journal),
        }
    }

    /// Never waits: where nobody listens, or many rings are unheard, there is nothing to tell.
    pub(crate) fn ring(&self) {
        if let Some(socket) = &self.socket {
            let _ = socket.send_to(&[], &self.path);
        }
    }
}

/// The worker's ear. The worker holds the journal's lock, so whatever hangs there is a dead one's.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixDatagram,
    path: PathBuf,
    gone: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Calls `heard` for each ring, on a thread of its own.
    pub(crate) fn start(journal: &Path, heard: impl Fn() + Send + 'static) -> io::Result<Self> {
        let path = path(journal);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        // As the journal itself: for whoever may append.
        fs::set_permissions(&path, fs::metadata(journal)?.permissions())?;
        let gone = Arc::new(AtomicBool::new(false));
        let (ear, end) = (socket.try_clone()?, gone.clone());
        let thread = std::thread::Builder::new()
            .name("journal-bell".to_owned())
            .spawn(move || {
                while ear.recv(&mut [0]).is_ok() && !end.load(Ordering::Acquire) {
                    heard();
                }
            })?;
        Ok(Self {
            socket,
            path,
            gone,
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        let _ = fs::remove_file(&self.path);
        // Whoever receives is given an empty datagram.
        let woken = self.socket.shutdown(std::net::Shutdown::Both);
        if let (Ok(()), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_ring_is_heard_and_a_dead_workers_bell_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal.db");
        fs::write(&journal, "").unwrap();
        let bell = Bell::new(&journal);
        bell.ring();
        drop(UnixDatagram::bind(path(&journal)).unwrap());
        bell.ring();
        let (heard, rings) = mpsc::channel();
        let listener = Listener::start(&journal, move || heard.send(()).unwrap()).unwrap();
        bell.ring();
        rings.recv().unwrap();
        drop(listener);
        assert!(!path(&journal).exists());
        assert!(rings.recv().is_err(), "its thread has ended");
        bell.ring();
    }
}
