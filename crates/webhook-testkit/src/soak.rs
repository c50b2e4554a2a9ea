/// Whether long tests run at full length: `DECNET_SOAK=1`, as `cargo xtask soak` sets it.
pub fn soak() -> bool {
    std::env::var_os("DECNET_SOAK").is_some_and(|value| value == "1")
}

/// `long` in a soak, else `short`.
pub fn long_or_short<T>(long: T, short: T) -> T {
    if soak() { long } else { short }
}
