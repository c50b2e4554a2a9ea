use super::*;

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn databases_are_apart_and_outlive_a_kill() {
    let mut server = MariaDb::start().await;
    let (one, two) = (server.database().await, server.database().await);
    assert_ne!(one, two);
    server.execute(&one, "CREATE TABLE kept (n int)").await;
    server.execute(&two, "CREATE TABLE kept (n int)").await;
    server.restart().await;
    server.execute(&one, "INSERT INTO kept VALUES (1)").await;
    assert!(wire::execute(server.port, "", "nonsense").await.is_err());
}
