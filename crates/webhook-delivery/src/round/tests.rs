//! The loop under paused time, with attempts that are made up.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};
use webhook_model::{EndpointUrl, Secret, UtcTime};

use super::*;

const RETRY: Verdict = Verdict::SILENT;
const REFUSED: Verdict = Verdict::refused(EndpointVerdict::Answers);
const GONE: Verdict = Verdict::refused(EndpointVerdict::Gone);

fn asked(seconds: u64) -> Verdict {
    Verdict::not_yet(EndpointVerdict::Answers, Some(Duration::from_secs(seconds)))
}

fn endpoint() -> Arc<Endpoint> {
    let url = EndpointUrl::parse("https://hooks.example/").unwrap();
    Arc::new(Endpoint::new(url, Secret::generate()))
}

fn attempt(verdict: Verdict) -> Attempt {
    Attempt {
        at: UtcTime::EPOCH,
        duration: Duration::ZERO,
        status: None,
        verdict,
        error: None,
        failure: None,
        answer: Bytes::new(),
    }
}

fn exact() -> RetryPolicy {
    RetryPolicy::try_new([1, 2, 4].map(Duration::from_secs), 0.0).unwrap()
}

/// Runs a round whose attempts end as listed; returns when each began.
async fn play(verdicts: &[Verdict], policy: &RetryPolicy) -> (Vec<u64>, Outcome) {
    let (start, begun) = (Instant::now(), Mutex::new(Vec::new()));
    let mut verdicts = verdicts.iter();
    let round = run(&Fixed(endpoint()), policy, |_| {
        begun.lock().unwrap().push(start.elapsed().as_secs());
        let verdict = *verdicts.next().expect("no more attempts");
        async move { attempt(verdict) }
    })
    .await;
    assert_eq!(verdicts.len(), 0, "attempts that were not made");
    let begun = begun.into_inner().unwrap();
    assert_eq!(round.attempts.len(), begun.len());
    (begun, round.outcome)
}

#[tokio::test(start_paused = true)]
async fn attempts_until_one_settles_it() {
    let policy = exact();
    for (verdicts, begun, outcome) in [
        (&[Verdict::DELIVERED][..], &[0][..], Outcome::Delivered),
        (&[RETRY, Verdict::DELIVERED], &[0, 1], Outcome::Delivered),
        (&[RETRY; 4], &[0, 1, 3, 7], Outcome::Exhausted),
        (&[RETRY, RETRY, REFUSED], &[0, 1, 3], Outcome::Final),
        (&[GONE], &[0], Outcome::Gone),
        (&[asked(0), Verdict::DELIVERED], &[0, 1], Outcome::Delivered),
        (
            &[RETRY, Verdict::Ourselves(LocalFault::Descriptors)],
            &[0, 1],
            Outcome::Ourselves(LocalFault::Descriptors),
        ),
    ] {
        let played = play(verdicts, &policy).await;
        assert_eq!(played, (begun.to_vec(), outcome), "{verdicts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_ends_the_round_at_once() {
    let until = Duration::from_secs(30);
    let played = play(&[RETRY, asked(30)], &exact()).await;
    assert_eq!(played, (vec![0, 1], Outcome::Paused { until }));
}

#[tokio::test(start_paused = true)]
async fn no_policy_no_second_attempt() {
    let played = play(&[RETRY], &RetryPolicy::none()).await;
    assert_eq!(played, (vec![0], Outcome::Exhausted));
}

#[tokio::test(start_paused = true)]
async fn the_default_stays_within_its_jitter() {
    for _ in 0..50 {
        let start = Instant::now();
        play(&[RETRY; 4], &RetryPolicy::default()).await;
        let spent = start.elapsed().as_secs_f64();
        assert!((5.6..=8.41).contains(&spent), "{spent}");
    }
}

/// Counts permits that are out, and admits a limited number of attempts.
#[derive(Default)]
struct Counting {
    admit: AtomicUsize,
    out: Arc<AtomicUsize>,
    stop: Notify,
}

struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl RoundHooks for Counting {
    type Permit = Permit;

    async fn admit(&self) -> Option<(Arc<Endpoint>, Permit)> {
        let left = self.admit.load(Ordering::SeqCst).checked_sub(1)?;
        self.admit.store(left, Ordering::SeqCst);
        self.out.fetch_add(1, Ordering::SeqCst);
        Some((endpoint(), Permit(Arc::clone(&self.out))))
    }

    async fn interrupted(&self, _: &Attempt) -> Interruption {
        assert_eq!(
            self.out.load(Ordering::SeqCst),
            0,
            "a permit is held in backoff"
        );
        self.stop.notified().await;
        Interruption::Stop
    }
}

#[tokio::test(start_paused = true)]
async fn permits_are_held_during_attempts_only() {
    let hooks = Counting::default();
    hooks.admit.store(3, Ordering::SeqCst);
    let round = run(&hooks, &exact(), |_| async {
        assert_eq!(hooks.out.load(Ordering::SeqCst), 1);
        attempt(RETRY)
    })
    .await;
    // The fourth attempt was not admitted.
    assert_eq!(
        (round.attempts.len(), round.outcome),
        (3, Outcome::Interrupted)
    );
}

#[tokio::test(start_paused = true)]
async fn an_interruption_ends_a_backoff_and_no_attempt() {
    let hooks = Counting::default();
    hooks.admit.store(9, Ordering::SeqCst);
    let start = Instant::now();
    let round = run(&hooks, &exact(), |_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        hooks.stop.notify_one();
        attempt(RETRY)
    })
    .await;
    assert_eq!(
        (round.attempts.len(), round.outcome),
        (1, Outcome::Interrupted)
    );
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn rounds_can_be_spawned() {
    fn sendable(_: impl Future + Send) {}
    let client = DeliveryClient::new(crate::DeliveryConfig::default()).unwrap();
    let event = webhook_testkit::event("test.ping");
    let event = PreparedEvent::new(&event);
    let hooks = Counting::default();
    sendable(client.deliver_with(&hooks, &event, &exact()));
    sendable(client.deliver(&endpoint(), &event, &exact()));
}
