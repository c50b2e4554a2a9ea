//! Which pages may call the API: `DECNET_CORS_ORIGINS`.

use url::{Origin, Url};

use super::env::{Env, SettingError, parse_setting};

const NAME: &str = "DECNET_CORS_ORIGINS";
/// DECNET's dashboard is served there, and DECNET allows it unless something is named.
const WEB_PORT: &str = "DECNET_WEB_PORT";

/// Each as browsers send it: scheme, host, and the port where it is not the scheme's own.
pub(super) fn origins(env: Env<'_>) -> Result<Vec<String>, SettingError> {
    let Some(named) = env.text(NAME)? else {
        let port = env.parsed(
            WEB_PORT,
            "a port number 1..65535",
            "set it to the port of DECNET's dashboard, or unset it",
            |text| text.parse::<u16>().ok().filter(|&port| port > 0),
        )?;
        return Ok(port
            .into_iter()
            .map(|port| format!("http://localhost:{port}"))
            .collect());
    };
    let named = named.split(',').map(str::trim).filter(|it| !it.is_empty());
    named
        .map(|text| {
            parse_setting(
                &env.label(NAME),
                text,
                "the origin of a page",
                "write scheme, host and port, e.g. https://decnet.example or http://localhost:8080, \
                 several parted by commas; `*` would let every page in",
                origin,
            )
        })
        .collect()
}

fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    match url.origin() {
        origin @ Origin::Tuple(..) if is_origin => Some(origin.ascii_serialization()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_send_them() {
        let vars = [(NAME, "http://localhost:8080/, https://DECNET.example:443 ,")];
        assert_eq!(
            origins(Env(&vars)).unwrap(),
            ["http://localhost:8080", "https://decnet.example"]
        );
        assert!(origins(Env(&[("X", "")])).unwrap().is_empty());
        let vars = [(WEB_PORT, "8443")];
        assert_eq!(origins(Env(&vars)).unwrap(), ["http://localhost:8443"]);
        for wrong in ["*", "decnet.example", "http://a/path", "ftp://a", "null"] {
            let error = origins(Env(&[(NAME, wrong)])).unwrap_err().to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
