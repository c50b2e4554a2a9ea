//! Reads the frames of one client. Of a large one no more is read than its head until it has its share
//! of the memory, and then it has to come.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::AsyncReadExt,
    net::unix::OwnedReadHalf,
    time::{Instant, timeout_at},
};
use tokio_util::codec::Decoder;

use super::{
    frame::{Frame, FrameDecoder, FrameError},
    share::{Budget, SMALL_BYTES, Share},
};

/// What is read at once where nothing larger is under way.
const READ_BYTES: usize = 8 << 10;
/// How long a large frame may take once it is read: it comes from a program on this machine, out of its
/// memory.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// A client's end.
#[derive(Debug)]
pub(super) struct Frames {
    read: OwnedReadHalf,
    input: BytesMut,
    decoder: FrameDecoder<Frame>,
    budget: Budget,
    /// What the frame that is being read has, and by when it has to be there.
    under_way: Option<(Share, Instant)>,
}

impl Frames {
    pub(super) fn new(read: OwnedReadHalf, budget: Budget) -> Self {
        Self {
            read,
            input: BytesMut::new(),
            decoder: FrameDecoder::default(),
            budget,
            under_way: None,
        }
    }

    /// The next frame, and the share that it has to keep while its body is in memory. None at an end
    /// between two frames.
    pub(super) async fn next(&mut self) -> Result<Option<(Frame, Option<Share>)>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.input)? {
                return Ok(Some((frame, self.under_way.take().map(|it| it.0))));
            }
            let announced = self.decoder.announced().unwrap_or(0);
            if announced > SMALL_BYTES && self.under_way.is_none() {
                let share = self.budget.take(announced).await;
                self.under_way = Some((share, Instant::now() + FRAME_TIME));
                self.input.reserve(announced - self.input.len());
            }
            if self.input.capacity() == self.input.len() {
                self.input.reserve(READ_BYTES);
            }
            let reading = self.read.read_buf(&mut self.input);
            let read = match &self.under_way {
                None => reading.await,
                Some((_, until)) => match timeout_at(*until, reading).await {
                    Ok(read) => read,
                    Err(_) => return Err(FrameError::Slow(announced, FRAME_TIME)),
                },
            };
            if read? == 0 {
                let last = self.decoder.decode_eof(&mut self.input)?;
                return Ok(last.map(|frame| (frame, None)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::UnixStream};

    use super::*;
    use crate::socket::share::Shares;

    const LARGE: usize = 1 << 20;

    fn large() -> Vec<u8> {
        let length = u32::try_from(LARGE).unwrap().to_be_bytes();
        [b"PUB a.b\n".as_slice(), &length, &vec![b' '; LARGE]].concat()
    }

    fn client(shares: &Shares) -> (UnixStream, Frames) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (read, write) = ours.into_split();
        write.forget();
        (theirs, Frames::new(read, shares.of(None)))
    }

    #[tokio::test]
    async fn a_large_frame_that_does_not_come_ends_its_connection() {
        let shares = Shares::default();
        let (mut client, mut frames) = client(&shares);
        let sending = async {
            client.write_all(&large()[..LARGE / 2]).await.unwrap();
            tokio::time::pause();
            client
        };
        let (client, read) = tokio::join!(sending, frames.next());
        let text = read.unwrap_err().to_string();
        assert_eq!(
            text,
            "a frame with a body of 1048576 bytes did not come within 10s"
        );
        drop(client);
    }

    #[tokio::test]
    async fn large_frames_wait_for_others_and_small_ones_do_not() {
        let shares = Shares::default();
        let mut held = Vec::new();
        for _ in 0..16 {
            let (mut client, mut frames) = client(&shares);
            let whole = large();
            let (written, read) = tokio::join!(client.write_all(&whole), frames.next());
            written.unwrap();
            held.push(read.unwrap().expect("a frame").1.expect("a share"));
        }
        let (mut small, mut frames) = client(&shares);
        small.write_all(b"PUB a.b\n\0\0\0\x02{}").await.unwrap();
        assert!(matches!(frames.next().await, Ok(Some((_, None)))));

        let (mut waiting, mut frames) = client(&shares);
        let sending = tokio::spawn(async move {
            waiting.write_all(&large()).await.unwrap();
            waiting
        });
        let reading = tokio::spawn(async move { frames.next().await.map(|it| it.is_some()) });
        // It is not read: the system takes in a part of it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!sending.is_finished() && !reading.is_finished());
        held.pop();
        assert!(reading.await.unwrap().unwrap());
        sending.await.unwrap();
    }
}
