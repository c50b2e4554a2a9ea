use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const WRITES: &str = "a certificate can be made and written";

/// Puts an authority (`ca.pem`) into a folder, and what it signed for a server and a client
/// (`client.pem`, `client.key`). Gives the configuration of a server with JetStream that lets in
/// nobody else.
pub fn nats_certificates(dir: &Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).expect(WRITES);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect(WRITES)).expect(WRITES);
    fs::write(dir.join("ca.pem"), pem("CERTIFICATE", authority.der())).expect(WRITES);
    for name in ["server", "client"] {
        let key = KeyPair::generate().expect(WRITES);
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect(WRITES);
        let signed = params.signed_by(&key, &authority).expect(WRITES);
        let certificate = pem("CERTIFICATE", signed.der());
        fs::write(dir.join(format!("{name}.pem")), certificate).expect(WRITES);
        let key = pem("PRIVATE KEY", &key.serialize_der());
        fs::write(dir.join(format!("{name}.key")), key).expect(WRITES);
    }
    let file = |name: &str| dir.join(name);
    format!(
        "jetstream: enabled\ntls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem"),
    )
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
