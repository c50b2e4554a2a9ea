//! Every target with its seeds, and with a bounded number of mutations of them: the same ones each
//! time, but in a soak, which tries others and more.

use std::{fs, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use webhook_fuzz::{
    answers, disjoint, egress, envelopes, frames, jwt, patterns, retry_after, signatures,
};
use webhook_testkit::long_or_short;

/// Largest seed: what people can read.
const MAX_SEED_BYTES: usize = 4_096;
/// How much more a soak tries.
const LONGER: u32 = 50;

/// Runs a target over its seeds and over `cases` mutations.
#[track_caller]
fn check(name: &str, cases: u32, run: fn(&[u8])) {
    let seeds = seeds(name);
    for seed in &seeds {
        run(seed);
    }
    let config = Config {
        cases: long_or_short(cases * LONGER, cases),
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = long_or_short(
        TestRunner::new(config.clone()),
        TestRunner::new_with_rng(config, rng),
    );
    let tried = runner.run(&input(seeds), |input| {
        run(&input);
        Ok::<(), TestCaseError>(())
    });
    if let Err(failed) = tried {
        panic!("{name}: {failed}");
    }
}

/// The files of a target's folder.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|it| fs::read(it).unwrap()).collect();
    assert!(!seeds.is_empty() && seeds.iter().all(|it| it.len() <= MAX_SEED_BYTES));
    seeds
}

/// Bytes as they come, or a seed that was changed in a few places.
fn input(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<prop::sample::Index>(),
        0..8_usize,
        vec(any::<u8>(), 0..8),
    );
    let changed =
        (prop::sample::select(seeds), vec(change, 0..8)).prop_map(|(mut bytes, changes)| {
            for (at, cut, new) in changes {
                let at = at.index(bytes.len() + 1);
                let end = (at + cut).min(bytes.len());
                bytes.splice(at..end, new);
            }
            bytes
        });
    prop_oneof![2 => changed, 1 => vec(any::<u8>(), 0..400)]
}

#[test]
fn frames_are_read_as_written() {
    check("frames", 3_000, frames::run);
}

#[test]
fn envelopes_lose_nothing() {
    check("envelopes", 3_000, envelopes::run);
}

#[test]
fn patterns_are_sets_of_topics() {
    check("patterns", 1_000, patterns::run);
}

#[test]
fn filters_are_disjoint() {
    check("disjoint", 300, disjoint::run);
}

#[test]
fn what_must_never_be_reached_is_not() {
    check("egress", 10_000, egress::run);
}

#[test]
fn no_pause_is_longer_than_the_longest() {
    check("retry_after", 10_000, retry_after::run);
}

#[test]
fn only_what_is_untouched_verifies() {
    check("signatures", 3_000, signatures::run);
}

#[test]
fn only_tokens_of_the_key_are_taken() {
    check("jwt", 3_000, jwt::run);
}

#[test]
fn a_status_line_decides() {
    check("answers", 1_000, answers::run);
}
