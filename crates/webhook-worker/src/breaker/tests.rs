use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy {
    threshold: 5,
    cool_down: Duration::from_secs(30),
};

fn at(seconds: u64) -> UtcTime {
    UtcTime::EPOCH + Duration::from_secs(seconds)
}

#[track_caller]
fn check(state: Breaker, input: Input, seconds: u64, expected: (Breaker, Action)) {
    assert_eq!(state.step(input, &POLICY, at(seconds), 1.0), expected);
}

fn tripped(probe_at: Option<u64>, failed_probes: u32, since: u64) -> Breaker {
    Breaker::Tripped {
        probe_at: probe_at.map(at),
        failed_probes,
        since: at(since),
    }
}

fn probing(failed_probes: u32, since: u64) -> Breaker {
    Breaker::Probing {
        failed_probes,
        since: at(since),
    }
}

#[test]
fn the_threshold_trips() {
    check(
        Breaker::Healthy,
        Input::Failures(4),
        100,
        (Breaker::Healthy, Action::Nothing),
    );
    check(
        Breaker::Healthy,
        Input::Failures(5),
        100,
        (
            tripped(Some(130), 0, 100),
            Action::Trip {
                probe_at: Some(at(130)),
            },
        ),
    );
}

#[test]
fn gone_trips_for_good() {
    check(
        Breaker::Healthy,
        Input::Gone,
        100,
        (tripped(None, 0, 100), Action::Trip { probe_at: None }),
    );
    check(
        tripped(None, 0, 100),
        Input::Tick,
        1_000_000,
        (tripped(None, 0, 100), Action::Nothing),
    );
    check(
        probing(3, 100),
        Input::ProbeFailed { gone: true },
        200,
        (tripped(None, 4, 100), Action::Wait { probe_at: None }),
    );
}

#[test]
fn a_probe_goes_out_when_it_is_due() {
    let state = tripped(Some(130), 0, 100);
    check(state, Input::Tick, 129, (state, Action::Nothing));
    check(state, Input::Tick, 130, (probing(0, 100), Action::Probe));
    check(
        probing(0, 100),
        Input::Tick,
        500,
        (probing(0, 100), Action::Nothing),
    );
    check(
        probing(0, 100),
        Input::ProbeSucceeded,
        131,
        (Breaker::Healthy, Action::Recover),
    );
}

#[test]
fn cool_downs_double_up_to_ten_minutes() {
    for (failed, cool_down) in [(0, 60), (1, 120), (2, 240), (3, 480), (4, 600), (40, 600)] {
        check(
            probing(failed, 0),
            Input::ProbeFailed { gone: false },
            1_000,
            (
                tripped(Some(1_000 + cool_down), failed + 1, 0),
                Action::Wait {
                    probe_at: Some(at(1_000 + cool_down)),
                },
            ),
        );
    }
}

#[test]
fn five_days_leave_it_to_the_operator() {
    let five_days = GIVE_UP_AFTER.as_secs();
    check(
        probing(9, 100),
        Input::ProbeFailed { gone: false },
        100 + five_days,
        (tripped(None, 10, 100), Action::Wait { probe_at: None }),
    );
}

#[test]
fn the_operator_has_the_last_word() {
    for state in [
        Breaker::Healthy,
        tripped(None, 3, 0),
        probing(1, 0),
        Breaker::Paused,
    ] {
        check(
            state,
            Input::Enabled,
            5,
            (Breaker::Healthy, Action::Nothing),
        );
        check(
            state,
            Input::Disabled,
            5,
            (Breaker::Paused, Action::Nothing),
        );
    }
    for input in [
        Input::Failures(99),
        Input::Gone,
        Input::Tick,
        Input::ProbeSucceeded,
    ] {
        check(
            Breaker::Paused,
            input,
            5,
            (Breaker::Paused, Action::Nothing),
        );
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        (0..10_u32).prop_map(Input::Failures),
        Just(Input::Gone),
        Just(Input::Tick),
        Just(Input::ProbeSucceeded),
        any::<bool>().prop_map(|gone| Input::ProbeFailed { gone }),
        Just(Input::ProbeReleased),
        Just(Input::Enabled),
        Just(Input::Disabled),
    ]
}

proptest! {
    /// Whatever happened, an operator can switch it on; and left alone it probes within the
    /// longest cool-down unless it was gone, given up, or paused.
    #[test]
    fn it_is_never_stuck(
        inputs in proptest::collection::vec((any_input(), 0..100_000_u64, 0.8..1.2_f64), 0..60)
    ) {
        let (mut state, mut now) = (Breaker::Healthy, 0);
        for (input, later, jitter) in inputs {
            now += later;
            let before = state;
            let (next, action) = state.step(input, &POLICY, at(now), jitter);
            if before == Breaker::Paused && input != Input::Enabled {
                prop_assert_eq!(next, Breaker::Paused);
            }
            if matches!(action, Action::Trip { .. }) {
                prop_assert_eq!(before, Breaker::Healthy);
            }
            prop_assert_eq!(action == Action::Probe, before != next && matches!(next, Breaker::Probing { .. }));
            state = next;
        }
        prop_assert_eq!(state.step(Input::Enabled, &POLICY, at(now), 1.0).0, Breaker::Healthy);
        if let Breaker::Tripped { probe_at: Some(_), .. } = state {
            let later = at(now) + LONGEST_COOL_DOWN.mul_f64(1.2);
            let (probing, action) = state.step(Input::Tick, &POLICY, later, 1.0);
            prop_assert_eq!(action, Action::Probe);
            prop_assert_eq!(probing.step(Input::ProbeSucceeded, &POLICY, later, 1.0).1, Action::Recover);
        }
    }
}
