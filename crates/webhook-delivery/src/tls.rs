//! The one TLS configuration: rustls with ring, passed in rather than installed globally.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};

use crate::BuildError;

/// A TLS configuration, and whether it trusts anybody.
pub(crate) struct Tls {
    pub(crate) config: ClientConfig,
    pub(crate) has_roots: bool,
}

/// The platform's roots and `extra`. A platform without roots is no error: only https
/// endpoints need them, and each of their attempts says so.
pub(crate) fn configure(extra: &[CertificateDer<'static>]) -> Result<Tls, BuildError> {
    let mut roots = RootCertStore::empty();
    for (index, root) in extra.iter().enumerate() {
        roots
            .add(root.clone())
            .map_err(|source| BuildError::ExtraRoot { index, source })?;
    }
    let platform = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(platform.certs);
    if ignored > 0 {
        tracing::debug!(
            ignored,
            "unreadable certificates among the platform's roots"
        );
    }
    let has_roots = !roots.is_empty();
    if !has_roots {
        tracing::warn!(errors = ?platform.errors, "{NO_ROOTS}");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(BuildError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Tls { config, has_roots })
}

/// Shown once at start and in every https attempt.
pub(crate) const NO_ROOTS: &str =
    "this machine has no trusted root certificates; install them (e.g. package ca-certificates)";
