use std::{pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout};
use webhook_model::UtcTime;

use crate::{
    DeliveryClient, Endpoint, PreparedEvent, Verdict,
    classify::{classify, describe, wanted_tls, wants_tls},
    failure::{self, Failed, FailureKind, Phase},
    headers::is_custom_header,
    retry_after, sign,
    transport::{Answered, Body, Target, TransportError},
};

/// Bytes of an answer that are read: enough for any acknowledgement, little enough for a
/// thousand hostile receivers.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Bytes of an answer that are kept for people to read.
pub const MAX_KEPT_ANSWER_BYTES: usize = 1024;
/// Longest wait for an answer's body, which is read for people alone: its status has decided.
const MAX_BODY_WAIT: Duration = Duration::from_secs(2);
/// Longest error text: what `last_error` holds.
pub const MAX_ERROR_CHARS: usize = 512;

/// What one POST came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began; the timestamp that it signed.
    pub at: UtcTime,
    /// How long it took, what was read of the answer's body included.
    pub duration: Duration,
    /// The answer's status, whatever then became of its body.
    pub status: Option<u16>,
    /// What it means for the event.
    pub verdict: Verdict,
    /// Why it is no success: `http 503`, `non-retryable 404`, or a network error in words;
    /// at most [`MAX_ERROR_CHARS`].
    pub error: Option<String>,
    /// Why there is no answer, if there is none.
    pub failure: Option<FailureKind>,
    /// The answer's first [`MAX_KEPT_ANSWER_BYTES`], as they came.
    pub answer: Bytes,
}

/// How far an attempt has come; outlives a time-out.
#[derive(Default)]
struct Progress {
    phase: Phase,
    /// It is on a connection that served others before.
    is_kept: bool,
    answer: Option<Answer>,
}

/// What is known of an answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    kept: BytesMut,
}

impl DeliveryClient {
    /// Signs and POSTs an event once. Everything is bounded: time, by the endpoint's or the
    /// client's time-out, and the answer, by [`MAX_ANSWER_BYTES`].
    ///
    /// The status decides, whatever becomes of the answer's body. 408, 421 and 425 say that a
    /// request was not processed on its connection: it is repeated once on a new one, and what
    /// comes then stands. A literal address that the egress guard refuses is final, a name that
    /// now resolves to none but refused addresses is not: its next resolution may differ.
    pub async fn attempt(&self, endpoint: &Endpoint, event: &PreparedEvent) -> Attempt {
        let at = UtcTime::now();
        let started = Instant::now();
        let limit = endpoint.timeout.unwrap_or(self.config().attempt_timeout);
        let target = Target::of(endpoint.url.url());
        let mut progress = Progress::default();
        let exchange = self.exchange(&target, endpoint, event, at, &mut progress);
        let result = match timeout(limit, exchange).await {
            Ok(result) => result,
            // A time-out shorter than the resolver's own leaves open who was silent.
            Err(_)
                if progress.phase == Phase::Resolving
                    && !self.transport().name_servers_answer().await =>
            {
                Err(failure::unanswered())
            }
            Err(_) => Err(failure::timed_out(limit, progress.phase)),
        };
        let attempt = |verdict, error| Attempt {
            at,
            duration: started.elapsed(),
            status: None,
            verdict,
            error,
            failure: None,
            answer: Bytes::new(),
        };
        match (progress.answer, result) {
            (Some(answer), _) => {
                let status = answer.status.as_u16();
                let now = retry_after::clock(&answer.headers, UtcTime::now());
                let retry_after = answer.headers.get(header::RETRY_AFTER);
                let (verdict, error) = if !target.is_https() && wants_tls(status, &answer.kept) {
                    wanted_tls(status)
                } else {
                    let verdict = classify(status, retry_after, now);
                    (verdict, describe(status, verdict))
                };
                Attempt {
                    status: Some(status),
                    answer: answer.kept.freeze(),
                    ..attempt(verdict, error)
                }
            }
            (None, Err(failed)) => {
                if progress.is_kept {
                    self.transport().forget(&target);
                }
                Attempt {
                    failure: Some(failed.kind),
                    ..attempt(failed.verdict, Some(failed.text))
                }
            }
            (None, Ok(())) => unreachable!("an exchange without an answer is a failure"),
        }
    }

    async fn exchange(
        &self,
        target: &Target<'_>,
        endpoint: &Endpoint,
        event: &PreparedEvent,
        at: UtcTime,
        progress: &mut Progress,
    ) -> Result<(), Failed> {
        let url = endpoint.url.url();
        self.egress()
            .check_url(url)
            .map_err(|refusal| failure::refused_for_good(&refusal))?;
        if url.scheme() == "https" && !self.has_roots() {
            return Err(failure::no_roots());
        }
        let transport = self.transport();
        let (mut fresh, mut repeated, mut http1) = (false, false, false);
        loop {
            let opened = transport.connection(target, fresh, &mut progress.phase);
            let mut lease = match opened.await {
                Ok(lease) => lease,
                Err(error) => return Err(failure::reported(&error, progress.phase)),
            };
            progress.phase = Phase::Answer;
            progress.is_kept = lease.is_kept();
            let request = self.request(target, endpoint, event, at);
            let request = request.map_err(|error| failure::reported(&error, progress.phase))?;
            // Whatever leads to another turn, it does so once.
            fresh = true;
            match lease.send(request).await {
                Answered::Head(response) => {
                    let (head, body) = response.into_parts();
                    if says_not_processed(head.status) && !repeated {
                        repeated = true;
                        continue;
                    }
                    let answer = progress.answer.insert(Answer {
                        status: head.status,
                        headers: head.headers,
                        kept: BytesMut::new(),
                    });
                    let rest = async {
                        if read(body, &mut answer.kept).await && lease.is_reusable().await {
                            transport.keep(target, lease);
                        }
                    };
                    if timeout(MAX_BODY_WAIT, rest).await.is_err() {
                        tracing::debug!("an answer's body was not waited for");
                    }
                    return Ok(());
                }
                Answered::Status(status) if says_not_processed(status) && !repeated => {
                    repeated = true;
                }
                Answered::Status(status) => {
                    progress.answer = Some(Answer {
                        status,
                        headers: HeaderMap::new(),
                        kept: BytesMut::new(),
                    });
                    return Ok(());
                }
                Answered::Unsent(_) if lease.is_kept() => {}
                Answered::Failed(error) if !http1 && refuses_http2(&error) => {
                    http1 = true;
                    transport.avoid_http2(target);
                }
                Answered::Failed(error) if !repeated && was_not_processed(&error) => {
                    repeated = true;
                }
                Answered::Unsent(error) | Answered::Failed(error) => {
                    return Err(failure::reported(&error, progress.phase));
                }
            }
        }
    }

    fn request(
        &self,
        target: &Target<'_>,
        endpoint: &Endpoint,
        event: &PreparedEvent,
        at: UtcTime,
    ) -> Result<Request<Body>, TransportError> {
        let mut request = Request::new(Body::new(event.body().clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri()?;
        *request.extensions_mut() = self.transport().header_names().clone();
        let headers = request.headers_mut();
        *headers = sign(&endpoint.secret, event, at);
        headers.insert(header::HOST, target.authority()?);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::USER_AGENT, self.user_agent().clone());
        for (name, value) in &endpoint.headers {
            if is_custom_header(name) {
                headers.append(name, value.clone());
            }
        }
        // A header that the endpoint asks for by name is the later word.
        if let Some(basic) = basic(endpoint)
            && !headers.contains_key(header::AUTHORIZATION)
        {
            headers.insert(header::AUTHORIZATION, basic);
        }
        headers
            .entry(header::ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        Ok(request)
    }
}

/// RFC 9110 §15.5.9 and §15.5.20, RFC 8470 §5.2: another connection may fare better.
fn says_not_processed(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::MISDIRECTED_REQUEST | StatusCode::TOO_EARLY
    )
}

/// RFC 9113 §7.
fn refuses_http2(error: &TransportError) -> bool {
    failure::http2_reason(error) == Some(h2::Reason::HTTP_1_1_REQUIRED)
}

/// RFC 9113 §8.7: the stream was refused, or the connection was going away before it.
fn was_not_processed(error: &TransportError) -> bool {
    matches!(
        failure::http2_reason(error),
        Some(h2::Reason::REFUSED_STREAM | h2::Reason::NO_ERROR)
    )
}

/// Reads an answer's body, at most [`MAX_ANSWER_BYTES`], and keeps its beginning. Whether that was
/// all of it: dropping one that was not read to its end closes its connection.
async fn read(mut body: Incoming, kept: &mut BytesMut) -> bool {
    let mut read = 0;
    while read < MAX_ANSWER_BYTES {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        match frame {
            None => return true,
            Some(Ok(frame)) => {
                if let Some(chunk) = frame.data_ref() {
                    read += chunk.len();
                    let room = MAX_KEPT_ANSWER_BYTES - kept.len();
                    kept.extend_from_slice(&chunk[..room.min(chunk.len())]);
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "an answer's body broke off");
                return false;
            }
        }
    }
    false
}

/// What the URL's user name and password stand for (RFC 7617).
fn basic(endpoint: &Endpoint) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(endpoint.url.authorization()?).ok()?;
    value.set_sensitive(true);
    Some(value)
}
