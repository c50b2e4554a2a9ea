//! Every command of `docs/migration.md`, in its order, on a stand-in for a DECNET master: the page is
//! what an operator types.

mod standins;

use std::{fs, path::Path};

use rusqlite::Connection;
use serde_json::json;
use webhook_testkit::{Behaviour, Broker, DECNET_SCHEMA, DecnetMaster, Receiver, free_port, tree};

use self::standins::Machine;
use crate::{
    fixture,
    support::{PATIENCE, data_dir},
};

const PAGE: &str = include_str!("../../../../docs/migration.md");

/// The page's blocks of commands.
fn blocks() -> Vec<&'static str> {
    let blocks = PAGE.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// DECNET's database with a subscription of its own.
fn make_database(file: &Path, receiver: &str) {
    let database = Connection::open(file).unwrap();
    for statement in DECNET_SCHEMA {
        database.execute_batch(statement).unwrap();
    }
    let subscription = "INSERT INTO webhook_subscriptions VALUES ('5b0f2f6e', 'siem', ?1, ?2,
        '[\"attacker.>\"]', 1, 0, NULL, NULL, NULL, NULL, '2026-04-24 12:00:00', '2026-04-24 12:00:00')";
    let values = [receiver, fixture::DECNET_SECRET];
    database.execute(subscription, values).unwrap();
}

#[tokio::test]
async fn what_the_page_says_is_what_happens() {
    let dir = data_dir();
    let master = DecnetMaster::below(dir.path());
    master.init().unwrap();
    master
        .write_secrets("DECNET_JWT_SECRET=0123456789abcdef0123456789abcdef\n")
        .unwrap();
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(fixture::DECNET_SECRET)
        .start()
        .await;
    make_database(&master.database(), &receiver.url());
    let broker = Broker::start(master.socket()).await;
    let machine = Machine::new(dir.path(), free_port(), free_port());
    machine.shell("systemctl start decnet-webhook").await;
    let units = tree(&master.units());
    let commands = tree(&dir.path().join("usr/local/bin"));
    let blocks = blocks();
    assert_eq!(blocks.len(), 8, "{blocks:#?}");
    let (change, back) = blocks.split_at(7);

    let mut said = Vec::new();
    for block in change {
        said.push(machine.shell(block).await);
    }
    assert!(said[1].contains("+ExecStart="), "{}", said[1]);
    assert!(said[2].contains("copied decnet.db"), "{}", said[2]);
    assert!(
        said[3].contains("wrote") && said[3].contains("left alone"),
        "{}",
        said[3]
    );
    for word in ["\"ok\"", "DECNET_BUS_SOCKET", "DECNET's own"] {
        assert!(said[5].contains(word), "{}", said[5]);
    }
    assert!(
        said[6].contains("siem") && said[6].contains("alive"),
        "{}",
        said[6]
    );
    let sent = broker.publish("attacker.observed", &json!({"ip": "192.0.2.7"}));
    receiver
        .wait_until(|log| log.times(&sent) == 1, PATIENCE)
        .await;
    assert!(receiver.received().iter().all(|it| it.is_verified()));

    machine.shell(back[0]).await;
    assert_eq!(tree(&master.units()), units);
    assert_eq!(tree(&dir.path().join("usr/local/bin")), commands);
    let log = dir.path().join("var/log/decnet/decnet.webhook.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.trim_end().ends_with("DECNET itself"), "{log}");
}
