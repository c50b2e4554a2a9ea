//! The stream: made, brought into step, or only checked.

use std::sync::Arc;

use serde_json::{Value, json};
use webhook_model::TopicPattern;

use super::{
    api::{Refusal, ask, code, number, text},
    config::JetStreamConfig,
    link::Link,
};
use crate::BusError;

/// Within this time a publication that comes again is recognised; the server keeps the ids in
/// memory.
const DUPLICATE_WINDOW_SECS: u64 = 120;
const NANOS: u64 = 1_000_000_000;

/// A stream as it is now.
#[derive(Debug, Clone)]
pub(super) struct StreamInfo {
    /// Its name and the moment it was made.
    pub(super) incarnation: String,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) bytes: u64,
    /// Whether any server that has it may answer single reads.
    pub(super) direct: bool,
    /// What it captures, as far as topics can be there.
    pub(super) subjects: Arc<[TopicPattern]>,
    config: Value,
}

impl StreamInfo {
    /// Whatever an answer lacks is an error: a stream without its identity would look like another one,
    /// and everything would begin anew on it.
    fn from_answer(answer: Value) -> Result<Self, String> {
        let config = &answer["config"];
        let subjects = config["subjects"].as_array().into_iter().flatten();
        let subjects = subjects.filter_map(|it| TopicPattern::parse(it.as_str()?).ok());
        Ok(Self {
            incarnation: format!(
                "jetstream:{}:{}",
                text(&answer, "/config/name")?,
                text(&answer, "/created")?
            ),
            first_seq: number(&answer, "/state/first_seq")?,
            last_seq: number(&answer, "/state/last_seq")?,
            bytes: number(&answer, "/state/bytes")?,
            direct: config["allow_direct"] == true,
            subjects: subjects.collect(),
            config: answer["config"].clone(),
        })
    }
}

/// The stream as it is; none if there is none.
pub(super) async fn look(link: &Link, name: &str) -> Result<Option<StreamInfo>, BusError> {
    let doing = "reading the stream";
    match ask(link, doing, &format!("STREAM.INFO.{name}"), &json!({})).await? {
        Ok(answer) => match StreamInfo::from_answer(answer) {
            Ok(info) => Ok(Some(info)),
            Err(what) => Err(link.garbled(doing, what)),
        },
        Err(refusal) if refusal.code == code::NO_STREAM => Ok(None),
        Err(refusal) => Err(refusal.error(link, doing)),
    }
}

/// The stream as the settings want it, made or changed where that is allowed.
pub(super) async fn ensure(link: &Link, config: &JetStreamConfig) -> Result<StreamInfo, BusError> {
    let name = &config.stream;
    let Some(found) = look(link, name).await? else {
        if !config.manage {
            return Err(BusError::NoStream(name.clone()));
        }
        let made = put(link, config, "CREATE", &fresh(config)).await?;
        tracing::info!(stream = %name, "made the JetStream stream");
        return Ok(made);
    };
    let unfit = unfit(&found.config);
    if !unfit.is_empty() {
        return Err(BusError::StreamUnfit {
            stream: name.clone(),
            what: unfit.join("; "),
        });
    }
    let lacking: Vec<&str> = (config.subjects.iter())
        .filter(|wanted| !found.subjects.iter().any(|it| it.covers(wanted)))
        .map(TopicPattern::as_str)
        .collect();
    if !config.manage {
        if lacking.is_empty() {
            return Ok(found);
        }
        return Err(BusError::StreamUnfit {
            stream: name.clone(),
            what: format!(
                "it lacks the subjects {}: add them, or name those it has with --nats-subjects",
                lacking.join(", ")
            ),
        });
    }
    match in_step(&found, config, &lacking) {
        Some(changed) => {
            let changed = put(link, config, "UPDATE", &changed).await?;
            tracing::info!(stream = %name, "brought the JetStream stream into step with the settings");
            Ok(changed)
        }
        None => Ok(found),
    }
}

async fn put(
    link: &Link,
    config: &JetStreamConfig,
    verb: &str,
    body: &Value,
) -> Result<StreamInfo, BusError> {
    let name = &config.stream;
    let doing = "setting up the stream";
    let asked = ask(link, doing, &format!("STREAM.{verb}.{name}"), body).await?;
    let answer = asked.map_err(|refusal| match refusal {
        Refusal { code: code::SUBJECTS_TAKEN, .. } => BusError::StreamUnfit {
            stream: name.clone(),
            what: "another stream captures some of its subjects: name that one with --nats-stream and leave it alone with --no-nats-manage-stream, or narrow --nats-subjects".into(),
        },
        refusal => refusal.error(link, doing),
    })?;
    StreamInfo::from_answer(answer).map_err(|what| link.garbled(doing, what))
}

/// A new stream's configuration.
fn fresh(config: &JetStreamConfig) -> Value {
    let age = nanos(config);
    json!({
        "name": config.stream,
        "subjects": config.subjects.iter().map(TopicPattern::as_str).collect::<Vec<_>>(),
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_age": age,
        "max_bytes": max_bytes(config),
        "num_replicas": config.replicas,
        "duplicate_window": (DUPLICATE_WINDOW_SECS * NANOS).min(age),
        "allow_direct": true,
    })
}

/// What has to change in a stream, everything else as it was; none if nothing has to.
fn in_step(found: &StreamInfo, config: &JetStreamConfig, lacking: &[&str]) -> Option<Value> {
    let mut wanted = found.config.clone();
    if let Some(subjects) = wanted["subjects"].as_array_mut() {
        // Narrower ones would overlap.
        subjects.retain(|it| {
            let has = it.as_str().and_then(|text| TopicPattern::parse(text).ok());
            let overlaps = |lacking: &&str| {
                let lacking = TopicPattern::parse(lacking).ok();
                has.as_ref()
                    .zip(lacking)
                    .is_some_and(|(has, lacking)| lacking.covers(has))
            };
            !lacking.iter().any(overlaps)
        });
        subjects.extend(lacking.iter().map(|it| Value::from(*it)));
    }
    wanted["max_age"] = nanos(config).into();
    wanted["max_bytes"] = max_bytes(config).into();
    wanted["num_replicas"] = config.replicas.into();
    let window = wanted["duplicate_window"].as_u64().unwrap_or_default();
    wanted["duplicate_window"] = window.min(nanos(config)).into();
    (wanted != found.config).then_some(wanted)
}

/// Why a stream cannot be the bus, whoever made it.
fn unfit(config: &Value) -> Vec<String> {
    let mut what = Vec::new();
    let retention = config["retention"].as_str().unwrap_or("limits");
    if retention != "limits" {
        what.push(format!(
            "its retention is {retention}, so that one subscriber's acknowledgement takes the event from the others: it must be limits"
        ));
    }
    if config["no_ack"] == true {
        what.push("it does not acknowledge publications (no_ack)".to_owned());
    }
    if config["sealed"] == true {
        what.push("it is sealed".to_owned());
    }
    if !config["mirror"].is_null() {
        what.push("it is a mirror, which takes no publications".to_owned());
    }
    what
}

fn nanos(config: &JetStreamConfig) -> u64 {
    u64::try_from(config.max_age.as_nanos()).unwrap_or(i64::MAX as u64)
}

fn max_bytes(config: &JetStreamConfig) -> i64 {
    config
        .max_bytes
        .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: impl FnOnce(&mut Value)) -> StreamInfo {
        let mut config = fresh(&JetStreamConfig::parse("nats://a").unwrap());
        change(&mut config);
        let state = json!({"first_seq": 1, "last_seq": 0, "bytes": 0});
        let answer = json!({"config": config, "state": state, "created": "c"});
        StreamInfo::from_answer(answer).unwrap()
    }

    #[test]
    fn a_stream_is_never_guessed() {
        let whole = json!({
            "config": {"name": "DECNET"}, "created": "c",
            "state": {"first_seq": 1, "last_seq": 0, "bytes": 0},
        });
        assert!(StreamInfo::from_answer(whole.clone()).is_ok());
        for pointer in [
            "/config/name",
            "/created",
            "/state/first_seq",
            "/state/last_seq",
            "/state/bytes",
        ] {
            let mut odd = whole.clone();
            *odd.pointer_mut(pointer).unwrap() = json!(null);
            let what = StreamInfo::from_answer(odd).unwrap_err();
            assert!(what.ends_with(pointer), "{what}");
        }
    }

    #[test]
    fn a_stream_of_ours_needs_no_change_and_another_ones_extras_stay() {
        let config = JetStreamConfig::parse("nats://a").unwrap();
        assert_eq!(in_step(&found(|_| {}), &config, &[]), None);
        let extra = found(|it| {
            it["description"] = "mine".into();
            it["subjects"] = json!(["attacker.x", "mine.>"]);
            it["max_age"] = 5.into();
        });
        let changed = in_step(&extra, &config, &["attacker.>"]).unwrap();
        assert_eq!(changed["description"], "mine");
        assert_eq!(changed["subjects"], json!(["mine.>", "attacker.>"]));
        assert_eq!(changed["max_age"], 7 * 24 * 3600 * NANOS);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert!(unfit(&found(|_| {}).config).is_empty());
        let config = found(|it| {
            it["retention"] = "workqueue".into();
            it["no_ack"] = true.into();
        });
        let said = unfit(&config.config);
        assert!(
            said[0].contains("workqueue") && said[1].contains("no_ack"),
            "{said:?}"
        );
    }
}
