use std::{fmt, str::FromStr};

use crate::topic::shown;

/// Where a delivery stands. The order is the rule: a recorded status only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliveryStatus {
    /// Failed for now; another round is due.
    Retrying,
    /// Given up, kept with its body as a dead letter.
    Dead,
    /// The receiver answered 2xx.
    Delivered,
}

/// A text that names no [`DeliveryStatus`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no delivery status; use retrying, delivered or dead")]
pub struct UnknownStatus(String);

impl DeliveryStatus {
    /// The status as the API shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Dead => "dead",
            Self::Delivered => "delivered",
        }
    }
}

impl FromStr for DeliveryStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Retrying, Self::Dead, Self::Delivered]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownStatus(shown(text)))
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
