//! What retention took before a consumer had acknowledged it.

use std::{collections::HashMap, sync::Weak};

use super::{core::Core, read::next_matching};
use crate::{BusError, Gap};

/// A consumer at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The oldest message that it had not acknowledged; none when there was none.
    oldest: Option<u64>,
    /// What has been told already.
    told: u64,
}

/// What is gone: from the oldest message that was still to come at the last look, as far as it was
/// not acknowledged since, up to where the stream begins now. Who was not behind then has lost
/// nothing: what lies below the stream's beginning was not for it.
fn lost(seen: Seen, floor: u64, first: u64) -> Option<(u64, u64)> {
    let from = seen.oldest?.max(floor + 1).max(seen.told + 1);
    let to = first.checked_sub(1)?;
    (from <= to).then_some((from, to))
}

/// Looks at every open consumer again and again. How many of the lost messages a consumer would
/// have got is not known any more: the count is all that lay between.
pub(super) async fn watch(core: Weak<Core>) {
    let Some(every) = core.upgrade().map(|it| it.config.gap_interval) else {
        return;
    };
    let mut seen: HashMap<String, Seen> = HashMap::new();
    loop {
        tokio::time::sleep(every).await;
        let Some(core) = core.upgrade() else { return };
        // A bus that does not answer is looked at the next time.
        let Ok(stream) = core.stream().await else {
            continue;
        };
        let open = core.consumers();
        seen.retain(|name, _| open.iter().any(|it| it.name() == name));
        for pull in open {
            if pull.incarnation() != stream.incarnation {
                seen.remove(pull.name());
                continue;
            }
            let looked = look(&core, pull.name(), pull.start(), stream.first_seq, &seen).await;
            match looked {
                Ok(Some(now)) => drop(seen.insert(pull.name().to_owned(), now)),
                Ok(None) => drop(seen.remove(pull.name())),
                Err(error) => {
                    tracing::debug!(%error, consumer = pull.name(), "cannot look for gaps now");
                }
            }
        }
    }
}

async fn look(
    core: &Core,
    name: &str,
    start: u64,
    first: u64,
    seen: &HashMap<String, Seen>,
) -> Result<Option<Seen>, BusError> {
    let Some(info) = core.consumer(name).await? else {
        return Ok(None);
    };
    let floor = info.floor.max(start.saturating_sub(1));
    let mut told = 0;
    if let Some(before) = seen.get(name) {
        told = before.told;
        if let Some((from, to)) = lost(*before, floor, first) {
            told = to;
            core.report(Gap {
                consumer: name.to_owned(),
                from,
                to,
                count: to - from + 1,
            });
        }
    }
    let oldest = if info.pending() == 0 {
        None
    } else {
        next_matching(core, floor + 1, &info.filter).await?
    };
    Ok(Some(Seen { oldest, told }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(oldest: Option<u64>, told: u64) -> Seen {
        Seen { oldest, told }
    }

    #[test]
    fn only_what_was_still_to_come_is_lost() {
        // Nothing was.
        assert_eq!(lost(seen(None, 0), 5, 100), None);
        // It is still there.
        assert_eq!(lost(seen(Some(10), 0), 9, 10), None);
        assert_eq!(lost(seen(Some(10), 0), 9, 100), Some((10, 99)));
        // Some was acknowledged since.
        assert_eq!(lost(seen(Some(10), 0), 50, 100), Some((51, 99)));
        assert_eq!(lost(seen(Some(10), 0), 99, 100), None);
        // Nothing is told twice.
        assert_eq!(lost(seen(Some(10), 99), 9, 120), Some((100, 119)));
        assert_eq!(lost(seen(Some(10), 119), 9, 120), None);
        assert_eq!(lost(seen(Some(1), 0), 0, 0), None);
    }
}
