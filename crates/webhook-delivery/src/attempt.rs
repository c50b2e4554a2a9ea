use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header};
use reqwest::{Body, Request};
use tokio::time::{Instant, timeout};
use webhook_model::UtcTime;

use crate::{
    DeliveryClient, Endpoint, EndpointVerdict, LocalFault, PreparedEvent, Verdict,
    classify::{classify, describe},
    failure::{self, Failed, FailureKind, Phase},
    headers::is_custom_header,
    sign,
};

/// Bytes of an answer that are read: enough for any acknowledgement, little enough for a
/// thousand hostile receivers.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Bytes of an answer that are kept for people to read.
pub const MAX_KEPT_ANSWER_BYTES: usize = 1024;
/// Longest error text: what `last_error` holds.
pub const MAX_ERROR_CHARS: usize = 512;

/// What one POST came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began; the timestamp that it signed.
    pub at: UtcTime,
    /// How long it took, the answer's body included.
    pub duration: Duration,
    /// The answer's status, also when its body then broke off.
    pub status: Option<u16>,
    /// What it means for the event.
    pub verdict: Verdict,
    /// Why it is no success: `http 503`, `non-retryable 404`, or a network error in words;
    /// at most [`MAX_ERROR_CHARS`].
    pub error: Option<String>,
    /// Why there is no whole answer, if there is none.
    pub failure: Option<FailureKind>,
    /// The answer's first [`MAX_KEPT_ANSWER_BYTES`], as they came.
    pub answer: Bytes,
}

/// What is known of an answer so far; outlives a time-out.
#[derive(Default)]
struct Answer {
    status: Option<u16>,
    retry_after: Option<HeaderValue>,
    kept: BytesMut,
    phase: Phase,
}

/// A network error and whether another attempt can end otherwise.
struct Failure {
    failed: Failed,
    verdict: Verdict,
}

impl DeliveryClient {
    /// Signs and POSTs an event once. Everything is bounded: time, by the endpoint's or the
    /// client's time-out, and the answer, by [`MAX_ANSWER_BYTES`].
    ///
    /// An answer whose body breaks off or stalls is no success; another status than 2xx stands.
    /// A literal address that the egress guard refuses is final, a name that now resolves to
    /// none but refused addresses is not: its next resolution may differ.
    pub async fn attempt(&self, endpoint: &Endpoint, event: &PreparedEvent) -> Attempt {
        let at = UtcTime::now();
        let started = Instant::now();
        let limit = endpoint.timeout.unwrap_or(self.config().attempt_timeout);
        let mut answer = Answer::default();
        let result = match timeout(limit, self.exchange(endpoint, event, at, &mut answer)).await {
            Ok(result) => result,
            Err(_) => Err(Failure {
                failed: failure::timed_out(limit, self.config().connect_timeout, answer.phase),
                verdict: Verdict::SILENT,
            }),
        };
        let failure = result.as_ref().err().map(|failure| failure.failed.kind);
        let (verdict, error) = conclude(&answer, result);
        Attempt {
            at,
            duration: started.elapsed(),
            status: answer.status,
            verdict,
            error,
            failure,
            answer: answer.kept.freeze(),
        }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        event: &PreparedEvent,
        at: UtcTime,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let url = endpoint.url.url();
        self.egress().check_url(url).map_err(|refusal| Failure {
            failed: failure::refused(&refusal),
            verdict: Verdict::refused(EndpointVerdict::Silent),
        })?;
        if url.scheme() == "https" && !self.has_roots() {
            return Err(Failure {
                failed: failure::no_roots(),
                verdict: Verdict::Ourselves(LocalFault::Roots),
            });
        }
        let failed = |error: reqwest::Error, phase| Failure {
            failed: failure::reported(&error, phase, self.config().connect_timeout),
            verdict: Verdict::SILENT,
        };
        let request = request(endpoint, event, at);
        let mut response = match self.http().execute(request).await {
            Ok(response) => response,
            Err(error) => return Err(failed(error, Phase::Request)),
        };
        answer.phase = Phase::Body;
        answer.status = Some(response.status().as_u16());
        answer.retry_after = response.headers().get(header::RETRY_AFTER).cloned();
        let mut read = 0;
        // Dropping a response that was not read to its end closes its connection.
        while read < MAX_ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    read += chunk.len();
                    let room = MAX_KEPT_ANSWER_BYTES - answer.kept.len();
                    answer
                        .kept
                        .extend_from_slice(&chunk[..room.min(chunk.len())]);
                }
                Ok(None) => break,
                Err(error) => return Err(failed(error, Phase::Body)),
            }
        }
        Ok(())
    }
}

fn request(endpoint: &Endpoint, event: &PreparedEvent, at: UtcTime) -> Request {
    let mut request = Request::new(Method::POST, endpoint.url.url().clone());
    let headers = request.headers_mut();
    *headers = sign(&endpoint.secret, event, at);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    for (name, value) in &endpoint.headers {
        if is_custom_header(name) {
            headers.append(name, value.clone());
        }
    }
    *request.body_mut() = Some(Body::from(event.body().clone()));
    request
}

fn conclude(answer: &Answer, result: Result<(), Failure>) -> (Verdict, Option<String>) {
    let verdict = answer
        .status
        .map(|status| classify(status, answer.retry_after.as_ref(), UtcTime::now()));
    match (answer.status.zip(verdict), result) {
        (Some((status, verdict)), Ok(())) => (verdict, describe(status, verdict)),
        (None, Err(failure)) => (failure.verdict, Some(failure.failed.text)),
        (Some((_, verdict)), Err(failure)) if verdict.is_delivered() => {
            (failure.verdict, Some(failure.failed.text))
        }
        (Some((status, verdict)), Err(_)) => (verdict, describe(status, verdict)),
        (None, Ok(())) => unreachable!("an exchange without a status is a failure"),
    }
}
