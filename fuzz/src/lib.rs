//! What must hold whatever bytes come from outside: one module for each door that they come in by,
//! each with one `run`, which panics where something does not hold.
//!
//! The same functions are tried in two ways. `tests/bounded.rs` gives each of them its seeds and a
//! bounded number of mutations of them with every `cargo test`; the programs in `fuzz_targets/` hand
//! them to libFuzzer, which looks for as long as it is let:
//!
//! ```text
//! cargo +nightly fuzz run --features libfuzzer frames fuzz/corpus/frames fuzz/seeds/frames -- -max_total_time=60
//! ```
//!
//! An input that broke something becomes a seed, once it is mended. Where the code under test could
//! be wrong in the same way as its check, the check is written anew here, from the contract.

pub mod answers;
pub mod disjoint;
pub mod egress;
pub mod envelopes;
pub mod frames;
mod hmac;
pub mod jwt;
pub mod patterns;
pub mod retry_after;
pub mod signatures;
