//! `decnet`.
fn main() {}
