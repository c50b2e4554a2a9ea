use std::{
    fs,
    io::{self, IsTerminal},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use webhook_api::{
    FirstToken,
    tokens::{self, Role},
};

use crate::{
    output::{self, BOLD},
    private_file,
    settings::{DataDir, JwtKey},
};

/// Long enough to set things up and come back next week; then `decnet token create`.
const TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// At the first start of an installation: a token, on the terminal or in a file of its owner's. The
/// file is there until its token is used; a later start goes on waiting for that.
pub(crate) fn first_token(key: &JwtKey, data_dir: &DataDir) -> anyhow::Result<Option<FirstToken>> {
    let path = data_dir.admin_token();
    if !key.is_new {
        let left = fs::read_to_string(&path).ok();
        return Ok(left.and_then(|token| awaited(key, token.trim())));
    }
    let token = tokens::mint(&key.secret, Role::Admin, "admin", TTL);
    if io::stderr().is_terminal() {
        output::say!("\nAn admin token, valid for 30 days (`decnet token create` makes more):");
        output::say!("  {BOLD}export DECNET_TOKEN={token}{BOLD:#}\n");
        return Ok(None);
    }
    private_file::replace(&path, &format!("{token}\n"))
        .with_context(|| format!("writing {}", path.display()))?;
    super::banner::fact(
        "admin token",
        format_args!(
            "{} (valid for 30 days; the file goes when the token is used)",
            super::banner::shown(path.display())
        ),
    );
    Ok(awaited(key, &token))
}

fn awaited(key: &JwtKey, token: &str) -> Option<FirstToken> {
    Some(FirstToken {
        jti: tokens::jti(&key.secret, token)?,
        used: CancellationToken::new(),
    })
}

/// Removes the file once its token is used: whoever used it has it, and nobody else needs to find it.
pub(super) async fn remove_when_used(
    file: &Path,
    used: CancellationToken,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = used.cancelled() => match fs::remove_file(file) {
            Ok(()) => tracing::info!(file = %file.display(), "the first admin token was used; its file is removed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, file = %file.display(), "the first admin token's file cannot be removed"),
        }
    }
}
