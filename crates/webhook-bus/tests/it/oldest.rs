//! The same on the oldest NATS that is promised to work.

use webhook_testkit::{NatsServer, tools::run_tests_again};

#[tokio::test]
#[ignore = "nats-server 2.9: cargo xtask test --full"]
async fn every_test_of_jetstream_passes_on_nats_2_9() {
    let folder = NatsServer::oldest().await;
    let passed = run_tests_again(&["jetstream::"], &folder);
    assert!(passed > 30, "{passed}");
}
