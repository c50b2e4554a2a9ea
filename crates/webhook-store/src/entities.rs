//! The tables as sea-orm sees them.
//!
//! `webhook_subscriptions` is DECNET's and has column names only: its rows are decoded one by one,
//! so that a bad one stops no other, and no derived `Debug` ever holds its secret. The same goes for
//! `webhook_settings`, whose headers are secrets.

pub(crate) mod attempt;
pub(crate) mod delivery;
pub(crate) mod gap;
pub(crate) mod meta;
pub(crate) mod pair;
pub(crate) mod replay;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod subscription;
pub(crate) mod token;
pub(crate) mod worker;
