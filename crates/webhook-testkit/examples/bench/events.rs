//! The events of a run: numbered, stamped with the time they were made, about 600 bytes as sent.

use webhook_model::UtcTime;

pub(crate) const TOPIC: &str = "attacker.bench";
/// Brings a body to about 600 bytes.
const PADDING: usize = 420;

pub(crate) fn id(run: u32, n: usize) -> String {
    format!("bench-{run}-{n}")
}

/// The payload; the receiver finds `n`, `run` and `sent_us` in it.
pub(crate) fn payload(run: u32, n: usize) -> String {
    let sent = UtcTime::now().micros();
    let pad = "x".repeat(PADDING);
    format!(r#"{{"n":{n},"pad":"{pad}","run":{run},"sent_us":{sent}}}"#)
}

/// The number after `"key":` in a body.
pub(crate) fn number(body: &[u8], key: &str) -> Option<i64> {
    let key = format!("\"{key}\":");
    let at = body
        .windows(key.len())
        .position(|window| window == key.as_bytes())?
        + key.len();
    let digits = body[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&body[at..at + digits])
        .ok()?
        .parse()
        .ok()
}
