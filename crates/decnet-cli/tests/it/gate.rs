use crate::support::{data_dir, decnet, finish, stderr, succeeded};

const MASTER_ONLY: [&str; 3] = ["api", "webhook", "serve"];

#[tokio::test]
async fn an_agent_shows_and_runs_nothing_of_the_masters() {
    let dir = data_dir();
    let help = finish(decnet(dir.path(), ["--help"]).env("DECNET_MODE", "agent")).await;
    let help = succeeded(&help);
    assert!(help.contains("publish"), "{help}");
    for command in MASTER_ONLY {
        let shown = help
            .lines()
            .any(|line| line.trim_start().starts_with(command));
        assert!(!shown, "{help}");
        for args in [
            vec![command],
            vec![command, "--help"],
            vec![command, "--port", "0"],
        ] {
            let refused = finish(decnet(dir.path(), &args).env("DECNET_MODE", "agent")).await;
            assert_eq!(refused.status.code(), Some(1), "{args:?}");
            let text = stderr(&refused);
            assert!(
                text.contains(&format!("`decnet {command}` runs on the master only")),
                "{text}"
            );
            assert!(text.contains("DECNET_DISALLOW_MASTER=false"), "{text}");
        }
    }
}

#[tokio::test]
async fn the_gate_opens_when_it_is_told_to() {
    let dir = data_dir();
    let mut command = decnet(dir.path(), ["serve", "--help"]);
    command
        .env("DECNET_MODE", "agent")
        .env("DECNET_DISALLOW_MASTER", "false");
    assert!(succeeded(&finish(&mut command).await).contains("--demo"));
    let help = finish(decnet(dir.path(), ["--help"]).env("DECNET_MODE", "master")).await;
    let help = succeeded(&help);
    for command in MASTER_ONLY {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{help}"
        );
    }
}
