//! For tests alone: crash points, and a worker whose times fit into a test.

use std::time::Duration;

use fail::FailScenario;
use webhook_worker::WorkerConfig;

use crate::settings::{Env, SettingError};

/// Arms the crash points that `FAILPOINTS` names, e.g. `worker::sent=3*off->return`, for as long as
/// the guard lives.
pub(crate) fn arm() -> FailScenario<'static> {
    FailScenario::setup()
}

/// The defaults, but for what `DECNET_TEST_COOL_DOWN_MS` and `DECNET_TEST_KEEP_DELIVERED_MS` say.
pub(crate) fn haste(env: Env<'_>) -> Result<WorkerConfig, SettingError> {
    let millis = |name| {
        env.parsed(
            name,
            "a number of milliseconds",
            "set it to e.g. 500, or unset it",
            |text| text.parse().ok().map(Duration::from_millis),
        )
    };
    let default = WorkerConfig::default();
    Ok(WorkerConfig {
        cool_down: millis("DECNET_TEST_COOL_DOWN_MS")?.unwrap_or(default.cool_down),
        keep_delivered: millis("DECNET_TEST_KEEP_DELIVERED_MS")?.unwrap_or(default.keep_delivered),
        ..default
    })
}
