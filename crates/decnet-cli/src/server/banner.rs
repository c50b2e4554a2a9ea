use std::path::Path;

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
    fact("data directory", shown(settings.data_dir.path().display()));
    let from = |origin: &Option<String>| match origin {
        Some(origin) => format!(" {DIM}({}){DIM:#}", shown(origin)),
        None => String::new(),
    };
    let origins = &settings.origins;
    let url = shown(settings.database.shown_url());
    fact("database", format_args!("{url}{}", from(&origins.database)));
    fact(
        "bus",
        format_args!("{}{}", shown(&settings.bus), from(&origins.bus)),
    );
    let mut files: Vec<&Path> = Vec::new();
    for (_, file) in &origins.borrowed {
        if !files.contains(&file.as_path()) {
            files.push(file);
        }
    }
    for file in files {
        let names = origins.borrowed.iter().filter(|(_, from)| from == file);
        let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
        fact(
            "of DECNET",
            format_args!("{} from {}", names.join(", "), shown(file.display())),
        );
    }
}

/// Paths may have any character but NUL in them.
pub(crate) fn shown(value: impl std::fmt::Display) -> String {
    output::printable(&value.to_string())
}

/// One line of it.
pub(crate) fn fact(label: &str, value: impl std::fmt::Display) {
    output::say!("  {DIM}{label:<15}{DIM:#} {value}");
}
