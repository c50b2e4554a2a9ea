use anyhow::Context;
use tokio::sync::mpsc;
use webhook_bus::{
    Bus, BusServer, Gap, JetStream, JetStreamConfig, Journal, JournalConfig, Role, SocketConfig,
};

use crate::settings::{BusChoice, ServerSettings};

/// The bus, and its socket where this process is the one to serve it.
pub(super) async fn open_bus(
    settings: &ServerSettings,
    is_worker: bool,
    gaps: mpsc::Sender<Gap>,
) -> anyhow::Result<(Bus, Option<BusServer>)> {
    let serves = match &settings.bus {
        BusChoice::Nats(config) => {
            let config = JetStreamConfig {
                gaps: is_worker.then_some(gaps),
                ..JetStreamConfig::clone(config)
            };
            let bus = JetStream::open(config).await.context("opening the bus")?;
            return Ok((bus.into(), None));
        }
        BusChoice::Embedded { socket } | BusChoice::Broker { socket, .. } if is_worker => {
            Some(socket)
        }
        _ => None,
    };
    let role = if serves.is_some() {
        Role::Worker
    } else {
        Role::Appender
    };
    let embedded = &settings.embedded;
    let journal = JournalConfig {
        gaps: Some(gaps),
        ..embedded.journal(JournalConfig::new(settings.data_dir.journal(), role))
    };
    let bus = Bus::from(Journal::open(journal).await?);
    let socket = match serves {
        Some(path) => {
            let config = embedded.socket(SocketConfig::new(path));
            Some(BusServer::bind(&bus, config).await?)
        }
        None => None,
    };
    Ok((bus, socket))
}
