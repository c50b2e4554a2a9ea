//! The receivers' snippets of the README accept a delivery of Standard Webhooks' own libraries and
//! refuse one that was changed. Where their language is not installed there is nothing to run.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

/// A delivery that the public libraries made (Standard Webhooks 1.0).
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: &str = "1614265330";
const BODY: &str = r#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

/// The README's one block in a language.
fn snippet(language: &str) -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let start = format!("```{language}\n");
    let block = readme
        .split(&start)
        .nth(1)
        .expect("a block in that language");
    block.split("```").next().unwrap().to_owned()
}

/// Runs a program that is given on standard input; what it printed, or None without `program`.
fn run(program: &str, args: &[&str], text: &str) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .inspect_err(|_| println!("skipped: there is no {program} here"))
        .ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program} ended with {}",
        output.status
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_python_snippet_verifies() {
    let checks = format!(
        r#"
time.time = lambda: {TIMESTAMP}
headers = {{"webhook-id": "{ID}", "webhook-timestamp": "{TIMESTAMP}", "webhook-signature": "{SIGNATURE}"}}
body = b'{BODY}'
print(verify("{SECRET}", headers, body), verify("{SECRET}", headers, body + b" "))
headers["webhook-signature"] = "v1,old " + headers["webhook-signature"]
print(verify("{SECRET}", headers, body), verify("another secret of some length", headers, body))
time.time = lambda: {TIMESTAMP} + 301
print(verify("{SECRET}", headers, body))
"#
    );
    if let Some(said) = run("python3", &["-"], &(snippet("python") + &checks)) {
        assert_eq!(said, "True False\nTrue False\nFalse\n");
    }
}

#[test]
fn the_node_snippet_verifies() {
    let checks = format!(
        r#"
Date.now = () => {TIMESTAMP}000;
const headers = {{"webhook-id": "{ID}", "webhook-timestamp": "{TIMESTAMP}", "webhook-signature": "{SIGNATURE}"}};
const body = Buffer.from('{BODY}');
console.log(verify("{SECRET}", headers, body), verify("{SECRET}", headers, Buffer.from("x")));
headers["webhook-signature"] = "v1,old " + headers["webhook-signature"];
console.log(verify("{SECRET}", headers, body), verify("another secret of some length", headers, body));
Date.now = () => {TIMESTAMP}000 + 301000;
console.log(verify("{SECRET}", headers, body));
"#
    );
    let args = ["--input-type=module", "-"];
    if let Some(said) = run("node", &args, &(snippet("js") + &checks)) {
        assert_eq!(said, "true false\ntrue false\nfalse\n");
    }
}
