//! Test receivers.
