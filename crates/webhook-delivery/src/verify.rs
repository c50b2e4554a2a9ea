//! What a receiver does with a delivery before it believes it.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use subtle::{Choice, ConstantTimeEq};
use webhook_model::{Secret, UtcTime};

use crate::{
    SIGNATURE, TIMESTAMP, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, signature,
    standard_signature,
};

/// Standard Webhooks' reference libraries allow five minutes either way.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);
/// Signatures looked at in one header: a sender that rotates secrets sends a few.
const MAX_SIGNATURES: usize = 16;

/// Why a delivery is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Nothing that could be checked, or half of a scheme.
    #[error("header {0} is missing")]
    Missing(HeaderName),
    /// A timestamp that is no number of seconds, or bytes that are no text.
    #[error("header {0} is malformed")]
    Malformed(HeaderName),
    /// Too old or too far in the future: a replay, or a wrong clock.
    #[error("timestamp {0} is outside the tolerance")]
    Timestamp(i64),
    /// None of the secrets made this signature over these bytes.
    #[error("{0} does not match")]
    Mismatch(HeaderName),
}

/// Which schemes vouch for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks alone: body, id and timestamp are signed.
    Standard,
    /// `X-DECNET-Signature` alone: the body is signed, its timestamp header is not.
    Decnet,
    /// Both.
    Both,
}

/// A delivery that checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Which signatures there were; each of them matched.
    pub scheme: Scheme,
    /// The signed id: process each one once. Without Standard Webhooks, take it from the body.
    pub id: Option<String>,
    /// Unix seconds of the attempt, within the tolerance.
    pub timestamp: i64,
}

/// Checks deliveries against one secret, or against several while one replaces another.
///
/// Every signature that is present must match, in constant time. `webhook-signature` is asked
/// for unless [`accept_decnet_alone`](Self::accept_decnet_alone) is called: it alone covers the
/// timestamp, and so alone stops a replay.
///
/// ```
/// use webhook_delivery::{PreparedEvent, sign, verify::Verifier};
/// use webhook_model::{Event, Payload, Secret, Topic, UtcTime};
///
/// let secret = Secret::generate();
/// let event = Event::new(Topic::parse("test.ping")?, "test", Payload::empty());
/// let event = PreparedEvent::new(&event);
/// let headers = sign(&secret, &event, UtcTime::now());
///
/// let verified = Verifier::new(&secret).verify(&headers, event.body(), UtcTime::now())?;
/// assert_eq!(verified.id.as_deref(), Some(event.id().as_str()));
/// assert!(Verifier::new(&Secret::generate()).verify(&headers, event.body(), UtcTime::now()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Verifier {
    secrets: Vec<Secret>,
    tolerance: Duration,
    decnet_alone: bool,
}

impl Verifier {
    /// Checks against `secret`, with [`DEFAULT_TOLERANCE`].
    pub fn new(secret: &Secret) -> Self {
        Self {
            secrets: vec![secret.clone()],
            tolerance: DEFAULT_TOLERANCE,
            decnet_alone: false,
        }
    }

    /// Accepts this secret too, while senders move from one to the other.
    pub fn or_secret(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// How far the attempt's timestamp may be from `now`, either way.
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Also accepts senders that know `X-DECNET-Signature` only, whose timestamps are not signed.
    pub fn accept_decnet_alone(mut self) -> Self {
        self.decnet_alone = true;
        self
    }

    /// Checks a delivery's headers and its body as it came, byte by byte.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: UtcTime,
    ) -> Result<Verified, VerifyError> {
        let standard = headers.contains_key(WEBHOOK_SIGNATURE);
        let decnet = headers.contains_key(SIGNATURE);
        let scheme = match (standard, decnet) {
            (true, true) => Scheme::Both,
            (true, false) => Scheme::Standard,
            (false, true) if self.decnet_alone => Scheme::Decnet,
            (false, _) => return Err(VerifyError::Missing(WEBHOOK_SIGNATURE)),
        };
        let stamp = if standard {
            WEBHOOK_TIMESTAMP
        } else {
            TIMESTAMP
        };
        let seconds = text(headers, &stamp)?;
        let timestamp = parse_seconds(seconds).ok_or(VerifyError::Malformed(stamp))?;
        if self.is_outside(timestamp, now) {
            return Err(VerifyError::Timestamp(timestamp));
        }
        if decnet {
            let sent = text(headers, &SIGNATURE)?;
            let expected = |secret: &Secret| signature(secret, body);
            self.any_matches([sent], expected, SIGNATURE)?;
        }
        let mut id = None;
        if standard {
            let signed_id = text(headers, &WEBHOOK_ID)?;
            let sent = text(headers, &WEBHOOK_SIGNATURE)?;
            let expected = |secret: &Secret| standard_signature(secret, signed_id, seconds, body);
            let sent = sent.split(' ').take(MAX_SIGNATURES);
            self.any_matches(sent, expected, WEBHOOK_SIGNATURE)?;
            id = Some(signed_id.to_owned());
        }
        Ok(Verified {
            scheme,
            id,
            timestamp,
        })
    }

    fn is_outside(&self, timestamp: i64, now: UtcTime) -> bool {
        now.unix_seconds().abs_diff(timestamp) > self.tolerance.as_secs()
    }

    /// Compares every pair, so that the time taken tells nothing but their number. The encoded
    /// texts are compared: a signature has one spelling.
    fn any_matches<'a>(
        &self,
        sent: impl IntoIterator<Item = &'a str>,
        expected: impl Fn(&Secret) -> String,
        name: HeaderName,
    ) -> Result<(), VerifyError> {
        let expected: Vec<_> = self.secrets.iter().map(expected).collect();
        let mut matched = Choice::from(0);
        for sent in sent {
            for expected in &expected {
                matched |= sent.as_bytes().ct_eq(expected.as_bytes());
            }
        }
        if matched.into() {
            Ok(())
        } else {
            Err(VerifyError::Mismatch(name))
        }
    }
}

/// The value of a header that must be there exactly once: of two, a receiver behind another
/// parser might believe the other.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let value = values
        .next()
        .ok_or_else(|| VerifyError::Missing(name.clone()))?;
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(text),
        _ => Err(VerifyError::Malformed(name.clone())),
    }
}

fn parse_seconds(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
