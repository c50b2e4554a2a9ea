use webhook_model::UtcTime;

/// Where a message is, from the subject that acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) delivered: u64,
    pub(crate) seq: u64,
    pub(crate) at: UtcTime,
    pub(crate) left: u64,
}

impl Place {
    /// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<seq>.<count>.<nanos>.<left>`
    pub(crate) fn of(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = &tokens[if tokens.len() >= 9 { 2 } else { 0 }..];
        let number = |index: usize| tokens.get(index)?.parse::<u64>().ok();
        Some(Self {
            delivered: number(2)?,
            seq: number(3)?,
            at: UtcTime::from_micros(i64::try_from(number(5)? / 1_000).ok()?),
            left: number(6)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_both_forms() {
        let place = Place {
            delivered: 2,
            seq: 33,
            at: UtcTime::from_micros(1_700_000_000_000_000),
            left: 7,
        };
        for reply in [
            "$JS.ACK.DECNET.c.2.33.40.1700000000000000123.7",
            "$JS.ACK._.hash.DECNET.c.2.33.40.1700000000000000123.7",
            "$JS.ACK.dom.hash.DECNET.c.2.33.40.1700000000000000123.7.token",
        ] {
            assert_eq!(Place::of(reply), Some(place), "{reply}");
        }
        for reply in [
            "",
            "_INBOX.x.1",
            "$JS.ACK.DECNET.c.2",
            "$JS.ACK.a.b.c.d.e.f.g",
        ] {
            assert_eq!(Place::of(reply), None, "{reply}");
        }
    }
}
