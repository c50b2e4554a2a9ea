//! What retention took before a consumer had acknowledged it.

use std::{collections::HashMap, sync::Weak};

use super::{core::Core, pull::Pull, read::next_matching};
use crate::{BusError, Gap};

/// A consumer at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The oldest message that it had not acknowledged; none when there was none.
    oldest: Option<u64>,
    /// What has been told already.
    told: u64,
}

/// What is gone: from the oldest message that was still to come at the last look up to where the
/// stream begins now. The server moves a consumer's floor past what expires, so only an
/// acknowledgement of ours shows that the floor was reached by work; and a floor beyond the
/// stream's beginning shows that the consumer keeps up. Who was not behind then has lost nothing.
fn lost(seen: Seen, floor: u64, first: u64, acked: bool) -> Option<(u64, u64)> {
    if floor >= first {
        return None;
    }
    let oldest = seen.oldest?.max(seen.told + 1);
    let from = if acked { oldest.max(floor + 1) } else { oldest };
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
            let looked = look(&core, &pull, stream.first_seq, &seen).await;
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
    pull: &Pull,
    first: u64,
    seen: &HashMap<String, Seen>,
) -> Result<Option<Seen>, BusError> {
    let name = pull.name();
    let Some(info) = core.consumer(name).await? else {
        return Ok(None);
    };
    let floor = info.floor.max(pull.start().saturating_sub(1));
    let (mut told, mut still) = (0, None);
    if let Some(before) = seen.get(name) {
        told = before.told;
        // Asked again, it might have gone between the two questions.
        let acked = before.oldest.is_some_and(|seq| pull.has_acked(seq));
        still = before.oldest.filter(|&oldest| !acked && oldest > floor);
        if let Some((from, to)) = lost(*before, floor, first, acked) {
            told = to;
            core.report(Gap {
                consumer: name.to_owned(),
                from,
                to,
                count: to - from + 1,
            });
        }
    }
    let oldest = match still.filter(|&oldest| oldest > told) {
        Some(oldest) => Some(oldest),
        None if info.pending() == 0 => None,
        None => next_matching(core, floor + 1, &info.filter).await?,
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
        assert_eq!(lost(seen(None, 0), 5, 100, false), None);
        // It is still there.
        assert_eq!(lost(seen(Some(10), 0), 9, 10, false), None);
        assert_eq!(lost(seen(Some(10), 0), 9, 100, false), Some((10, 99)));
        // The server moved the floor.
        assert_eq!(lost(seen(Some(10), 0), 99, 100, false), Some((10, 99)));
        // Some was acknowledged since.
        assert_eq!(lost(seen(Some(10), 0), 50, 100, true), Some((51, 99)));
        assert_eq!(lost(seen(Some(10), 0), 99, 100, true), None);
        // It keeps up.
        assert_eq!(lost(seen(Some(10), 0), 200, 100, false), None);
        // Nothing is told twice.
        assert_eq!(lost(seen(Some(10), 99), 9, 120, false), Some((100, 119)));
        assert_eq!(lost(seen(Some(10), 119), 9, 120, false), None);
        assert_eq!(lost(seen(Some(1), 0), 0, 0, false), None);
    }
}
