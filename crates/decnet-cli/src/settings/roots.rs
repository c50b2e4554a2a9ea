//! Certificates that receivers are trusted by, besides the system's.

use std::{fs, path::Path};

use rustls::{RootCertStore, pki_types::pem::PemObject};
use webhook_delivery::CertificateDer;

use super::{Env, SettingError};

const NAME: &str = "DECNET_WEBHOOK_CA_FILE";

/// What `DECNET_WEBHOOK_CA_FILE` adds; nothing where it is not set.
pub(super) fn extra_roots(env: Env<'_>) -> Result<Vec<CertificateDer<'static>>, SettingError> {
    let Some(path) = env.path(NAME) else {
        return Ok(Vec::new());
    };
    let bytes = fs::read(&path).map_err(|source| SettingError::File {
        name: NAME.into(),
        path: path.clone(),
        source,
    })?;
    let roots = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(&path, &format!("a file of PEM certificates ({error})")))?;
    if roots.is_empty() {
        return Err(invalid(&path, "a file with a PEM certificate in it"));
    }
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        store.add(root.clone()).map_err(|error| {
            let number = index + 1;
            let expected =
                format!("a file of certificates: number {number} cannot be read ({error})");
            invalid(&path, &expected)
        })?;
    }
    Ok(roots)
}

fn invalid(path: &Path, expected: &str) -> SettingError {
    SettingError::Invalid {
        name: NAME.into(),
        value: path.display().to_string(),
        expected: expected.into(),
        remedy: "point it at the certificates of the authorities that signed your receivers' \
                 (BEGIN CERTIFICATE), which are then trusted besides the system's"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A file of this text, read as the setting.
    fn read(text: &str) -> Result<usize, String> {
        let dir = webhook_testkit::temp_dir();
        let path = dir.path().join("roots.pem");
        fs::write(&path, text).unwrap();
        read_at(&path)
    }

    fn read_at(path: &Path) -> Result<usize, String> {
        let vars = [(NAME, path.to_str().unwrap())];
        extra_roots(Env(&vars))
            .map(|roots| roots.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn certificates_are_added_and_what_is_none_is_told() {
        assert_eq!(
            extra_roots(Env(&crate::settings::Nothing)).unwrap().len(),
            0
        );
        let one = include_str!("roots/authority.pem");
        assert_eq!(read(one), Ok(1));
        assert_eq!(read(&format!("# ours\n{one}\n{one}")), Ok(2));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, told) in [
            (String::new(), "is not a file with a PEM certificate"),
            ("hello".to_owned(), "is not a file with a PEM certificate"),
            (format!("{one}{garbage}"), "number 2 cannot be read"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(NAME) && error.contains(told), "{error}");
            assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
        }
        let missing = PathBuf::from("/nonexistent/roots.pem");
        let error = read_at(&missing).unwrap_err();
        assert!(error.contains("/nonexistent/roots.pem"), "{error}");
    }
}
