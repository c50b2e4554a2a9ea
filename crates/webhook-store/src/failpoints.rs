//! Where tests make the process crash: one name for each step after which a crash finds something
//! half done; and where they make a call fail. Without the feature `failpoints` nothing of it is
//! compiled.

/// Ends the process here, as a power cut would, where a test asked for it (`return`); or returns what
/// stands for a failure (`return(error)`).
macro_rules! crash_point {
    ($name:ident) => {
        fail::fail_point!($crate::failpoints::$name, |_| std::process::abort())
    };
    ($name:ident, $failed:expr) => {
        fail::fail_point!($crate::failpoints::$name, |how: Option<String>| match how {
            None => std::process::abort(),
            Some(_) => $failed,
        })
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

/// The tables cannot be read.
#[cfg(feature = "failpoints")]
pub const READING: &str = "store::reading";
/// The configuration's version cannot be read.
#[cfg(feature = "failpoints")]
pub const LOOKING: &str = "store::looking";
/// Due rows cannot be leased.
#[cfg(feature = "failpoints")]
pub const CLAIMING: &str = "store::claiming";
/// The right to probe cannot be had.
#[cfg(feature = "failpoints")]
pub const LEASING: &str = "store::leasing";
/// A recovery cannot be written.
#[cfg(feature = "failpoints")]
pub const RECOVERING: &str = "store::recovering";
/// The other workers cannot be told that this one lives.
#[cfg(feature = "failpoints")]
pub const BEATING: &str = "store::beating";

/// Those at which a call can fail.
#[cfg(feature = "failpoints")]
pub const FAILING: &[&str] = &[
    CREATED, RECORDING, TRIPPING, REPLAYING, REPLAYED, SWEEPING, READING, LOOKING, CLAIMING,
    LEASING, RECOVERING, BEATING,
];

/// How a database fails that is away.
#[cfg(feature = "failpoints")]
pub(crate) fn away() -> crate::StoreError {
    let said = sea_orm::RuntimeErr::Internal("a test lets it be away".to_owned());
    sea_orm::DbErr::Conn(said).into()
}
