use super::{attributes, leftovers, library_purity, machine_paths, server_signals};
use crate::tidy::{
    Finding,
    facts::{Facts, File},
};

#[track_caller]
fn check(rule: fn(&Facts) -> Vec<Finding>, path: &str, text: &str, expected_lines: &[usize]) {
    let file = File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let found = rule(&Facts {
        files: vec![file],
        ..Facts::default()
    });
    let expected: Vec<String> = expected_lines
        .iter()
        .map(|line| format!("{path}:{line}"))
        .collect();
    let places: Vec<&str> = found.iter().map(|it| it.place.as_str()).collect();
    assert_eq!(places, expected, "{found:?}");
}

#[test]
fn paths_of_a_machine() {
    check(machine_paths, "docs/a.md", "see /work/main\n", &[1]);
    check(
        machine_paths,
        ".cargo/config.toml",
        "[alias]\n[source.crates-io]\n",
        &[2],
    );
    check(
        machine_paths,
        "README.md",
        "https://siem.example/work\n/var/lib/decnet\n",
        &[],
    );
}

#[test]
fn what_was_left_for_later() {
    check(leftovers, "a.md", "ok\nTODO: more\n", &[2]);
    check(leftovers, "a.rs", "fn f() {\n    todo!()\n}\n", &[2]);
    check(
        leftovers,
        "a.rs",
        "let mktemp = \"aXXXXXX\";\n// todo!() is denied\n",
        &[],
    );
    check(leftovers, "xtask/src/tidy/sources.rs", "TODO\n", &[]);
}

#[test]
fn attributes_without_reasons() {
    check(attributes, "a.rs", "#[allow(dead_code)]\nfn f() {}\n", &[1]);
    check(attributes, "a.rs", "#![allow(missing_docs)]\n", &[1]);
    check(attributes, "a.rs", "    #[ignore]\n", &[1]);
    check(
        attributes,
        "a.rs",
        "#[expect(lint, reason = \"r\")]\n#[ignore = \"r\"]\n",
        &[],
    );
}

#[test]
fn libraries_leave_the_process_alone() {
    let library = "crates/webhook-bus/src/journal.rs";
    check(
        library_purity,
        library,
        "let x = std::env::var(\"X\");\n",
        &[1],
    );
    check(
        library_purity,
        library,
        "use tokio::signal;\nprintln!(\"x\");\n",
        &[1, 2],
    );
    check(
        library_purity,
        library,
        "const V: &str = env!(\"CARGO_PKG_VERSION\");\n",
        &[],
    );
    check(
        library_purity,
        library,
        "//! println!(\"in an example\");\n",
        &[],
    );
    check(
        library_purity,
        library,
        "#[cfg(test)]\nmod tests {\n println!(\"x\");\n}\n",
        &[],
    );
    check(
        library_purity,
        library,
        "#[cfg(test)]\nmod tests;\nprintln!(\"x\");\n",
        &[3],
    );
    check(
        library_purity,
        "crates/webhook-bus/src/journal/tests.rs",
        "println!(\"x\");\n",
        &[],
    );
    check(
        library_purity,
        "crates/webhook-bus/tests/it/main.rs",
        "println!(\"x\");\n",
        &[],
    );
    check(
        library_purity,
        "crates/decnet-cli/src/main.rs",
        "println!(\"x\");\n",
        &[],
    );
}

#[test]
fn servers_leave_signals_alone() {
    let path = "crates/webhook-api/src/server.rs";
    let file = |text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let facts = |text| Facts {
        files: vec![file(text)],
        ..Facts::default()
    };
    assert_eq!(
        server_signals(&facts("HttpServer::new(app)\n.disable_signals()\n")),
        []
    );
    assert_eq!(
        server_signals(&facts("HttpServer::new(app).run()\n")).len(),
        1
    );
}
