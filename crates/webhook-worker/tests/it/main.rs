//! The worker against a real store, a real journal and receivers on real sockets.

mod delivery;
mod drain;
mod editing;
mod isolation;
mod reload;
mod restart;
mod rig;
