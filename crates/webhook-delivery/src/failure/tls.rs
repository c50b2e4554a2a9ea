//! TLS errors in an operator's words: whose certificate it is, what is missing, which setting helps.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// The other side hung up in the handshake.
pub(super) const CLOSED: &str = "the receiver closed the connection in the handshake; does this \
     port speak TLS? If it speaks plain HTTP, write the URL with http://";

/// How roots are added.
const ADD_ROOT: &str = "add its authority's certificate to the file that DECNET_WEBHOOK_CA_FILE \
     names (SSL_CERT_FILE replaces the system's)";

pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "the receiver does not answer in TLS: this port speaks plain HTTP or something else; \
              use its TLS port, or write the URL with http://"
            .to_owned(),
        Error::AlertReceived(alert) => format!(
            "the receiver ended the handshake with the alert {alert:?}{}",
            alert_hint(*alert)
        ),
        Error::PeerIncompatible(why) => format!(
            "the receiver and this client have no TLS version or cipher in common ({why:?}); let \
             the receiver offer TLS 1.2 or 1.3"
        ),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        // The second: an authority of the same name is known, but it is another one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the receiver's certificate is not trusted here: either it does not send its \
             intermediate certificates (let it send the full chain), or its authority is unknown \
             to this machine ({ADD_ROOT})"
        ),
        CertificateError::Other(other) if format!("{other:?}").contains("UnsupportedCertVersion") => {
            "the receiver's certificate is none of X.509 version 3, so it can name no host; issue it \
             with extensions (a subjectAltName, as `openssl req -addext` writes one)"
                .to_owned()
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the receiver uses the certificate of an authority (CA:TRUE) as its own; issue it a \
             server certificate (CA:FALSE) and add the authority's to the file that \
             DECNET_WEBHOOK_CA_FILE names"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the receiver's certificate has expired, or the clock of this machine is wrong: {error}"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the receiver's certificate is not valid yet, or the clock of this machine is wrong: \
             {error}"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the receiver's certificate is for another name; use a name in the URL that it is \
                 for: {error}"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("the receiver's certificate is not for servers: {error}")
        }
        CertificateError::Revoked => "the receiver's certificate was revoked".to_owned(),
        other => format!("the receiver's certificate cannot be used: {other}"),
    }
}

fn alert_hint(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA => "; it asks for a client certificate, which is not offered",
        AlertDescription::UnrecognisedName => "; it does not know the URL's host name",
        AlertDescription::ProtocolVersion => "; it speaks neither TLS 1.2 nor 1.3",
        _ => "",
    }
}
