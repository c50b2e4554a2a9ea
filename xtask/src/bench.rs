//! `cargo xtask bench`.
pub(crate) fn run(_flags: &[&str]) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
