//! `decnet init` on a DECNET master, and the tree after each step of its life there.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use webhook_testkit::{DecnetMaster, tree};

use crate::support::{data_dir, finish, run, stderr, stdout, succeeded};

const DROP_IN: &str = "etc/systemd/system/decnet-webhook.service.d/50-decnet-webhook.conf";
const API: &str = "etc/systemd/system/decnet-webhook-api.service";
const API_LINK: &str = "etc/systemd/system/decnet.target.wants/decnet-webhook-api.service";
const COMMAND: &str = "usr/local/bin/decnet-webhook";
/// Everything that `init` adds on a master.
const ADDED: [&str; 6] = [
    API,
    "etc/systemd/system/decnet-webhook.service.d",
    DROP_IN,
    "etc/systemd/system/decnet.target.wants",
    API_LINK,
    COMMAND,
];
const PREFIX: &str = "/opt/decnet-webhook";

async fn init(root: &Path, args: &[&str]) -> String {
    let mut all = vec!["init", "--root", root.to_str().unwrap(), "--prefix", PREFIX];
    all.extend(args);
    succeeded(&run(root, &all).await)
}

fn installed() -> (TempDir, DecnetMaster) {
    let root = data_dir();
    let master = DecnetMaster::below(root.path()).run_as("honey", "pots");
    master.init().unwrap();
    (root, master)
}

fn paths(root: &Path) -> Vec<PathBuf> {
    tree(root).into_iter().map(|(path, _)| path).collect()
}

fn added(before: &[PathBuf], root: &Path) -> Vec<PathBuf> {
    let mut added = paths(root);
    added.retain(|path| !before.contains(path));
    added
}

#[tokio::test]
async fn decnets_worker_unit_gets_a_drop_in_and_nothing_of_decnets_is_touched() {
    let (root, master) = installed();
    let before = tree(root.path());
    let said = init(root.path(), &[]).await;
    assert!(said.contains("left alone"), "{said}");
    let after = tree(root.path());
    assert!(before.iter().all(|it| after.contains(it)), "{after:#?}");
    let mut expected: Vec<PathBuf> = ADDED.iter().map(PathBuf::from).collect();
    expected.sort();
    let names: Vec<PathBuf> = before.into_iter().map(|(path, _)| path).collect();
    assert_eq!(added(&names, root.path()), expected);

    let drop_in = fs::read_to_string(root.path().join(DROP_IN)).unwrap();
    for line in [
        "ExecStart=",
        "ExecStart=/opt/decnet-webhook/bin/decnet webhook",
        "Environment=DECNET_BUS_SOCKET=/run/decnet/bus.sock",
        "EnvironmentFile=-/etc/decnet/decnet.env",
        "ReadWritePaths=-/opt/decnet",
    ] {
        assert!(drop_in.lines().any(|it| it == line), "{line}: {drop_in}");
    }
    // They are the unit's own, whatever DECNET's next `init` makes of them.
    assert!(
        !drop_in.contains("User=") && !drop_in.contains("Group="),
        "{drop_in}"
    );
    let api = fs::read_to_string(root.path().join(API)).unwrap();
    for line in [
        "User=honey",
        "Group=pots",
        "ExecStart=/opt/decnet-webhook/bin/decnet api --port 8001",
        "ReadWritePaths=-/opt/decnet",
        "EnvironmentFile=-/opt/decnet/.env.local",
    ] {
        assert!(api.lines().any(|it| it == line), "{line}: {api}");
    }
    let command = fs::read_link(root.path().join(COMMAND)).unwrap();
    assert_eq!(command, Path::new("/opt/decnet-webhook/bin/decnet"));
    let link = fs::read_link(master.link()).unwrap();
    assert_eq!(link, Path::new("/opt/decnet/venv/bin/decnet"));

    let said = init(root.path(), &[]).await;
    assert!(
        !said.contains("wrote") && !said.contains("updated"),
        "{said}"
    );
}

#[tokio::test]
async fn it_survives_decnets_init_and_deinit_and_goes_without_a_trace() {
    let root = data_dir();
    let nothing = paths(root.path());
    let master = DecnetMaster::below(root.path()).run_as("honey", "pots");

    // Before DECNET: units of our own.
    init(root.path(), &[]).await;
    let units = root.path().join("etc/systemd/system");
    assert!(units.join("decnet-api.service").exists());
    assert!(!root.path().join(DROP_IN).exists() && !root.path().join(COMMAND).exists());

    // DECNET's init writes its units over them; ours then stands beside.
    master.init().unwrap();
    init(root.path(), &[]).await;
    for path in ADDED {
        assert!(
            fs::symlink_metadata(root.path().join(path)).is_ok(),
            "{path}"
        );
    }
    let ours = tree(root.path());

    // Its next init leaves everything as it was.
    master.init().unwrap();
    assert_eq!(tree(root.path()), ours);
    verified(root.path());

    // Its deinit takes its units alone.
    master.deinit().unwrap();
    for path in ADDED {
        assert!(
            fs::symlink_metadata(root.path().join(path)).is_ok(),
            "{path}"
        );
    }

    // Without it, ours are units of our own again.
    init(root.path(), &[]).await;
    assert!(units.join("decnet-webhook.service").exists());
    for path in [API, DROP_IN, API_LINK] {
        assert!(
            fs::symlink_metadata(root.path().join(path)).is_err(),
            "{path}"
        );
    }

    let said = init(root.path(), &["--uninstall"]).await;
    assert!(said.contains("removed"), "{said}");
    let mut left = added(&nothing, root.path());
    left.retain(|path| fs::symlink_metadata(root.path().join(path)).is_ok_and(|it| !it.is_dir()));
    assert_eq!(
        left,
        [
            Path::new("opt/decnet/venv/bin/decnet"),
            Path::new("usr/local/bin/decnet")
        ]
    );
    assert!(!units.join("decnet-webhook.service.d").exists());
    let said = run(root.path(), &["init", "--uninstall"]).await;
    assert!(
        stderr(&said).contains("nothing here is from"),
        "{}",
        stderr(&said)
    );
}

#[tokio::test]
async fn uninstalling_beside_decnet_leaves_what_was_there_before() {
    let (root, _) = installed();
    let before = tree(root.path());
    init(root.path(), &[]).await;
    let dry = init(root.path(), &["--uninstall", "--dry-run"]).await;
    assert!(
        dry.contains("would remove") && dry.contains("\n-ExecStart="),
        "{dry}"
    );
    assert_ne!(tree(root.path()), before);
    init(root.path(), &["--uninstall"]).await;
    assert_eq!(tree(root.path()), before);
}

#[tokio::test]
async fn a_program_of_any_name_takes_its_link_back_after_decnet_is_gone() {
    let (root, master) = installed();
    let program = root.path().join("opt/egress/anything");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_decnet"), &program).unwrap();
    let own = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(&program);
        command
            .args(args)
            .env_clear()
            .env("DECNET_SYSTEM_ROOT", root.path());
        succeeded(&finish(&mut command).await)
    };
    own(&["init"]).await;
    let link = root.path().join(COMMAND);
    assert_eq!(fs::read_link(&link).unwrap(), program);
    master.deinit().unwrap();
    own(&["init", "--uninstall"]).await;
    assert!(
        fs::symlink_metadata(&link).is_err(),
        "its name is still there"
    );
}

#[tokio::test]
async fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let (root, master) = installed();
    let before = tree(root.path());
    let said = init(root.path(), &["--dry-run"]).await;
    assert!(
        said.contains("\n+ExecStart=/opt/decnet-webhook/bin/decnet webhook\n"),
        "{said}"
    );
    assert_eq!(tree(root.path()), before);
    init(root.path(), &[]).await;
    master.run_as("other", "pots").init().unwrap();
    let said = init(root.path(), &["--dry-run"]).await;
    assert!(said.contains("\n-User=honey\n+User=other\n"), "{said}");
}

#[tokio::test]
async fn decnets_drop_ins_count_and_its_database_is_made_writable() {
    let (root, master) = installed();
    let folder = master.units().join("decnet-webhook.service.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("10-user.conf"), "[Service]\nUser=spider\n").unwrap();
    master
        .write_secrets("DECNET_DB_URL=sqlite+aiosqlite:////srv/decnet/main.db\n")
        .unwrap();
    init(root.path(), &[]).await;
    for path in [DROP_IN, API] {
        let text = fs::read_to_string(root.path().join(path)).unwrap();
        assert!(text.contains("\nReadWritePaths=-/srv/decnet\n"), "{text}");
    }
    let api = fs::read_to_string(root.path().join(API)).unwrap();
    assert!(api.contains("\nUser=spider\n"), "{api}");
    init(root.path(), &["--uninstall"]).await;
    assert!(folder.join("10-user.conf").exists(), "it is not ours");
}

#[tokio::test]
async fn decnets_own_program_is_never_what_the_units_run() {
    let (root, master) = installed();
    for prefix in [Some("/usr/local"), Some("/opt/decnet/venv")] {
        let mut args = vec!["init", "--root", root.path().to_str().unwrap()];
        args.extend(prefix.iter().flat_map(|prefix| ["--prefix", prefix]));
        let output = run(root.path(), &args).await;
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        let said = stderr(&output);
        assert!(said.contains("DECNET's own program"), "{said}");
    }
    // Nor is a name of somebody else's taken.
    symlink("/somewhere/else", root.path().join(COMMAND)).unwrap();
    let said = init(root.path(), &[]).await;
    assert!(said.contains("it is a link to /somewhere/else"), "{said}");
    assert_eq!(
        fs::read_link(master.link()).unwrap(),
        Path::new("/opt/decnet/venv/bin/decnet")
    );
}

#[tokio::test]
async fn a_command_of_decnets_says_which_program_this_is_and_where_the_other_is() {
    let (root, _) = installed();
    let output = run(root.path(), &["deploy", "--mode", "x"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("DECNET's is /opt/decnet/venv/bin/decnet"),
        "{said}"
    );
    assert!(
        said.contains("webhook egress") && !said.contains("replay"),
        "{said}"
    );
    let bare = data_dir();
    let said = stderr(&run(bare.path(), &["deploy"]).await);
    assert!(said.contains("no DECNET was found"), "{said}");
    let said = stderr(&run(bare.path(), &["replya"]).await);
    assert!(said.contains("replay"), "{said}");
}

#[tokio::test]
async fn a_drop_in_of_somebody_elses_is_told_and_is_no_success() {
    let (root, _master) = installed();
    let drop_in = root.path().join(DROP_IN);
    fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
    fs::write(&drop_in, "[Service]\n").unwrap();
    let args = [
        "init",
        "--root",
        root.path().to_str().unwrap(),
        "--prefix",
        PREFIX,
    ];
    let output = run(root.path(), &args).await;
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.contains("goes on running DECNET's worker"), "{said}");
    assert!(said.contains("50-decnet-webhook.conf"), "{said}");
    assert_eq!(fs::read_to_string(&drop_in).unwrap(), "[Service]\n");
}

#[tokio::test]
async fn the_link_goes_with_what_it_leads_to_wherever_uninstall_runs_from() {
    let (root, _master) = installed();
    let before = paths(root.path());
    init(root.path(), &[]).await;
    let args = [
        "init",
        "--root",
        root.path().to_str().unwrap(),
        "--uninstall",
    ];
    succeeded(&run(root.path(), &args).await);
    assert_eq!(added(&before, root.path()), Vec::<PathBuf>::new());
}

/// What systemd makes of DECNET's unit with our drop-in, and of our own, where it can be asked.
fn verified(root: &Path) {
    let found = Command::new("systemd-analyze").arg("--version").output();
    if found.is_err() {
        eprintln!("NOT TESTED: systemd-analyze is not on this machine");
        return;
    }
    // It looks the commands up, so they have to be there.
    for program in [
        "opt/decnet-webhook/bin/decnet",
        "opt/decnet/venv/bin/decnet",
    ] {
        let path = root.join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy("/bin/true", path).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(format!("--root={}", root.display()))
        .args(["decnet-webhook.service", "decnet-webhook-api.service"])
        .output()
        .unwrap();
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(
        output.status.success() && !said.contains("decnet"),
        "{said}"
    );
    fs::remove_dir_all(root.join("opt/decnet-webhook")).unwrap();
}
