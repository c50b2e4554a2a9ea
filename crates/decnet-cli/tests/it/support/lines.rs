//! What a process says.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::watch,
    task::AbortHandle,
    time::timeout,
};

use super::PATIENCE;

/// Lines of a process, kept as they come.
#[derive(Clone)]
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    reader: AbortHandle,
}

impl Lines {
    pub(crate) fn of(source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let reader = tokio::spawn({
            let lines = lines.clone();
            async move {
                let mut source = BufReader::new(source).lines();
                while let Ok(Some(line)) = source.next_line().await {
                    let mut lines = lines.lock().expect("no panic holds this lock");
                    lines.push(line);
                    counted.send_replace(lines.len());
                }
            }
        });
        let reader = reader.abort_handle();
        Self {
            lines,
            count,
            reader,
        }
    }

    /// Reads no more, and closes the pipe: whoever writes into it from now on gets an error.
    pub(crate) async fn hang_up(&self) {
        self.reader.abort();
        while !self.reader.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until there is nothing more to read: the process has ended.
    pub(crate) async fn end(&self) {
        let mut count = self.count.clone();
        let ended = async { while count.changed().await.is_ok() {} };
        let ended = timeout(PATIENCE, ended).await;
        assert!(ended.is_ok(), "its output goes on: {:#?}", self.all());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().expect("no panic holds this lock").clone()
    }

    /// The first line that `wanted` makes something of.
    #[track_caller]
    pub(crate) fn find<T>(
        &self,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> impl Future<Output = Option<T>> {
        let (lines, mut count) = (self.lines.clone(), self.count.clone());
        async move {
            let mut looked_at = 0;
            let found = async {
                loop {
                    count.borrow_and_update();
                    let found = {
                        let lines = lines.lock().expect("no panic holds this lock");
                        let found = lines[looked_at..].iter().find_map(|line| wanted(line));
                        looked_at = lines.len();
                        found
                    };
                    if found.is_some() || count.changed().await.is_err() {
                        return found;
                    }
                }
            };
            timeout(PATIENCE, found).await.ok().flatten()
        }
    }

    /// Waits until there is a line with this in it.
    pub(crate) async fn wait_for(&self, text: &str) {
        let found = self.find(|line| line.contains(text).then_some(())).await;
        assert!(
            found.is_some(),
            "no line has {text:?} in it: {:#?}",
            self.all()
        );
    }
}
