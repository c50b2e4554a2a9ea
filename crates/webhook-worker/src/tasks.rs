//! The tasks of a session: each has a name, and one set owns them all. None of them ends before it is
//! told to, so that the end of one is noticed whichever it is.

use std::{collections::HashMap, time::Duration};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::timeout,
};

use crate::WorkerError;

/// A task that panics or ends may take others with it, whose end is noticed first; this long its own is
/// waited for.
const CAUSE: Duration = Duration::from_millis(100);

/// Named tasks; one that ends when another has ended is spawned after it. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, Name>,
    spawned: usize,
}

/// A task's name, and its place among those that were spawned, which it is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    place: usize,
    text: &'static str,
}

impl Tasks {
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.set.spawn(task).id();
        let place = self.spawned;
        self.spawned += 1;
        self.names.insert(id, Name { place, text: name });
    }

    /// Waits for a task to end though none was told to, and says which and how.
    pub(crate) async fn untimely_end(&mut self) -> WorkerError {
        match self.set.join_next_with_id().await {
            Some(Ok((id, ()))) => {
                let mut first = self.forget(id);
                let others = async {
                    while let Some(ended) = self.set.join_next_with_id().await {
                        match ended {
                            Ok((id, ())) => first = first.min(self.forget(id)),
                            Err(failed) => return Some(self.failed(failed)),
                        }
                    }
                    None
                };
                let panicked = timeout(CAUSE, others).await.ok().flatten();
                panicked.unwrap_or(WorkerError::TaskEnded { task: first.text })
            }
            Some(Err(failed)) => self.failed(failed),
            None => std::future::pending().await,
        }
    }

    /// Waits until no task is left but those named; fails with the first that panics. Cancel-safe.
    pub(crate) async fn ended_but(&mut self, late: &[&str]) -> Result<(), WorkerError> {
        while self.names.values().any(|name| !late.contains(&name.text)) {
            match self.set.join_next_with_id().await {
                Some(Ok((id, ()))) => _ = self.forget(id),
                Some(Err(failed)) => return Err(self.failed(failed)),
                None => break,
            }
        }
        Ok(())
    }

    /// Ends those that are left where they are.
    pub(crate) async fn abort(mut self) {
        self.set.shutdown().await;
    }

    fn forget(&mut self, id: Id) -> Name {
        let nameless = Name {
            place: usize::MAX,
            text: "without a name",
        };
        self.names.remove(&id).unwrap_or(nameless)
    }

    fn failed(&mut self, failed: JoinError) -> WorkerError {
        let task = self.forget(failed.id()).text;
        let panic = failed.try_into_panic().ok();
        let said = panic.as_ref().and_then(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        });
        WorkerError::TaskPanicked {
            task,
            said: said.unwrap_or("no message").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("stays", std::future::pending());
        tasks.spawn("returns", async {});
        let ended = tasks.untimely_end().await.to_string();
        assert!(
            ended.starts_with("the worker's task returns ended"),
            "{ended}"
        );
        tasks.spawn("panics", async { panic!("no {}", "luck") });
        let ended = tasks.untimely_end().await.to_string();
        assert!(ended.contains("task panics panicked (no luck)"), "{ended}");
        tasks.abort().await;
    }

    /// What it drops as it returns ends the other before it has ended itself.
    #[tokio::test(start_paused = true)]
    async fn the_one_that_others_end_by_is_named() {
        let (report, mut reports) = tokio::sync::mpsc::channel::<()>(1);
        let mut tasks = Tasks::default();
        tasks.spawn("reports", async move {
            drop(report);
            tokio::time::sleep(CAUSE / 10).await;
        });
        tasks.spawn(
            "listens",
            async move { assert_eq!(reports.recv().await, None) },
        );
        tasks.spawn("stays", std::future::pending());
        let ended = tasks.untimely_end().await.to_string();
        assert!(ended.contains("task reports ended by itself"), "{ended}");
        tasks.abort().await;
    }

    #[tokio::test]
    async fn a_drain_waits_for_all_but_the_late_and_not_for_what_is_gone() {
        let mut tasks = Tasks::default();
        tasks.spawn("late", std::future::pending());
        tasks.spawn("early", tokio::task::yield_now());
        tasks.ended_but(&["late"]).await.unwrap();
        tasks.spawn("stays", std::future::pending());
        tasks.spawn("early", async { panic!("gone") });
        let gone = tasks.ended_but(&["late"]).await.unwrap_err().to_string();
        assert!(gone.contains("task early panicked (gone)"), "{gone}");
        tasks.abort().await;
    }
}
