use crate::{
    output::{self, BOLD, DIM},
    settings::ServerSettings,
};

/// Says what is about to run, before it does: these lines are what one needs when it fails.
pub(crate) fn banner(command: &str, settings: &ServerSettings) {
    output::say!(
        "{BOLD}decnet {command}{BOLD:#} {DIM}{}{DIM:#}",
        env!("CARGO_PKG_VERSION")
    );
    fact("data directory", settings.data_dir.path().display());
    fact("database", settings.database.shown_url());
    fact("bus", &settings.bus);
}

/// One line of it.
pub(crate) fn fact(label: &str, value: impl std::fmt::Display) {
    output::say!("  {DIM}{label:<15}{DIM:#} {value}");
}
