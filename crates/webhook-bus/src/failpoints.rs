//! Where tests make the process crash: one name for each step after which a crash finds something
//! half done. Without the feature `failpoints` nothing of it is compiled.

/// Ends the process here, as a power cut would, where a test asked for it.
macro_rules! crash_point {
    ($name:ident) => {
        fail::fail_point!($crate::failpoints::$name, |_| std::process::abort())
    };
}
pub(crate) use crash_point;

/// The journal, or the stream, has taken what it was given; no publisher has been answered.
#[cfg(feature = "failpoints")]
pub const COMMITTED: &str = "bus::committed";

/// All of them.
#[cfg(feature = "failpoints")]
pub const ALL: &[&str] = &[COMMITTED];
