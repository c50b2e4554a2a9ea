use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio_rustls::TlsAcceptor;

/// The self-signed certificate that a receiver presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// For `localhost` and 127.0.0.1; good once it is trusted.
    Valid,
    /// For another name.
    WrongName,
    /// Ran out in 2020.
    Expired,
    /// An authority's (CA:TRUE).
    Authority,
}

/// A fresh self-signed certificate for these names, and its key.
///
/// # Panics
/// If a name is none.
pub fn self_signed(names: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    sign(CertificateParams::new(names).expect("names"))
}

fn sign(params: CertificateParams) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("a key pair");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS #8 key");
    (certificate.der().clone(), key)
}

pub(super) fn acceptor(kind: Certificate) -> (TlsAcceptor, CertificateDer<'static>) {
    let names = match kind {
        Certificate::WrongName => vec!["other.example".to_owned()],
        _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
    };
    let mut params = CertificateParams::new(names).expect("names");
    if kind == Certificate::Expired {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    if kind == Certificate::Authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let (certificate, key) = sign(params);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a certificate with its key");
    (TlsAcceptor::from(Arc::new(config)), certificate)
}
