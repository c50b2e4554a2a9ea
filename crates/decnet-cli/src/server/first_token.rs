use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Context;
use webhook_api::tokens::{self, Role};

use crate::{
    output::{self, BOLD},
    private_file,
    settings::{DataDir, JwtKey},
};

/// Long enough to set things up and come back next week; then `decnet token create`.
const TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// At the first start of an installation: a token, on the terminal or in a file of its owner's.
pub(crate) fn first_token(key: &JwtKey, data_dir: &DataDir) -> anyhow::Result<()> {
    if !key.is_new {
        return Ok(());
    }
    let token = tokens::mint(&key.secret, Role::Admin, "admin", TTL);
    if io::stderr().is_terminal() {
        output::say!("\nAn admin token, valid for 30 days (`decnet token create` makes more):");
        output::say!("  {BOLD}export DECNET_TOKEN={token}{BOLD:#}\n");
        return Ok(());
    }
    let path = data_dir.admin_token();
    private_file::replace(&path, &format!("{token}\n"))
        .with_context(|| format!("writing {}", path.display()))?;
    super::banner::fact(
        "admin token",
        format_args!("{} (valid for 30 days)", path.display()),
    );
    Ok(())
}
