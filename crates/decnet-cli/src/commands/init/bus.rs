//! DECNET's own broker, where it is installed: our units are pointed at its socket.

use super::plan::Place;
use crate::settings::decnet::{BROKER_UNIT, broker_socket};

/// The socket of the broker that is installed there, if one is.
pub(super) fn socket(place: &Place) -> anyhow::Result<Option<String>> {
    let unit = place.folders.foreign(BROKER_UNIT)?;
    Ok(unit.map(|unit| broker_socket(&unit).display().to_string()))
}

/// What our services need to use it. A variable in decnet.env still comes before it.
pub(super) fn directives(socket: &str) -> (String, String) {
    (
        format!("After={BROKER_UNIT}\nWants={BROKER_UNIT}\n"),
        format!("Environment=DECNET_BUS_SOCKET={socket}\n"),
    )
}
