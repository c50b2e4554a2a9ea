//! What the handles, the writer and the readers of one opened journal have in common.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{hub::Hub, open_file::OpenFile, schema, space::Space};
use crate::{BusError, Crowded};

/// Connections that read behind the ring. Each has 2 MiB of cache, and two cores are busy with two.
const READERS: usize = 4;
/// How long a failed commit counts as "publishing is refused" when nobody has tried since.
const TROUBLE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) incarnation: Arc<str>,
    pub(crate) space: Space,
    file: OpenFile,
    /// Reads in progress.
    pub(crate) tasks: TaskTracker,
    hub: Mutex<Hub>,
    trouble: Mutex<Option<(Instant, String)>>,
    crowded: Mutex<Option<Crowded>>,
    idle: Mutex<Vec<Connection>>,
    readers: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(
        path: PathBuf,
        file: OpenFile,
        incarnation: &str,
        space: Space,
        hub: Hub,
    ) -> Self {
        Self {
            file,
            path,
            incarnation: incarnation.into(),
            space,
            tasks: TaskTracker::new(),
            hub: Mutex::new(hub),
            trouble: Mutex::new(None),
            crowded: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        lock(&self.hub)
    }

    /// Runs one query on a reading connection. It runs to its end even if nobody waits any more.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BusError> {
        let permit = self.readers.clone().acquire_owned().await;
        let permit = permit.map_err(|_| BusError::Closed)?;
        let shared = self.clone();
        let task = self.tasks.spawn_blocking(move || {
            let _permit = permit;
            let idle = lock(&shared.idle).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => schema::open_reader(&shared.path)?,
            };
            let result = query(&connection);
            lock(&shared.idle).push(connection);
            result
        });
        match task.await {
            Ok(result) => result.map_err(|error| schema::failed("read", &self.path, error)),
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(BusError::Closed),
        }
    }

    /// Closes what reads; those in progress end first.
    pub(crate) async fn close_readers(&self) {
        self.readers.close();
        self.tasks.close();
        self.tasks.wait().await;
        lock(&self.idle).clear();
    }

    /// Notes how the last commit ended.
    pub(crate) fn note(&self, failure: Option<String>) {
        *lock(&self.trouble) = failure.map(|text| (Instant::now(), text));
    }

    /// Notes whether undelivered events have to give way.
    pub(crate) fn set_crowded(&self, crowded: Option<Crowded>) {
        *lock(&self.crowded) = crowded;
    }

    pub(crate) fn crowded(&self) -> Option<Crowded> {
        *lock(&self.crowded)
    }

    /// Fails where the journal's file was moved away since it was opened: what would be written now
    /// would be gone with it.
    pub(crate) fn still_there(&self) -> Result<(), BusError> {
        if self.file.is_gone_from(&self.path) {
            return Err(BusError::Vanished(self.path.clone()));
        }
        Ok(())
    }

    /// Why publishing is refused at present.
    pub(crate) fn refusing(&self) -> Option<String> {
        if let Err(vanished) = self.still_there() {
            return Some(vanished.to_string());
        }
        if let Some(low) = self.space.low(self.directory()) {
            return Some(self.disk_low(low).to_string());
        }
        let trouble = lock(&self.trouble);
        (trouble.as_ref())
            .filter(|(at, _)| at.elapsed() < TROUBLE)
            .map(|(_, text)| text.clone())
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => std::path::Path::new("."),
        }
    }

    pub(crate) fn disk_low(&self, low: super::space::Low) -> BusError {
        BusError::DiskLow {
            path: self.path.clone(),
            free: low.free,
            least: low.least,
        }
    }
}

/// Keeps new events coming into the ring.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Shared>);

impl Hold {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.hub().hold();
        Self(shared.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.hub().unhold();
    }
}

/// A panic elsewhere leaves nothing half-done under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
