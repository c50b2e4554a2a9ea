//! How programs on this machine find the API.

use std::net::SocketAddr;

use anyhow::Context;

use crate::{private_file, settings::DataDir};

/// The address that a server leaves in its data directory for as long as it runs.
pub(super) struct ApiUrl {
    pub(super) url: String,
    data_dir: DataDir,
}

impl ApiUrl {
    pub(super) fn leave(data_dir: &DataDir, addr: SocketAddr) -> anyhow::Result<Self> {
        let url = base_url(addr);
        let path = data_dir.api_url();
        private_file::replace(&path, &format!("{url}\n"))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self {
            url,
            data_dir: data_dir.clone(),
        })
    }
}

impl Drop for ApiUrl {
    fn drop(&mut self) {
        let path = self.data_dir.api_url();
        // Another server may have left its own by now.
        if std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == self.url) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// How programs on this machine reach an address; "any" is reached over loopback.
fn base_url(mut addr: SocketAddr) -> String {
    if addr.ip().is_unspecified() {
        match addr {
            SocketAddr::V4(_) => addr.set_ip([127, 0, 0, 1].into()),
            SocketAddr::V6(_) => addr.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        }
    }
    format!("http://{addr}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_reached_over_loopback() {
        for (addr, url) in [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("0.0.0.0:8000", "http://127.0.0.1:8000"),
            ("[::]:8000", "http://[::1]:8000"),
            ("192.0.2.7:80", "http://192.0.2.7:80"),
        ] {
            assert_eq!(base_url(addr.parse().unwrap()), url);
        }
    }

    #[test]
    fn an_address_is_taken_back_unless_it_is_anothers() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::at(dir.path().into());
        let addr = "127.0.0.1:4711".parse().unwrap();
        drop(ApiUrl::leave(&data_dir, addr).unwrap());
        assert!(!data_dir.api_url().exists());
        let left = ApiUrl::leave(&data_dir, addr).unwrap();
        std::fs::write(data_dir.api_url(), "http://127.0.0.1:4712\n").unwrap();
        drop(left);
        assert!(data_dir.api_url().exists());
    }
}
