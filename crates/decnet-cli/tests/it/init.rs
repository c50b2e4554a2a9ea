use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{data_dir, run, stderr, stdout, succeeded};

const UNITS: [&str; 3] = [
    "decnet-api.service",
    "decnet-webhook.service",
    "decnet.target",
];

async fn init(root: &Path, args: &[&str]) -> String {
    let mut all = vec![
        "init",
        "--root",
        root.to_str().unwrap(),
        "--prefix",
        "/opt/decnet",
    ];
    all.extend(args);
    let output = run(root, &all).await;
    succeeded(&output);
    stdout(&output)
}

fn system(root: &Path) -> PathBuf {
    let folder = root.join("etc/systemd/system");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|e| panic!("{:?}: {e}", path.as_ref()))
}

#[tokio::test]
async fn a_fresh_machine_gets_every_unit_once() {
    let root = data_dir();
    let said = init(root.path(), &["--dry-run"]).await;
    assert_eq!(said.matches("would write").count(), UNITS.len(), "{said}");
    assert!(!root.path().join("etc").exists(), "a dry run wrote");

    let said = init(root.path(), &["--user", "siem", "--group", "soc"]).await;
    assert_eq!(said.matches("wrote").count(), UNITS.len(), "{said}");
    let folder = system(root.path());
    for unit in UNITS {
        let text = read(folder.join(unit));
        assert!(text.starts_with("# Written by `decnet init`"), "{text}");
        if unit != "decnet.target" {
            assert!(text.contains("\nUser=siem\nGroup=soc\n"), "{text}");
            assert!(
                text.contains("\nExecStart=/opt/decnet/bin/decnet "),
                "{text}"
            );
        }
    }
    assert!(
        !folder.join("decnet.target.wants").exists(),
        "our own target wants them itself"
    );
    let said = init(root.path(), &["--user", "siem", "--group", "soc"]).await;
    assert_eq!(said.matches("unchanged").count(), UNITS.len(), "{said}");
}

#[tokio::test]
async fn what_it_wrote_is_brought_up_to_date() {
    let root = data_dir();
    init(root.path(), &[]).await;
    let said = init(root.path(), &["--user", "siem"]).await;
    assert_eq!(said.matches("updated").count(), 2, "{said}");
    assert!(read(system(root.path()).join("decnet-api.service")).contains("\nUser=siem\n"));
}

#[tokio::test]
async fn decnets_own_files_stay_and_its_target_gets_a_link() {
    let root = data_dir();
    let folder = system(root.path());
    for unit in ["decnet.target", "decnet-api.service"] {
        fs::write(folder.join(unit), "[Unit]\nDescription=DECNET's own\n").unwrap();
    }
    let said = init(root.path(), &[]).await;
    for unit in ["decnet.target", "decnet-api.service"] {
        assert_eq!(
            read(folder.join(unit)),
            "[Unit]\nDescription=DECNET's own\n"
        );
        let line = said
            .lines()
            .find(|line| line.contains(&format!("{unit}: ")))
            .unwrap();
        assert!(line.starts_with("left alone"), "{said}");
    }
    let link = folder.join("decnet.target.wants/decnet-webhook.service");
    assert_eq!(
        fs::read_link(&link).unwrap(),
        Path::new("../decnet-webhook.service")
    );
    assert!(read(&link).starts_with("# Written by"));
    let api = folder.join("decnet.target.wants/decnet-api.service");
    assert!(
        fs::symlink_metadata(api).is_err(),
        "the API's link is DECNET's affair"
    );

    let said = init(root.path(), &[]).await;
    assert!(
        !said.contains("linked") && !said.contains("wrote"),
        "{said}"
    );
}

#[tokio::test]
async fn no_foreign_file_or_link_is_overwritten() {
    let root = data_dir();
    let folder = system(root.path());
    let elsewhere = root.path().join("elsewhere.service");
    fs::write(&elsewhere, "theirs").unwrap();
    symlink("/dev/null", folder.join("decnet.target")).unwrap();
    symlink(&elsewhere, folder.join("decnet-api.service")).unwrap();
    fs::write(folder.join("decnet-webhook.service"), "DECNET's own worker").unwrap();
    fs::create_dir(folder.join("decnet.target.wants")).unwrap();
    let output = run(
        root.path(),
        &[
            "init",
            "--prefix",
            "/opt/decnet",
            "--root",
            root.path().to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("nothing was installed"),
        "{}",
        stderr(&output)
    );
    let said = stdout(&output);
    assert_eq!(said.matches("left alone").count(), UNITS.len(), "{said}");
    assert_eq!(read(&elsewhere), "theirs");
    assert_eq!(
        read(folder.join("decnet-webhook.service")),
        "DECNET's own worker"
    );
    assert_eq!(
        fs::read_link(folder.join("decnet.target")).unwrap(),
        Path::new("/dev/null")
    );
    assert_eq!(
        fs::read_dir(folder.join("decnet.target.wants"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn units_beside_a_decnet_broker_use_its_socket() {
    for (folder, unit, socket) in [
        (
            "etc/systemd/system",
            "[Service]\nExecStart=/opt/decnet/bin/decnet bus\n",
            "/run/decnet/bus.sock",
        ),
        (
            "usr/lib/systemd/system",
            "[Service]\nEnvironment=DECNET_BUS_SOCKET=/run/other/bus.sock\n",
            "/run/other/bus.sock",
        ),
    ] {
        let root = data_dir();
        let folder = root.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("decnet-bus.service"), unit).unwrap();
        init(root.path(), &[]).await;
        for name in ["decnet-api.service", "decnet-webhook.service"] {
            let text = read(system(root.path()).join(name));
            let (head, service) = text.split_once("\n[Service]\n").unwrap();
            assert!(
                head.contains("\nAfter=decnet-bus.service\nWants=decnet-bus.service\n"),
                "{text}"
            );
            let line = format!("\nEnvironment=DECNET_BUS_SOCKET={socket}\nEnvironmentFile=");
            assert!(service.contains(&line), "{text}");
        }
        let target = read(system(root.path()).join("decnet.target"));
        assert!(!target.contains("decnet-bus"), "{target}");
        assert_eq!(read(folder.join("decnet-bus.service")), unit);
        let said = init(root.path(), &[]).await;
        assert_eq!(said.matches("unchanged").count(), UNITS.len(), "{said}");
    }
}

#[tokio::test]
async fn a_packaged_target_is_not_hidden() {
    let root = data_dir();
    let packaged = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&packaged).unwrap();
    fs::write(packaged.join("decnet.target"), "[Unit]").unwrap();
    let said = init(root.path(), &[]).await;
    assert!(said.contains("would hide it"), "{said}");
    let folder = system(root.path());
    assert!(!folder.join("decnet.target").exists());
    for unit in ["decnet-api.service", "decnet-webhook.service"] {
        assert!(
            folder.join("decnet.target.wants").join(unit).exists(),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_unit_directory_is_taken_as_it_is() {
    let root = data_dir();
    fs::write(root.path().join("decnet.target"), "[Unit]").unwrap();
    init(root.path(), &[]).await;
    assert!(root.path().join("decnet-webhook.service").exists());
    assert!(
        root.path()
            .join("decnet.target.wants/decnet-webhook.service")
            .exists()
    );
    assert!(!root.path().join("etc").exists());
}

#[tokio::test]
async fn values_that_would_break_a_unit_are_refused() {
    let root = data_dir();
    for args in [
        ["--user", "a b"],
        ["--group", "x\ny"],
        ["--prefix", "opt"],
        ["--prefix", "/a%b"],
    ] {
        let output = run(root.path(), &["init", "--dry-run", args[0], args[1]]).await;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

/// `systemd-analyze` judges the units as they are installed. A machine without it cannot; that is
/// said rather than passed over.
#[tokio::test]
async fn the_services_are_hardened() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("NOT TESTED: systemd-analyze is not on this machine");
        return;
    }
    let root = data_dir();
    init(root.path(), &[]).await;
    for unit in ["decnet-api.service", "decnet-webhook.service"] {
        let path = system(root.path()).join(unit);
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
            .arg(&path)
            .output()
            .unwrap();
        let table = stdout(&output);
        assert!(
            output.status.success(),
            "{unit} is exposed over 2.0: {table}{}",
            stderr(&output)
        );
        assert!(table.contains("Overall exposure level"), "{table}");

        let text = read(&path);
        let stop: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="))
            .and_then(|seconds| seconds.parse().ok())
            .unwrap();
        assert!(stop > 14, "below what a stop may take");
        assert!(text.contains("\nType=notify\n"));
    }
}
