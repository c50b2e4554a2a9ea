//! Where tests make the process crash: one name for each step after which a crash finds something
//! half done. Without the feature `failpoints` nothing of it is compiled.

/// Ends the process here, as a power cut would, where a test asked for it.
macro_rules! crash_point {
    ($name:ident) => {
        fail::fail_point!($crate::failpoints::$name, |_| std::process::abort())
    };
}
pub(crate) use crash_point;

/// The first migration has run, the next has not, and nothing is committed.
#[cfg(feature = "failpoints")]
pub const MIGRATING: &str = "store::migrating";
/// A new subscription and its pairs are committed; the API has not answered.
#[cfg(feature = "failpoints")]
pub const CREATED: &str = "store::created";
/// Outcomes are written and not committed.
#[cfg(feature = "failpoints")]
pub const RECORDING: &str = "store::recording";
/// A subscription is switched off, its breaker not written, nothing committed.
#[cfg(feature = "failpoints")]
pub const TRIPPING: &str = "store::tripping";
/// A replay's rows are queued, its cursor is not moved, nothing committed.
#[cfg(feature = "failpoints")]
pub const REPLAYING: &str = "store::replaying";
/// A replay's rows and cursor are committed; the worker does not know.
#[cfg(feature = "failpoints")]
pub const REPLAYED: &str = "store::replayed";
/// The attempts of old deliveries are removed, the deliveries not, nothing committed.
#[cfg(feature = "failpoints")]
pub const SWEEPING: &str = "store::sweeping";

/// All of them.
#[cfg(feature = "failpoints")]
pub const ALL: &[&str] = &[
    MIGRATING, CREATED, RECORDING, TRIPPING, REPLAYING, REPLAYED, SWEEPING,
];
