//! One connection to the broker, from the greeting to its end.

use std::{io, path::Path, time::Duration};

use futures_util::StreamExt;
use tokio::{
    net::{UnixStream, unix::OwnedReadHalf},
    sync::watch,
    time::timeout,
};
use tokio_util::{codec::FramedRead, sync::CancellationToken};
use webhook_model::TopicPattern;

use super::{FeedStatus, inbox::Inbox, incoming::Incoming, takeover::Gate, writing::Writer};
use crate::{
    journal::Follower,
    socket::{
        complaints::Complaints,
        frame::{FrameDecoder, FrameError},
    },
};

/// How long the broker may take to accept a connection and the greeting: both are immediate unless
/// it is stuck.
const GREETING: Duration = Duration::from_secs(5);
/// A frame of which nothing more comes for this long, up to twice that, will not end.
const FRAME_PAUSE: Duration = Duration::from_secs(5);

/// What a connection works with.
pub(super) struct Feeding<'a> {
    pub(super) inbox: &'a Inbox,
    pub(super) follower: &'a Follower,
    pub(super) gate: &'a Gate,
    pub(super) status: &'a FeedStatus,
    pub(super) complaints: &'a Complaints,
    pub(super) path: &'a Path,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("we go")]
    Orderly,
    #[error("{0}")]
    Unreachable(io::Error),
    #[error("it takes no subscriptions")]
    Deaf,
    #[error("it hung up")]
    HungUp,
    #[error("{0}")]
    Broken(FrameError),
    #[error("a frame began and did not end")]
    Stuck,
}

pub(super) struct Connection(UnixStream);

impl Connection {
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        match timeout(GREETING, UnixStream::connect(path)).await {
            Ok(connected) => connected.map(Self),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Subscribes, then feeds both ways until the broker goes, or `shutdown`.
    pub(super) async fn serve(
        self,
        feeding: Feeding<'_>,
        patterns: &mut watch::Receiver<Vec<TopicPattern>>,
        shutdown: &CancellationToken,
    ) -> Ended {
        let (read, write) = self.0.into_split();
        let mut writer = Writer {
            stream: write,
            follower: feeding.follower,
            status: feeding.status,
            subscribed: Vec::new(),
        };
        let wanted = patterns.borrow_and_update().clone();
        let greeted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ended::Orderly,
            greeted = timeout(GREETING, writer.greet(wanted)) => greeted,
        };
        match greeted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Ended::Unreachable(error),
            Err(_) => return Ended::Deaf,
        }
        let joining = async {
            feeding.gate.open(feeding.path).await?;
            feeding.status.set_connected(true);
            tracing::info!(path = %feeding.path.display(), "connected to DECNET's broker");
            feeding.gate.see_off(feeding.path).await?;
            std::future::pending::<io::Result<()>>().await
        };
        let reading = read_events(read, &feeding);
        let writing = writer.run(patterns, shutdown);
        tokio::pin!(reading);
        tokio::select! {
            ended = &mut reading => ended,
            written = writing => match written {
                Ok(()) => Ended::Orderly,
                // What the broker sent before it went can still be read.
                Err(_) => tokio::select! {
                    ended = reading => ended,
                    () = shutdown.cancelled() => Ended::Orderly,
                },
            },
            Err(error) = joining => Ended::Unreachable(error),
        }
    }
}

async fn read_events(read: OwnedReadHalf, feeding: &Feeding<'_>) -> Ended {
    let mut frames = FramedRead::new(read, FrameDecoder::<Incoming>::default());
    let mut held_before = 0;
    loop {
        let Ok(frame) = timeout(FRAME_PAUSE, frames.next()).await else {
            let held = frames.read_buffer().len() + usize::from(frames.decoder().is_mid_frame());
            if held > 0 && held == held_before {
                return Ended::Stuck;
            }
            held_before = held;
            continue;
        };
        held_before = 0;
        match frame {
            Some(Ok(Incoming::Event(topic, body))) => {
                if feeding.gate.admits(&topic, &body) {
                    feeding.inbox.put(topic, body);
                }
            }
            Some(Ok(Incoming::Unknown(what))) => feeding.complaints.warn(|more| {
                tracing::warn!(what, more, "DECNET's broker says what we do not understand");
            }),
            Some(Err(error)) => return Ended::Broken(error),
            None => return Ended::HungUp,
        }
    }
}
