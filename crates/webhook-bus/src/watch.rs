use crate::{Message, jetstream::CoreWatch, journal::JournalWatch};

/// New messages that match a pattern. One that is not read fast enough skips some, and says so in
/// the log.
#[derive(Debug)]
pub struct Watch(Inner);

#[derive(Debug)]
enum Inner {
    Journal(JournalWatch),
    JetStream(CoreWatch),
}

impl Watch {
    /// The next message; none once the bus is closed. On JetStream its `seq` is 0 and its time the
    /// one of its arrival here. Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        match &mut self.0 {
            Inner::Journal(watch) => watch.next().await,
            Inner::JetStream(watch) => watch.next().await,
        }
    }

    /// How many messages it skipped so far, as far as that is known.
    pub fn skipped(&self) -> u64 {
        match &self.0 {
            Inner::Journal(watch) => watch.skipped(),
            Inner::JetStream(_) => 0,
        }
    }
}

impl From<JournalWatch> for Watch {
    fn from(watch: JournalWatch) -> Self {
        Self(Inner::Journal(watch))
    }
}

impl From<CoreWatch> for Watch {
    fn from(watch: CoreWatch) -> Self {
        Self(Inner::JetStream(watch))
    }
}
