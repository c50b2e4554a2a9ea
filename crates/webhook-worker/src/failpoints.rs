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

/// Messages are taken off the bus and not sent.
#[cfg(feature = "failpoints")]
pub const TAKEN: &str = "worker::taken";
/// A receiver has answered and nothing is recorded.
#[cfg(feature = "failpoints")]
pub const SENT: &str = "worker::sent";
/// Outcomes are committed and not acknowledged to the bus.
#[cfg(feature = "failpoints")]
pub const RECORDED: &str = "worker::recorded";
/// Outcomes are acknowledged; nobody has heard of them, nor has the disk of the journal.
#[cfg(feature = "failpoints")]
pub const ACKED: &str = "worker::acked";
/// Rows are leased for redelivery and not sent.
#[cfg(feature = "failpoints")]
pub const CLAIMED: &str = "worker::claimed";
/// A trip is committed and not announced.
#[cfg(feature = "failpoints")]
pub const TRIPPED: &str = "worker::tripped";
/// The lease of a probe is taken and nothing sent.
#[cfg(feature = "failpoints")]
pub const PROBING: &str = "worker::probing";
/// A probe has succeeded and the recovery is not written.
#[cfg(feature = "failpoints")]
pub const PROBED: &str = "worker::probed";
/// A recovery is committed and not announced.
#[cfg(feature = "failpoints")]
pub const RECOVERED: &str = "worker::recovered";
/// An ended pair's consumer is gone from the bus, the pair not from the tables.
#[cfg(feature = "failpoints")]
pub const ENDED: &str = "worker::ended";

/// All of them.
#[cfg(feature = "failpoints")]
pub const ALL: &[&str] = &[
    TAKEN, SENT, RECORDED, ACKED, CLAIMED, TRIPPED, PROBING, PROBED, RECOVERED, ENDED,
];

/// Those at which a task comes to its end instead.
#[cfg(feature = "failpoints")]
pub const ENDING: &[&str] = &[RECORDED, ACKED];

#[cfg(all(test, not(feature = "failpoints")))]
mod tests {
    #[test]
    fn nothing_of_it_is_there_unless_it_is_asked_for() {
        assert!(!fail::has_failpoints());
    }
}
