//! What a minimal Rust toolchain lacks, named before anything is started.

use std::env;

use anyhow::bail;

use crate::cargo::{answers, cargo};

/// Fails with the exact commands that put right what is missing.
pub(crate) fn check() -> anyhow::Result<()> {
    let missing = Missing {
        rustfmt: !subcommand("fmt"),
        clippy: !subcommand("clippy"),
        c_compiler: !answers(
            env::var_os("CC").unwrap_or_else(|| "cc".into()),
            &["--version"],
        ),
    };
    match missing.advice() {
        advice if advice.is_empty() => Ok(()),
        advice => bail!("this machine lacks\n{}", advice.join("\n")),
    }
}

fn subcommand(name: &str) -> bool {
    cargo()
        .args([name, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

struct Missing {
    rustfmt: bool,
    clippy: bool,
    c_compiler: bool,
}

impl Missing {
    fn advice(&self) -> Vec<String> {
        let components: Vec<&str> = [(self.rustfmt, "rustfmt"), (self.clippy, "clippy")]
            .into_iter()
            .filter_map(|(missing, name)| missing.then_some(name))
            .collect();
        let mut advice = Vec::new();
        if !components.is_empty() {
            advice.push(format!(
                "  {} (format and lints):  rustup component add {}",
                components.join(" and "),
                components.join(" ")
            ));
        }
        if self.c_compiler {
            advice.push(
                "  a C compiler (SQLite and ring are built from source):  \
                 apt-get install gcc libc6-dev  |  dnf install gcc  |  xcode-select --install"
                    .to_owned(),
            );
        }
        advice
    }
}

#[cfg(test)]
mod tests {
    use super::Missing;

    #[track_caller]
    fn check(rustfmt: bool, clippy: bool, c_compiler: bool, expected: &[&str]) {
        let advice = Missing {
            rustfmt,
            clippy,
            c_compiler,
        }
        .advice()
        .join("\n");
        assert_eq!(advice.is_empty(), expected.is_empty());
        for part in expected {
            assert!(advice.contains(part), "{advice:?} lacks {part:?}");
        }
    }

    #[test]
    fn names_the_exact_command() {
        check(false, false, false, &[]);
        check(true, true, false, &["rustup component add rustfmt clippy"]);
        check(false, true, false, &["rustup component add clippy"]);
        check(false, false, true, &["a C compiler", "apt-get install gcc"]);
    }
}
