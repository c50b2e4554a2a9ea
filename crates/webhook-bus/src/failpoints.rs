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

/// The journal, or the stream, has taken what it was given; no publisher has been answered.
#[cfg(feature = "failpoints")]
pub const COMMITTED: &str = "bus::committed";

/// All of them.
#[cfg(feature = "failpoints")]
pub const ALL: &[&str] = &[COMMITTED];

/// What is published cannot be written, or the stream's answer to it is lost.
#[cfg(feature = "failpoints")]
pub const WRITING: &str = "bus::writing";
/// A consumer cannot be opened.
#[cfg(feature = "failpoints")]
pub const OPENING: &str = "bus::opening";
/// Messages cannot be taken.
#[cfg(feature = "failpoints")]
pub const TAKING: &str = "bus::taking";
/// A consumer cannot be removed.
#[cfg(feature = "failpoints")]
pub const ENDING: &str = "bus::ending";

/// Those at which a call can fail.
#[cfg(feature = "failpoints")]
pub const FAILING: &[&str] = &[WRITING, OPENING, TAKING, ENDING];

/// How a bus fails that does not answer.
#[cfg(feature = "failpoints")]
pub(crate) fn silence() -> crate::BusError {
    crate::BusError::NatsSilent {
        servers: "a test's".to_owned(),
        doing: "being tested",
    }
}

/// How a disk fails that is full.
#[cfg(feature = "failpoints")]
pub(crate) fn full_disk() -> rusqlite::Error {
    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(full, None)
}
