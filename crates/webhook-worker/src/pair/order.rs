/// What the supervisor wants of a running pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Deliver whatever comes.
    Run,
    /// Deliver up to this sequence number, then go.
    Finish {
        end: u64,
        /// The config version that said so, or a later one.
        version: i64,
    },
    /// Go at once; the bus keeps the rest.
    Stop,
    /// Go at once; nobody wants the rest.
    Remove,
}

impl Order {
    /// Whether an event at `seq` still belongs to the pair.
    pub(super) fn wants(self, seq: u64) -> bool {
        match self {
            Self::Run => true,
            Self::Finish { end, .. } => seq <= end,
            Self::Stop | Self::Remove => false,
        }
    }

    pub(super) fn end(self) -> Option<u64> {
        match self {
            Self::Finish { end, .. } => Some(end),
            Self::Run | Self::Stop | Self::Remove => None,
        }
    }
}
