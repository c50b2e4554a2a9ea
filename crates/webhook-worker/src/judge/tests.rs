use DeliveryStatus::{Dead, Delivered, Retrying};
use EndpointVerdict::{Answers, Gone, Objects, Silent, Takes};
use webhook_delivery::LocalFault;

use super::*;

const ACTIVE: Circumstances = Circumstances {
    rounds: Rounds::First,
    stale: false,
    probes: false,
    doubtful: false,
    head_since: None,
};
const PROBE: Circumstances = Circumstances {
    probes: true,
    ..ACTIVE
};

fn judged(outcome: Outcome, endpoint: EndpointVerdict, circumstances: Circumstances) -> Judgement {
    let settings = Settings::default()
        .with_redelivery_schedule(vec![30, 60])
        .unwrap();
    let ended = Ended {
        outcome,
        endpoint: Some(endpoint),
    };
    judge(ended, circumstances, &settings, UtcTime::EPOCH, 1.0).unwrap()
}

fn due(seconds: u64) -> Option<UtcTime> {
    Some(UtcTime::EPOCH + Duration::from_secs(seconds))
}

fn asked(seconds: u64) -> Outcome {
    Outcome::Paused {
        until: Duration::from_secs(seconds),
    }
}

/// The table of ARCHITECTURE.md: answer × state → event, window.
#[test]
fn every_answer_in_every_state() {
    let moved = (Retrying, due(30), false);
    let waits = (Retrying, due(0), true);
    let dead = (Dead, None, false);
    for (outcome, endpoint, active, probe, window) in [
        (
            Outcome::Delivered,
            Takes,
            (Delivered, None, false),
            (Delivered, None, false),
            Some(true),
        ),
        (Outcome::Exhausted, Answers, moved, moved, Some(false)),
        (Outcome::Exhausted, Silent, moved, waits, Some(false)),
        (asked(5), Answers, moved, moved, None),
        (asked(5), Silent, moved, waits, None),
        (Outcome::Final, Answers, dead, dead, None),
        (Outcome::Final, Objects, dead, waits, None),
        // A literal address that the egress guard refuses.
        (Outcome::Final, Silent, dead, waits, None),
        (Outcome::Gone, Gone, dead, waits, None),
    ] {
        for (circumstances, expected) in [(ACTIVE, active), (PROBE, probe)] {
            let judged = judged(outcome, endpoint, circumstances);
            let found = (judged.status, judged.next_attempt_at, judged.waits);
            assert_eq!(
                found, expected,
                "{outcome:?} {endpoint:?} {circumstances:?}"
            );
            assert_eq!(judged.success, window, "{outcome:?} {endpoint:?}");
        }
    }
}

#[test]
fn the_schedule_runs_from_the_first_failure_to_the_dead_letter() {
    for (outcome, counts) in [(Outcome::Exhausted, true), (asked(1), false)] {
        for probes in [false, true] {
            let round = |rounds| {
                let circumstances = Circumstances {
                    rounds,
                    probes,
                    ..ACTIVE
                };
                judged(outcome, Answers, circumstances)
            };
            let first = round(Rounds::First);
            assert_eq!((first.status, first.next_attempt_at), (Retrying, due(30)));
            assert_eq!((first.counts, first.rounds), (counts && !probes, 0));
            let second = round(Rounds::Redelivery(0));
            assert_eq!((second.status, second.next_attempt_at), (Retrying, due(60)));
            assert!(!second.counts && second.rounds == 1);
            let last = round(Rounds::Redelivery(1));
            assert_eq!((last.status, last.next_attempt_at), (Dead, None));
        }
    }
}

#[test]
fn a_pause_that_was_asked_for_is_the_least_wait() {
    let judged = judged(asked(90), Answers, ACTIVE);
    assert_eq!(judged.next_attempt_at, due(90));
    assert_eq!(judged.pause, Some(Duration::from_secs(90)));
    assert!(!judged.counts);
}

#[test]
fn an_answer_about_the_endpoint_waits_while_it_is_in_doubt() {
    let doubtful = Circumstances {
        doubtful: true,
        ..ACTIVE
    };
    for (outcome, endpoint, status) in [
        (Outcome::Final, Objects, Retrying),
        (Outcome::Gone, Gone, Retrying),
        (Outcome::Final, Answers, Dead),
    ] {
        let judged = judged(outcome, endpoint, doubtful);
        assert_eq!(judged.status, status, "{endpoint:?}");
        assert!(judged.counts);
    }
}

#[test]
fn a_head_is_given_up_once_its_whole_schedule_has_passed() {
    let settings = Settings::default()
        .with_redelivery_schedule(vec![30, 60])
        .unwrap();
    for (passed, status) in [(89, Retrying), (90, Dead)] {
        for (outcome, endpoint) in [
            (Outcome::Exhausted, Silent),
            (asked(5), Answers),
            (Outcome::Final, Objects),
        ] {
            let ended = Ended {
                outcome,
                endpoint: Some(endpoint),
            };
            let circumstances = Circumstances {
                head_since: Some(UtcTime::EPOCH),
                ..PROBE
            };
            let now = due(passed).unwrap();
            let judged = judge(ended, circumstances, &settings, now, 1.0).unwrap();
            assert_eq!(judged.status, status, "{outcome:?} after {passed} s");
        }
    }
}

#[test]
fn a_failure_under_old_settings_is_tried_again_at_once() {
    let stale = Circumstances {
        stale: true,
        head_since: Some(UtcTime::EPOCH),
        ..ACTIVE
    };
    for outcome in [Outcome::Exhausted, Outcome::Final, Outcome::Gone, asked(9)] {
        let judged = judged(outcome, Answers, stale);
        assert_eq!((judged.status, judged.next_attempt_at), (Retrying, due(0)));
        assert!(!judged.counts && !judged.gone && judged.pause.is_none());
    }
    let delivered = judged(Outcome::Delivered, Takes, stale);
    assert_eq!(delivered.status, Delivered);
}

#[test]
fn what_failed_on_this_side_is_not_judged() {
    for outcome in [
        Outcome::Interrupted,
        Outcome::Ourselves(LocalFault::Descriptors),
    ] {
        let ended = Ended {
            outcome,
            endpoint: None,
        };
        let judged = judge(ended, ACTIVE, &Settings::default(), UtcTime::EPOCH, 1.0);
        assert_eq!(judged, None);
    }
}
