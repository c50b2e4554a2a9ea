use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy {
    threshold: 5,
    cool_down: Duration::from_secs(30),
    answering_cool_down: Duration::from_secs(2),
    control_ping: true,
};
const HEALTHY: Breaker = Breaker {
    phase: Phase::Healthy,
    control: None,
};
const SILENT: Probe = refused(Manner::Silent);
const ANSWERED: Probe = refused(Manner::Answers);

const fn refused(manner: Manner) -> Probe {
    Probe::Refused {
        manner,
        not_before: None,
    }
}

fn at(seconds: u64) -> UtcTime {
    UtcTime::EPOCH + Duration::from_secs(seconds)
}

fn step(state: Breaker, input: Input, seconds: u64) -> (Breaker, Action) {
    state.step(input, &POLICY, at(seconds), 1.0)
}

fn failures(count: u32, manner: Manner) -> Input {
    Input::Failures { count, manner }
}

fn tripped(probe_at: u64, outage: Outage) -> Breaker {
    Breaker::new(Phase::Tripped {
        probe_at: Some(at(probe_at)),
        outage,
    })
}

fn probing(trying: Candidate, outage: Outage) -> Breaker {
    Breaker::new(Phase::Probing { outage, trying })
}

fn outage(manner: Manner, turns: u32, since: u64) -> Outage {
    Outage {
        turns,
        ..Outage::new(manner, at(since))
    }
}

#[track_caller]
fn waits_until(action: Action) -> Option<UtcTime> {
    match action {
        Action::Wait { probe_at, .. } => probe_at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn silence_trips_at_the_threshold() {
    let four = failures(4, Manner::Silent);
    assert_eq!(step(HEALTHY, four, 100), (HEALTHY, Action::Nothing));
    let silent = outage(Manner::Silent, 0, 100);
    let trip = Action::Trip {
        probe_at: Some(at(130)),
        outage: silent,
    };
    let five = failures(5, Manner::Silent);
    assert_eq!(step(HEALTHY, five, 100), (tripped(130, silent), trip));
}

#[test]
fn where_it_answers_a_test_ping_decides() {
    let five = failures(5, Manner::Answers);
    let (checking, action) = step(HEALTHY, five, 100);
    assert_eq!((checking.phase, action), (Phase::Checking, Action::Check));
    assert_eq!(step(checking, five, 100), (checking, Action::Nothing));

    let (well, action) = step(checking, Input::Controlled(Probe::Taken), 101);
    assert_eq!((well.phase, action), (Phase::Healthy, Action::Clear));
    // It stands for a while, and then it is asked again.
    assert_eq!(step(well, five, 130), (well, Action::Clear));
    assert_eq!(step(well, five, 131).1, Action::Check);
    // Silence needs no question.
    let silent = step(well, failures(5, Manner::Silent), 102).1;
    assert!(matches!(silent, Action::Trip { .. }));

    let (off, action) = step(checking, Input::Controlled(ANSWERED), 101);
    let answers = outage(Manner::Answers, 0, 101);
    let trip = Action::Trip {
        probe_at: Some(at(103)),
        outage: answers,
    };
    assert_eq!((off.phase, action), (tripped(103, answers).phase, trip));
    let (off, _) = step(checking, Input::Controlled(SILENT), 101);
    assert_eq!(
        off.phase,
        tripped(131, outage(Manner::Silent, 0, 101)).phase
    );
    let (asked_later, action) = step(checking, Input::Controlled(Probe::Nothing), 101);
    assert_eq!((asked_later, action), (HEALTHY, Action::Nothing));
}

#[test]
fn without_test_pings_it_trips_as_it_answers() {
    let policy = Policy {
        control_ping: false,
        ..POLICY
    };
    let (off, action) = HEALTHY.step(failures(5, Manner::Answers), &policy, at(100), 1.0);
    assert!(matches!(action, Action::Trip { .. }));
    let (_, action) = off.step(Input::Tick, &policy, at(200), 1.0);
    assert_eq!(action, Action::Probe(Candidate::Newest));
}

#[test]
fn gone_trips_for_good() {
    let (off, action) = step(HEALTHY, Input::Gone, 100);
    assert!(matches!(action, Action::Trip { probe_at: None, .. }));
    assert_eq!(step(off, Input::Tick, 1_000_000), (off, Action::Nothing));
    let state = probing(Candidate::Oldest, outage(Manner::Silent, 3, 100));
    let (_, action) = step(state, Input::Probed(Probe::Gone), 200);
    assert_eq!(waits_until(action), None);
}

#[test]
fn a_turn_with_one_that_answers_tries_everything() {
    let answers = outage(Manner::Answers, 0, 100);
    let state = tripped(102, answers);
    assert_eq!(step(state, Input::Tick, 101), (state, Action::Nothing));
    let (ping, action) = step(state, Input::Tick, 102);
    assert_eq!(action, Action::Probe(Candidate::Ping));
    let (newest, action) = step(ping, Input::Probed(ANSWERED), 102);
    assert_eq!(action, Action::Next(Candidate::Newest));
    let (oldest, action) = step(newest, Input::Probed(Probe::Nothing), 102);
    assert_eq!(action, Action::Next(Candidate::Oldest));
    let (over, action) = step(oldest, Input::Probed(ANSWERED), 102);
    assert_eq!(waits_until(action), Some(at(106)));
    // The ping that was refused stands: the next turn begins with an event.
    let (_, action) = step(over, Input::Tick, 106);
    assert_eq!(action, Action::Probe(Candidate::Newest));
    for state in [ping, newest, oldest] {
        let (well, action) = step(state, Input::Probed(Probe::Taken), 102);
        assert_eq!((well.phase, action), (Phase::Healthy, Action::Recover));
        // What took an event is well for a while.
        let again = step(well, failures(5, Manner::Answers), 110);
        assert_eq!(again.1, Action::Clear);
    }
}

#[test]
fn a_turn_with_a_silent_one_is_one_event() {
    let silent = outage(Manner::Silent, 0, 100);
    let (state, action) = step(tripped(130, silent), Input::Tick, 130);
    assert_eq!(action, Action::Probe(Candidate::Newest));
    assert_eq!(step(state, Input::Tick, 500), (state, Action::Nothing));
    let (_, action) = step(state, Input::Probed(SILENT), 130);
    assert_eq!(waits_until(action), Some(at(190)));
    let (state, action) = step(state, Input::Probed(Probe::Nothing), 130);
    assert_eq!(action, Action::Next(Candidate::Oldest));
    let (_, action) = step(state, Input::Probed(Probe::Nothing), 130);
    assert_eq!(
        action,
        Action::Next(Candidate::Oldest),
        "the next arrival is tried"
    );
    // Another event each turn.
    let next = |turns| {
        let outage = outage(Manner::Silent, turns, 100);
        let action = step(tripped(130, outage), Input::Tick, 130).1;
        (action, outage.rows_first())
    };
    assert_eq!(next(1), (Action::Probe(Candidate::Oldest), false));
    assert_eq!(next(2), (Action::Probe(Candidate::Oldest), true));
    assert_eq!(next(3), (Action::Probe(Candidate::Newest), false));
}

#[test]
fn a_change_of_manner_begins_anew() {
    for (before, result, after) in [(Manner::Silent, ANSWERED, 2), (Manner::Answers, SILENT, 30)] {
        let state = probing(Candidate::Oldest, outage(before, 7, 0));
        let (_, action) = step(state, Input::Probed(result), 1_000);
        assert_eq!(waits_until(action), Some(at(1_000 + after)), "{before:?}");
    }
    // A turn ends with the first sign of silence.
    let state = probing(Candidate::Ping, outage(Manner::Answers, 7, 0));
    let (_, action) = step(state, Input::Probed(SILENT), 1_000);
    assert_eq!(waits_until(action), Some(at(1_030)));
}

#[test]
fn cool_downs_double_up_to_ten_minutes() {
    for (manner, result, turns, cool_down) in [
        (Manner::Silent, SILENT, 0, 60),
        (Manner::Silent, SILENT, 1, 120),
        (Manner::Silent, SILENT, 3, 480),
        (Manner::Silent, SILENT, 4, 600),
        (Manner::Silent, SILENT, 40, 600),
        (Manner::Answers, ANSWERED, 0, 4),
        (Manner::Answers, ANSWERED, 7, 512),
        (Manner::Answers, ANSWERED, 8, 600),
    ] {
        let state = probing(Candidate::Oldest, outage(manner, turns, 0));
        let (_, action) = step(state, Input::Probed(result), 1_000);
        assert_eq!(
            waits_until(action),
            Some(at(1_000 + cool_down)),
            "{manner:?} {turns}"
        );
    }
}

#[test]
fn a_pause_that_was_asked_for_is_kept() {
    let asked = Probe::Refused {
        manner: Manner::Answers,
        not_before: Some(at(5_000)),
    };
    let state = probing(Candidate::Ping, outage(Manner::Answers, 0, 0));
    let (_, action) = step(state, Input::Probed(asked), 1_000);
    assert_eq!(waits_until(action), Some(at(5_000)));
}

#[test]
fn five_days_of_silence_leave_it_to_the_operator() {
    let five_days = GIVE_UP_AFTER.as_secs();
    let silent = probing(Candidate::Oldest, outage(Manner::Silent, 9, 100));
    let (_, action) = step(silent, Input::Probed(SILENT), 100 + five_days);
    assert_eq!(waits_until(action), None);
    let answers = probing(Candidate::Oldest, outage(Manner::Answers, 9, 100));
    let (_, action) = step(answers, Input::Probed(ANSWERED), 100 + five_days);
    assert!(waits_until(action).is_some());
}

fn any_probe() -> impl Strategy<Value = Probe> {
    let asked = (any::<bool>(), prop::option::of(0..100_000_u64)).prop_map(|(silent, asked)| {
        Probe::Refused {
            manner: if silent {
                Manner::Silent
            } else {
                Manner::Answers
            },
            not_before: asked.map(at),
        }
    });
    prop_oneof![
        2 => Just(Probe::Taken),
        6 => asked,
        1 => Just(Probe::Gone),
        2 => Just(Probe::Nothing),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        (0..10_u32, any::<bool>()).prop_map(|(count, silent)| {
            failures(
                count,
                if silent {
                    Manner::Silent
                } else {
                    Manner::Answers
                },
            )
        }),
        Just(Input::Gone),
        Just(Input::Tick),
        any_probe().prop_map(Input::Controlled),
        any_probe().prop_map(Input::Probed),
        Just(Input::ProbeReleased),
    ]
}

proptest! {
    /// Whatever happened, left alone it probes within the longest cool-down, or when the receiver
    /// asked for it, unless it was gone or given up; then any 2xx recovers.
    #[test]
    fn it_is_never_stuck(
        inputs in proptest::collection::vec((any_input(), 0..100_000_u64, 0.8..1.2_f64), 0..60)
    ) {
        let (mut state, mut now) = (HEALTHY, 0);
        for (input, later, jitter) in inputs {
            now += later;
            let before = state;
            let (next, action) = state.step(input, &POLICY, at(now), jitter);
            if matches!(action, Action::Trip { .. }) {
                prop_assert!(matches!(before.phase, Phase::Healthy | Phase::Checking));
            }
            if matches!(action, Action::Check | Action::Probe(Candidate::Ping)) {
                let heard = before.control.map(|control| control.at);
                prop_assert!(heard.is_none_or(|heard| at(now).since(heard) >= CONTROL_STANDS));
            }
            prop_assert_eq!(
                matches!(action, Action::Recover | Action::Clear),
                next.phase == Phase::Healthy && action != Action::Nothing
            );
            state = next;
        }
        if state.phase == Phase::Checking {
            let (next, _) = state.step(Input::Controlled(Probe::Taken), &POLICY, at(now), 1.0);
            prop_assert_eq!(next.phase, Phase::Healthy);
        }
        if let Phase::Tripped { probe_at: Some(due), .. } = state.phase {
            let asked = at(100_000);
            let longest = at(now) + LONGEST_COOL_DOWN.mul_f64(1.2);
            prop_assert!(due <= longest.max(asked));
            let (probing, action) = state.step(Input::Tick, &POLICY, due, 1.0);
            prop_assert!(matches!(action, Action::Probe(_)));
            let recovered = probing.step(Input::Probed(Probe::Taken), &POLICY, due, 1.0).1;
            prop_assert_eq!(recovered, Action::Recover);
        }
    }
}
