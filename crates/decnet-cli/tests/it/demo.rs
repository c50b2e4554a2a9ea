use std::{fs, process::Stdio};

use crate::support::{Lines, data_dir, decnet, signal};

#[tokio::test]
async fn a_newcomer_sees_verified_deliveries_and_what_to_type() {
    let dir = data_dir();
    let tmp = data_dir();
    let mut child = decnet(dir.path(), ["serve", "--demo"])
        .env("TMPDIR", tmp.path())
        // An installation's settings, none of which may count.
        .env("DECNET_API_PORT", "not a port")
        .env("DECNET_BUS_URL", "nats://production")
        .env("DECNET_DATABASE_URL", "postgres://production/decnet")
        .env("DECNET_JWT_SECRET", "short")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = Lines::of(child.stdout.take().unwrap());
    let log = Lines::of(child.stderr.take().unwrap());

    let verified = out
        .find(|line| line.contains(" ok ").then(|| line.to_owned()))
        .await;
    let verified = verified.unwrap_or_else(|| panic!("nothing came: {:#?}", log.all()));
    assert!(verified.contains("attacker.observed"), "{verified}");
    let said = log.all().join("\n");
    for hint in [
        "export DECNET_API_URL=http://127.0.0.1:",
        "export DECNET_TOKEN=",
        "curl ",
        "listen",
    ] {
        assert!(said.contains(hint), "{hint}: {said}");
    }

    // What it says to type works, from a shell that knows nothing else.
    let value = |name: &str| {
        let start = format!("export {name}=");
        let line = said
            .lines()
            .find_map(|line| line.trim().strip_prefix(&start))
            .unwrap();
        line.to_owned()
    };
    let mut publish = decnet(dir.path(), ["publish", "canary.tripped", r#"{"by":"me"}"#]);
    publish
        .env("DECNET_API_URL", value("DECNET_API_URL"))
        .env("DECNET_TOKEN", value("DECNET_TOKEN"));
    crate::support::succeeded(&crate::support::finish(&mut publish).await);
    out.wait_for(r#"{"by":"me"}"#).await;

    signal(child.id().unwrap(), "INT").await;
    let status = child.wait().await.unwrap();
    assert_eq!(status.code(), Some(0), "{:#?}", log.all());
    log.wait_for("the temporary data is removed").await;
    assert!(
        !out.all().iter().any(|line| line.contains("BAD")),
        "{:#?}",
        out.all()
    );
    let left: Vec<_> = fs::read_dir(tmp.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let touched: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert!(touched.is_empty(), "{touched:?}");
}
