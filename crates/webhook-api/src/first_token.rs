//! The token of an installation's first start, which lies in a file until somebody has it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// A token whose first use is told, once.
#[derive(Debug, Clone)]
pub struct FirstToken {
    /// Its own id.
    pub jti: String,
    /// Cancelled when it is used.
    pub used: CancellationToken,
}

/// The same, as requests see it: none costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    is_awaited: AtomicBool,
    token: Option<FirstToken>,
}

impl Watched {
    pub(crate) fn new(token: Option<FirstToken>) -> Self {
        Self {
            is_awaited: AtomicBool::new(token.is_some()),
            token,
        }
    }

    pub(crate) fn used(&self, jti: &str) {
        if !self.is_awaited.load(Ordering::Relaxed) {
            return;
        }
        if let Some(token) = self.token.as_ref().filter(|token| token.jti == jti) {
            token.used.cancel();
            self.is_awaited.store(false, Ordering::Relaxed);
        }
    }
}
