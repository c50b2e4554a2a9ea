//! Lines of a file that may be growing, rotated or cut short while it is read.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use webhook_model::MAX_EVENT_BYTES;

/// Pause between two looks at a followed file: half of the 100 ms in which an event should leave.
const POLL: Duration = Duration::from_millis(50);
/// How long a rotated file is still read: its writer goes on until it is told to reopen.
const RETIRED_FOR: Duration = Duration::from_secs(5);
/// Longest line that is kept. A payload over the event limit is refused anyway.
const MAX_LINE_BYTES: usize = MAX_EVENT_BYTES;
/// Read at once; large enough to make system calls rare.
const CHUNK_BYTES: usize = 64 * 1024;

/// Whether to go on at the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// The end is the end.
    No,
    /// Wait for more, as `tail -F` does.
    Yes,
}

/// One line, without its line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1, empty lines included.
    pub(crate) number: u64,
    /// Bytes read up to its end.
    pub(crate) end: u64,
    /// Its text, or why it has none.
    pub(crate) text: Result<String, LineError>,
}

/// Why a line is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    #[error("is longer than {MAX_LINE_BYTES} bytes, the most an event may have")]
    TooLong,
    #[error("is not valid UTF-8")]
    NotUtf8,
}

/// Reads lines into `lines` until the end, `stop`, or the receiver is gone. Blocks: give it a
/// thread of its own. `-` is standard input.
pub(crate) fn read_lines(
    path: &Path,
    follow: Follow,
    lines: Sender<Line>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut out = Out {
        lines,
        number: 0,
        end: 0,
        stop,
    };
    let done = if path.as_os_str() == "-" {
        out.all(&mut Splitter::default(), io::stdin().lock())
    } else if follow == Follow::No {
        out.all(&mut Splitter::default(), File::open(path)?)
    } else {
        out.follow(path)
    };
    match done {
        Err(Ended::Failed(error)) => Err(error),
        Ok(()) | Err(Ended::Stopped) => Ok(()),
    }
}

/// Why reading ends early.
enum Ended {
    Stopped,
    Failed(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Numbers the lines and hands them on.
struct Out<'a> {
    lines: Sender<Line>,
    number: u64,
    end: u64,
    stop: &'a CancellationToken,
}

impl Out<'_> {
    fn all(&mut self, splitter: &mut Splitter, mut source: impl Read) -> Result<(), Ended> {
        self.available(splitter, &mut source)?;
        self.rest(splitter)
    }

    /// What can be read now; returns how much that was.
    fn available(&mut self, splitter: &mut Splitter, source: &mut impl Read) -> Result<u64, Ended> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut total = 0;
        loop {
            self.check()?;
            let count = match source.read(&mut chunk) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            total += count as u64;
            let before = self.end;
            let mut rest = &chunk[..count];
            while let Some(line) = splitter.next(&mut rest) {
                self.end = before + (count - rest.len()) as u64;
                self.hand_on(line)?;
            }
            self.end = before + count as u64;
        }
    }

    /// A last line without a line break.
    fn rest(&mut self, splitter: &mut Splitter) -> Result<(), Ended> {
        match splitter.rest() {
            Some(line) => self.hand_on(line),
            None => Ok(()),
        }
    }

    fn follow(&mut self, path: &Path) -> Result<(), Ended> {
        let mut current: Option<Followed> = None;
        let mut retired: Option<(Followed, Instant)> = None;
        loop {
            self.check()?;
            if let Some((old, until)) = &mut retired {
                self.available(&mut old.splitter, &mut old.file)?;
                if Instant::now() >= *until {
                    self.rest(&mut old.splitter)?;
                    retired = None;
                }
            }
            if let Some(followed) = &mut current {
                followed.position += self.available(&mut followed.splitter, &mut followed.file)?;
            }
            match (fs::metadata(path), &mut current) {
                (Ok(found), Some(followed)) if followed.is(&found) => {
                    if found.len() < followed.position {
                        self.rest(&mut followed.splitter)?;
                        followed.file.rewind()?;
                        followed.position = 0;
                        continue;
                    }
                }
                (Ok(_), _) => {
                    // Another file has the name now, or the first one has come.
                    if let Ok(next) = Followed::open(path) {
                        if let Some((mut old, _)) = retired.take() {
                            self.rest(&mut old.splitter)?;
                        }
                        retired = current
                            .replace(next)
                            .map(|old| (old, Instant::now() + RETIRED_FOR));
                        continue;
                    }
                }
                // Between a rotation's two steps, or not made yet.
                (Err(_), _) => {}
            }
            thread::sleep(POLL);
        }
    }

    fn hand_on(&mut self, text: Result<String, LineError>) -> Result<(), Ended> {
        self.number += 1;
        if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            return Ok(());
        }
        let line = Line {
            number: self.number,
            end: self.end,
            text,
        };
        self.lines.blocking_send(line).map_err(|_| Ended::Stopped)
    }

    fn check(&self) -> Result<(), Ended> {
        if self.stop.is_cancelled() || self.lines.is_closed() {
            Err(Ended::Stopped)
        } else {
            Ok(())
        }
    }
}

struct Followed {
    file: File,
    device_and_inode: (u64, u64),
    position: u64,
    splitter: Splitter,
}

impl Followed {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            device_and_inode: (metadata.dev(), metadata.ino()),
            position: 0,
            splitter: Splitter::default(),
        })
    }

    fn is(&self, found: &fs::Metadata) -> bool {
        self.device_and_inode == (found.dev(), found.ino())
    }
}

/// Cuts bytes into lines, however they come, and never holds more than one line of the limit.
#[derive(Default)]
struct Splitter {
    partial: Vec<u8>,
    too_long: bool,
}

impl Splitter {
    /// Takes bytes off `rest` up to a line's end; `None` when there is no end in it.
    fn next(&mut self, rest: &mut &[u8]) -> Option<Result<String, LineError>> {
        match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                self.keep(&rest[..end]);
                *rest = &rest[end + 1..];
                Some(self.take())
            }
            None => {
                self.keep(rest);
                *rest = &[];
                None
            }
        }
    }

    fn rest(&mut self) -> Option<Result<String, LineError>> {
        (self.too_long || !self.partial.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One more than the limit for a carriage return.
        if self.too_long || self.partial.len() + bytes.len() > MAX_LINE_BYTES + 1 {
            self.too_long = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn take(&mut self) -> Result<String, LineError> {
        if std::mem::take(&mut self.too_long) {
            return Err(LineError::TooLong);
        }
        if self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        String::from_utf8(std::mem::take(&mut self.partial)).map_err(|_| LineError::NotUtf8)
    }
}

#[cfg(test)]
mod tests;
