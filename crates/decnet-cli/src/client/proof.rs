//! Has a server prove that it knows the key of this machine's tokens, before it is shown one.

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;
use webhook_api::tokens::{self, JwtSecret};

/// Random bytes of a challenge; written as hex, twice as many characters.
const CHALLENGE_BYTES: usize = 32;
/// Most bytes of an answer that are looked at; ours has about 80.
const MAX_ANSWER_BYTES: usize = 4 << 10;

/// What to do about a server that does not.
pub(super) const REMEDY: &str = "is that the server of this data directory, of this version, and \
    asked without a proxy? Otherwise set DECNET_TOKEN to a token of its own";

/// Whether it does. The error is that no answer came.
pub(super) async fn ask(
    http: &reqwest::Client,
    base: &Url,
    secret: &JwtSecret,
) -> Result<bool, reqwest::Error> {
    #[derive(Deserialize)]
    struct Proof {
        proof: String,
    }
    let random: [u8; CHALLENGE_BYTES] = rand::random();
    let challenge = random.map(|byte| format!("{byte:02x}")).concat();
    let base_text = base.as_str().trim_end_matches('/');
    let url = format!("{base_text}/api/v1/proof?challenge={challenge}");
    let mut answer = http.get(url).send().await?;
    if answer.status() != StatusCode::OK {
        return Ok(false);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Ok(false);
        }
    }
    let port = base.port_or_known_default().unwrap_or_default();
    let answered = serde_json::from_slice::<Proof>(&body);
    Ok(answered.is_ok_and(|it| tokens::is_proof(secret, &challenge, port, &it.proof)))
}
