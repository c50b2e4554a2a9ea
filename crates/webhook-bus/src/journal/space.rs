//! How much disk is left. The last of it is kept for acknowledgements and retention.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long a look at the disk is good for: a second of the fastest publishing needs a tenth of
/// the reserve.
const LOOK: Duration = Duration::from_secs(1);

/// Decides whether there is room to publish.
#[derive(Debug)]
pub(crate) struct Space {
    least: AtomicU64,
    last: std::sync::Mutex<Option<(Instant, Option<u64>)>>,
}

/// Free disk, and what must stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Low {
    pub(crate) free: u64,
    pub(crate) least: u64,
}

impl Space {
    pub(crate) fn new(least: u64) -> Self {
        Self {
            least: AtomicU64::new(least),
            last: std::sync::Mutex::new(None),
        }
    }

    /// Whether too little is left, as of at most a second ago.
    pub(crate) fn low(&self, path: &Path) -> Option<Low> {
        let least = self.least.load(Ordering::Relaxed);
        // Where the system does not say, a full disk says so itself.
        let free = self.free(path).unwrap_or(u64::MAX);
        (free < least).then_some(Low { free, least })
    }

    /// What is left, as of at most a second ago; none where the system does not say.
    pub(crate) fn free(&self, path: &Path) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(|it| it.into_inner());
        match *last {
            Some((at, free)) if at.elapsed() < LOOK => free,
            _ => {
                let free = free_bytes(path).ok();
                *last = Some((Instant::now(), free));
                free
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn set_least(&self, least: u64) {
        self.least.store(least, Ordering::Relaxed);
    }
}

fn free_bytes(path: &Path) -> nix::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_with_what_is_free() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Space::new(0).low(dir.path()), None);
        let low = Space::new(u64::MAX).low(dir.path()).unwrap();
        assert!(low.free > 0 && low.free < low.least);
    }
}
