//! The bus as other crates and other programs see it.

mod behind;
mod client;
mod kill;
mod many;
mod socket;
mod support;
