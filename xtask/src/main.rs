//! House tasks: `cargo xtask <command>`. One file a command.
//!
//! Knows the workspace from the outside only (cargo, files, processes), never its types, so that
//! it compiles in seconds on a clean clone.

mod bench;
mod cargo;
mod crash;
mod preflight;
mod soak;
mod steps;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
House tasks of this workspace.

Usage: cargo xtask <command>

  test [--full]       what must pass: format, tidy, clippy, docs, tests; --full adds those on
                      MariaDB and the oldest nats-server, and the longest
  tidy [--root DIR]   the house rules as checks (of the workspace in DIR)
  soak [--release] [--alone | --long]
                      each crate's tests alone, then all tests in their long variants, with
                      ten minutes of attack
  bench [--quick] [--write]
                      throughput, latency and isolation, measured on this machine;
                      --write puts the table in docs/benchmarks.md
  help                this text
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        [] | ["help" | "-h" | "--help", ..] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        ["test", flags @ ..] => test::run(flags),
        ["tidy"] => tidy::run(&cargo::workspace_root()),
        ["tidy", "--root", root] => tidy::run(root.as_ref()),
        ["soak", flags @ ..] => soak::run(flags),
        ["bench", flags @ ..] => bench::run(flags),
        other => {
            eprint!("unknown arguments: {}\n\n{HELP}", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
