//! Where the API is.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use url::Url;

use super::ClientOptions;
use crate::settings::{DataDir, Env, HttpOptions, listen_address, parse_setting};

/// The base URL, and who said so.
pub(super) enum Place {
    Given(Url),
    /// The server writes its address here; after a restart it may be another.
    File {
        data_dir: DataDir,
        last: Mutex<Url>,
    },
}

impl Place {
    pub(super) fn find(
        env: Env<'_>,
        options: &ClientOptions,
        data_dir: &DataDir,
    ) -> anyhow::Result<Self> {
        let named = match &options.api_url {
            Some(url) => Some(("--api-url", url.clone())),
            None => env
                .text("DECNET_API_URL")?
                .map(|url| ("DECNET_API_URL", url)),
        };
        if let Some((name, url)) = named {
            let url = parse_setting(
                name,
                &url,
                "the base URL of an API",
                "use e.g. http://127.0.0.1:8000",
                |text| {
                    Url::parse(text)
                        .ok()
                        .filter(|url| matches!(url.scheme(), "http" | "https"))
                },
            )?;
            return Ok(Self::Given(url));
        }
        if let Some(url) = left_in(data_dir) {
            return Ok(Self::File {
                data_dir: data_dir.clone(),
                last: Mutex::new(url),
            });
        }
        let (host, port) = listen_address(env, &HttpOptions::default())?;
        let url = Url::parse(&format!("http://{host}:{port}"))
            .with_context(|| format!("DECNET_API_HOST={host:?} makes no URL"))?;
        Ok(Self::File {
            data_dir: data_dir.clone(),
            last: Mutex::new(url),
        })
    }

    /// The address to ask now.
    pub(super) fn url(&self) -> Url {
        match self {
            Self::Given(url) => url.clone(),
            Self::File { data_dir, last } => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(url) = left_in(data_dir) {
                    *last = url;
                }
                last.clone()
            }
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Given(_) => "is that the address of a running `decnet serve` or `decnet api`?",
            Self::File { .. } => {
                "start `decnet serve`, or say where the API is with DECNET_API_URL"
            }
        }
    }

    /// Whether a token made here stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Given(url) => match url.host() {
                Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
                Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
                Some(url::Host::Domain(name)) => name == "localhost",
                None => false,
            },
        }
    }
}

fn left_in(data_dir: &DataDir) -> Option<Url> {
    Url::parse(fs::read_to_string(data_dir.api_url()).ok()?.trim()).ok()
}
