use super::*;

#[tokio::test]
async fn databases_are_apart_and_outlive_a_kill() {
    let mut server = Postgres::start().await;
    let (one, two) = (server.database().await, server.database().await);
    assert_ne!(one, two);
    server.execute(&one, "CREATE TABLE kept (n int)").await;
    server.execute(&two, "CREATE TABLE kept (n int)").await;
    server.restart().await;
    server.execute(&one, "INSERT INTO kept VALUES (1)").await;
    assert!(
        wire::execute(server.port(), "postgres", "nonsense")
            .await
            .is_err()
    );
}

#[test]
fn only_what_dead_processes_left_is_swept() {
    let folder = crate::temp_dir();
    let made = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (alive, dead) = (made("decnet-pg-alive"), made("decnet-pg-dead"));
    let (young, other) = (made("decnet-pg-young"), made("other"));
    let _owner = own(&alive).unwrap();
    drop(own(&dead).unwrap());
    drop(own(&other).unwrap());
    sweep(folder.path());
    assert!(alive.exists() && young.exists() && other.exists());
    assert!(!dead.exists());
}
