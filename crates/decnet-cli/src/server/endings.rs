//! The parts of a process: each has a name, and how it ended is told by it.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use tokio::task::{Id, JoinSet};
use webhook_worker::DrainReport;

/// How a part ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The worker has stopped as it was told to, over the bus or by this process.
    Worker(DrainReport),
    /// What lives as long as the worker does.
    BesideWorker,
    /// Something else returned; an error where it was not told to.
    Early(&'static str),
    /// It failed or panicked; the error has its name.
    Failed(anyhow::Error),
}

/// Tasks of parts.
#[derive(Debug, Default)]
pub(super) struct PartTasks {
    set: JoinSet<Ended>,
    names: HashMap<Id, &'static str>,
}

impl PartTasks {
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.add(name, async move { part.await.map(|()| Ended::Early(name)) });
    }

    pub(super) fn spawn_beside_worker(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.add(
            name,
            async move { part.await.map(|()| Ended::BesideWorker) },
        );
    }

    pub(super) fn spawn_worker(
        &mut self,
        worker: impl Future<Output = anyhow::Result<DrainReport>> + Send + 'static,
    ) {
        self.add("worker", async move { worker.await.map(Ended::Worker) });
    }

    /// The next one to end; none when all have. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        let ended = self.set.join_next_with_id().await?;
        Some(match ended {
            Ok((id, ended)) => {
                self.names.remove(&id);
                ended
            }
            Err(failed) => {
                let name = self.names.remove(&failed.id()).unwrap_or("nameless part");
                Ended::Failed(anyhow!(failed).context(format!("the {name} failed")))
            }
        })
    }

    /// Ends those that are left where they are.
    pub(super) async fn abort(&mut self) {
        self.set.shutdown().await;
    }

    fn add(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<Ended>> + Send + 'static,
    ) {
        let task = async move { part.await.context(name).unwrap_or_else(Ended::Failed) };
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_fails_or_panics_is_named() {
        let mut tasks = PartTasks::default();
        tasks.spawn("metrics", async { panic!("no luck") });
        let Some(Ended::Failed(error)) = tasks.next().await else {
            panic!("it did not fail");
        };
        assert!(error.to_string().contains("the metrics failed"), "{error}");
        tasks.spawn("API", async { Err(anyhow!("no port")) });
        let Some(Ended::Failed(error)) = tasks.next().await else {
            panic!("it did not fail");
        };
        assert_eq!(format!("{error:#}"), "API: no port");
        tasks.spawn("feed", async { Ok(()) });
        assert!(matches!(tasks.next().await, Some(Ended::Early("feed"))));
        assert!(tasks.next().await.is_none());
    }
}
