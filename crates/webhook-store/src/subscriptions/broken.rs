//! Rows of DECNET's table that cannot be used, as an operator needs to see them to mend them.

use std::fmt;

use webhook_model::{FieldError, Settings, State, Subscription, TopicPattern, UtcTime};

use crate::BadRow;

/// A row that gets nothing, because some of its fields cannot be read. What can be read is there.
#[derive(Debug, Clone)]
pub struct BrokenSubscription {
    /// Its id.
    pub uuid: String,
    /// Its name; empty where it cannot be read.
    pub name: String,
    /// Its endpoint without credentials; empty where it cannot be read.
    pub url: String,
    /// Its patterns; none where they cannot be read.
    pub topic_patterns: Vec<TopicPattern>,
    /// Its own settings; the defaults where they cannot be read.
    pub settings: Settings,
    /// Its state; paused where it cannot be read.
    pub state: State,
    /// Failed deliveries since the last success.
    pub consecutive_failures: u32,
    /// When a delivery last succeeded.
    pub last_success_at: Option<UtcTime>,
    /// When one last failed.
    pub last_failure_at: Option<UtcTime>,
    /// Why.
    pub last_error: Option<String>,
    /// When it was created; the beginning of 1970 where that cannot be read.
    pub created_at: UtcTime,
    /// When it was last changed; the beginning of 1970 where that cannot be read.
    pub updated_at: UtcTime,
    /// Every field that cannot be read, by its name in the API, and what is wrong with its value.
    pub faults: Vec<FieldError>,
}

impl BrokenSubscription {
    pub(crate) fn bad_row(&self) -> BadRow {
        let reasons: Vec<String> = self.faults.iter().map(FieldError::to_string).collect();
        BadRow {
            uuid: self.uuid.clone(),
            reason: reasons.join("; "),
        }
    }
}

impl fmt::Display for BrokenSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadRow { uuid, reason } = self.bad_row();
        write!(
            f,
            "the row {uuid} of webhook_subscriptions cannot be read: {reason}; supply what is wrong in a change of the webhook, or delete it"
        )
    }
}

/// A row as a patch meets it.
#[derive(Debug, Clone)]
pub struct Met {
    /// The row; what of it cannot be read is the patch's.
    pub subscription: Subscription,
    /// The fields that cannot be read.
    pub mended: Vec<&'static str>,
}

impl Met {
    /// Whether a field cannot be read and is the patch's.
    pub fn mends(&self, field: &str) -> bool {
        self.mended.contains(&field)
    }
}
