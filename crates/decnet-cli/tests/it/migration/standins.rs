//! A machine to type on: a shell whose paths are below a directory, with stand-ins for `sudo` and for
//! what of `systemctl` a migration needs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::stdout;

const SUDO: &str = "#!/bin/sh\nexec \"$@\"\n";

/// Starts and stops what the units below $ROOT run, one process a unit. A process that has ended and
/// that nobody has asked about is gone, too.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -eu
verb=$1
shift
gone() { [ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
for name in "$@"; do
    unit=${name%.service}.service
    pidfile=$ROOT/run/$unit.pid
    if [ "$verb" != start ] && [ -f "$pidfile" ]; then
        pid=$(cat "$pidfile")
        kill "$pid" 2>/dev/null || true
        until gone "$pid"; do sleep 0.05; done
        rm "$pidfile"
    fi
    [ "$verb" = stop ] && continue
    text=$(cat "$ROOT/etc/systemd/system/$unit" "$ROOT/etc/systemd/system/$unit.d/"*.conf 2>/dev/null |
        sed -e "s#\([=:-]\)/\(opt\|var\|etc\|run\)/#\1$ROOT/\2/#g" -e "s/8001/$API_PORT/")
    value() { printf '%s\n' "$text" | sed -n "s/^$1=//p"; }
    log=$(value StandardOutput | sed -n 's/^append://p' | tail -n 1)
    log=${log:-$ROOT/var/log/decnet/$unit.log}
    before=$(cat "$log" 2>/dev/null | wc -l)
    command=$(value ExecStart | tail -n 1)
    (
        set -a
        eval "$(value Environment)"
        for file in $(value EnvironmentFile); do
            [ ! -f "${file#-}" ] || . "${file#-}"
        done
        set +a
        exec $command
    ) >>"$log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$pidfile"
    # Up is what has said where it is.
    until tail -n "+$((before + 1))" "$log" | grep -q -e 'http://' -e 'DECNET itself'; do
        if gone "$pid"; then
            cat "$log" >&2
            exit 1
        fi
        sleep 0.05
    done
done
"#;

/// DECNET's own program: it stays until it is told to go.
const DECNET: &str = "#!/bin/sh\necho DECNET itself\nexec sleep 100000\n";

pub(super) struct Machine {
    root: PathBuf,
    api_port: u16,
    health_port: u16,
}

impl Machine {
    pub(super) fn new(root: &Path, api_port: u16, health_port: u16) -> Self {
        let programs = root.join("programs");
        for (path, text) in [
            (programs.join("sudo"), SUDO),
            (programs.join("systemctl"), SYSTEMCTL),
            (root.join("opt/decnet/venv/bin/decnet"), DECNET),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(root.join("var/lib/decnet")).unwrap();
        fs::create_dir_all(root.join("var/log/decnet")).unwrap();
        Self {
            root: root.into(),
            api_port,
            health_port,
        }
    }

    /// Types these lines; the first that fails fails the test. Returns what they said.
    pub(super) async fn shell(&self, lines: &str) -> String {
        let root = self.root.display();
        let mut lines = lines
            .replace("target/release/decnet", env!("CARGO_BIN_EXE_decnet"))
            .replace(":9464", &format!(":{}", self.health_port));
        for folder in ["opt", "var", "etc"] {
            lines = lines.replace(&format!(" /{folder}/"), &format!(" {root}/{folder}/"));
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .args(["-euxc", &lines])
            .env_clear()
            .env(
                "PATH",
                format!("{root}/programs:{root}/usr/local/bin:{path}"),
            )
            .env("HOME", &self.root)
            .env("ROOT", &self.root)
            .env("API_PORT", self.api_port.to_string())
            .env("DECNET_SYSTEM_ROOT", &self.root)
            .env("DECNET_DATA_DIR", self.root.join("var/lib/decnet"))
            .env(
                "DECNET_METRICS_ADDR",
                format!("127.0.0.1:{}", self.health_port),
            )
            .env("DECNET_WEBHOOK_ALLOW_CIDRS", "127.0.0.0/8")
            // No other worker is there to be listened for.
            .env("DECNET_WEBHOOK_TAKEOVER", "true")
            .stdin(Stdio::null());
        let typed = tokio::task::spawn_blocking(move || command.output());
        let output = typed.await.unwrap().unwrap();
        let said = format!(
            "{}{}",
            stdout(&output),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{lines}\n{said}");
        said
    }
}

/// What was started ends with the machine.
impl Drop for Machine {
    fn drop(&mut self) {
        let files = fs::read_dir(self.root.join("run")).into_iter().flatten();
        for file in files.flatten().map(|file| file.path()) {
            if file.extension().is_some_and(|it| it == "pid")
                && let Ok(pid) = fs::read_to_string(file)
            {
                // It may have ended by itself.
                let _ = Command::new("sh")
                    .args(["-c", &format!("kill -9 {}", pid.trim())])
                    .stderr(Stdio::null())
                    .status();
            }
        }
    }
}
