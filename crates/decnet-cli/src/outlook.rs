//! When a subscription whose deliveries are held back goes on, in words.

use webhook_model::UtcTime;

use crate::output;

/// What holds a subscription's deliveries back, as the API tells it.
#[derive(Clone, Copy)]
pub(crate) struct Outlook<'a> {
    pub(crate) is_tripped: bool,
    pub(crate) paused_until: Option<&'a str>,
    pub(crate) next_probe_at: Option<&'a str>,
}

impl Outlook<'_> {
    /// Whether its receiver asked for that, and no breaker does.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.is_tripped && self.paused_until.is_some()
    }

    /// What comes of it, and when.
    pub(crate) fn text(&self) -> Option<String> {
        let pause = self.paused_until.map(|until| {
            format!(
                "asked to be left alone until {}",
                output::seconds(Some(until))
            )
        });
        if !self.is_tripped {
            return pause;
        }
        let Some(at) = self.next_probe_at else {
            return Some(
                "not probed any more: `decnet subscriptions enable` it once it is well".to_owned(),
            );
        };
        let left = UtcTime::parse_sql(at).map(|at| at.since(UtcTime::now()).as_secs());
        let probe = match left {
            Ok(0) => "next probe now".to_owned(),
            Ok(left) => format!("next probe in {left} s"),
            Err(_) => format!("next probe {}", output::seconds(Some(at))),
        };
        Some(match pause {
            Some(pause) => format!("{pause}, {probe}"),
            None => probe,
        })
    }
}
