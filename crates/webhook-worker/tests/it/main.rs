//! The worker against a real store, a real journal and receivers on real sockets.

mod announcing;
mod breaker;
mod decnet;
mod delivery;
mod drain;
mod editing;
mod isolation;
mod locked;
mod many;
mod ordered;
mod outage;
mod poison;
mod redelivery;
mod reload;
mod replay;
mod restart;
mod rig;
mod verdicts;
