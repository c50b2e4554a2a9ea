//! The bus as other crates and other programs see it.

mod behind;
mod client;
mod copy;
mod feed;
mod jetstream;
mod kill;
mod many;
mod memory;
mod model;
mod oldest;
mod socket;
mod support;
