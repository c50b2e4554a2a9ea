//! The key that tokens are signed with: given, or made once and kept in the data directory.

use std::{fs, io};

use anyhow::Context;
use webhook_api::tokens::JwtSecret;

use super::{DataDir, Env, SettingError};
use crate::private_file;

/// Random bytes of a key made here; written as hex, twice as many characters.
const MADE_BYTES: usize = 32;
const VARIABLE: &str = "DECNET_JWT_SECRET";

/// The key and where it came from.
pub(crate) struct JwtKey {
    pub(crate) secret: JwtSecret,
    /// Whether this very call made it: the first start of a new installation.
    pub(crate) is_new: bool,
}

impl JwtKey {
    /// The variable, else the file in the data directory, which is made when it is missing.
    pub(crate) fn for_server(env: Env<'_>, data_dir: &DataDir) -> anyhow::Result<Self> {
        if let Some(secret) = from_env(env)? {
            return Ok(Self {
                secret,
                is_new: false,
            });
        }
        let path = data_dir.jwt_secret();
        let once = private_file::create_once(&path, made).with_context(|| {
            format!(
                "{} cannot be read or made; set {VARIABLE} instead",
                path.display()
            )
        })?;
        let secret = parse(&path.display().to_string(), &once.text)?;
        Ok(Self {
            secret,
            is_new: once.created,
        })
    }

    /// The variable, else the file in the data directory if this user can read it.
    pub(crate) fn for_client(
        env: Env<'_>,
        data_dir: &DataDir,
    ) -> anyhow::Result<Option<JwtSecret>> {
        if let Some(secret) = from_env(env)? {
            return Ok(Some(secret));
        }
        let path = data_dir.jwt_secret();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(parse(&path.display().to_string(), &text)?)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Ok(None),
                _ => Err(error).with_context(|| format!("reading {}", path.display())),
            },
        }
    }
}

fn from_env(env: Env<'_>) -> Result<Option<JwtSecret>, SettingError> {
    env.secret(VARIABLE)?
        .map(|text| parse(VARIABLE, &text))
        .transpose()
}

fn parse(name: &str, text: &str) -> Result<JwtSecret, SettingError> {
    let text = text.trim_end();
    JwtSecret::parse(text).map_err(|_| SettingError::Secret {
        name: name.into(),
        problem: format!(
            "has {} characters, which is too short to sign with",
            text.chars().count()
        ),
        remedy: "use 32 or more (`openssl rand -hex 32` makes some)".into(),
    })
}

fn made() -> String {
    let bytes: [u8; MADE_BYTES] = rand::random();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex + "\n"
}
