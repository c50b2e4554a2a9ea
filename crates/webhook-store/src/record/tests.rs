use std::time::Duration;

use bytes::Bytes;
use webhook_model::{DeliveryStatus, UtcTime};

use super::{insert::chunks, *};

fn record(seq: u64, status: DeliveryStatus) -> DeliveryRecord {
    DeliveryRecord {
        pair_id: "p".into(),
        seq,
        incarnation: "a".into(),
        subscription: "s".into(),
        event_id: format!("e{seq}"),
        topic: "a.b".into(),
        kind: String::new(),
        status,
        attempts: 1,
        round: 0,
        failed_attempts: Vec::new(),
        status_code: None,
        error: (status != DeliveryStatus::Delivered).then(|| format!("failure {seq}")),
        duration: Duration::ZERO,
        body: None,
        at: UtcTime::from_micros(i64::try_from(seq).unwrap()),
        next_attempt_at: None,
        in_order: false,
        epoch: 1,
        counts: true,
    }
}

fn fold(records: &[DeliveryRecord], epoch: i64) -> Option<Fold> {
    let epochs = HashMap::from([("s".to_owned(), epoch)]);
    Fold::by_subscription(records.iter(), &epochs).remove("s")
}

#[test]
fn outcomes_are_folded_in_order() {
    use DeliveryStatus::{Dead, Delivered, Retrying};
    let time = |micros| Some(UtcTime::from_micros(micros));
    for (statuses, expected) in [
        (&[Delivered, Delivered][..], (time(1), 0, None, None)),
        (&[Dead, Retrying], (None, 2, time(1), Some("failure 1"))),
        (&[Dead, Delivered], (time(1), 0, time(0), None)),
        (
            &[Delivered, Dead, Dead],
            (time(0), 2, time(2), Some("failure 2")),
        ),
        (
            &[Dead, Delivered, Retrying],
            (time(1), 1, time(2), Some("failure 2")),
        ),
    ] {
        let records: Vec<_> = statuses
            .iter()
            .zip(0..)
            .map(|(s, seq)| record(seq, *s))
            .collect();
        let found = fold(&records, 1).unwrap();
        let found = (
            found.last_success,
            found.failures,
            found.last_failure,
            found.last_error.as_deref().map(str::to_owned),
        );
        let (success, failures, failure, error) = expected;
        assert_eq!(
            found,
            (success, failures, failure, error.map(str::to_owned)),
            "{statuses:?}"
        );
    }
}

#[test]
fn older_epochs_and_uncounted_outcomes_mean_nothing() {
    let mut records = [
        record(0, DeliveryStatus::Dead),
        record(1, DeliveryStatus::Dead),
    ];
    assert_eq!(fold(&records, 2), None);
    records[0].epoch = 2;
    assert_eq!(fold(&records, 2).unwrap().failures, 1);
    records[0].counts = false;
    assert_eq!(fold(&records, 2), None);
    assert_eq!(
        fold(&records, 0).unwrap().failures,
        1,
        "an unknown epoch is 0"
    );
}

#[test]
fn error_texts_are_cut_and_cleaned() {
    let mut bad = record(0, DeliveryStatus::Dead);
    bad.error = Some(format!("a\0{}", "ü".repeat(600)));
    let error = fold(&[bad], 1).unwrap().last_error.unwrap();
    assert_eq!(error.chars().count(), 512);
    assert!(error.starts_with("a\u{fffd}ü"));
}

#[test]
fn statements_come_in_few_sizes() {
    let records: Vec<_> = (0..500)
        .map(|seq| record(seq, DeliveryStatus::Delivered))
        .collect();
    let records: Vec<_> = records.iter().collect();
    let mut kinds = BTreeSet::new();
    for total in 0..=500 {
        let sizes: Vec<_> = chunks(&records[..total]).map(<[_]>::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), total);
        assert!(sizes.len() <= 6, "{total}: {sizes:?}");
        kinds.extend(sizes);
    }
    let expected = (1..=16).chain([32, 64, 128, MAX_ROWS]);
    assert_eq!(kinds, expected.collect());
}

#[test]
fn statements_are_cut_by_their_bodies() {
    let records: Vec<_> = (0..8)
        .map(|seq| DeliveryRecord {
            body: Some(Bytes::from(vec![0; 3 << 20])),
            ..record(seq, DeliveryStatus::Dead)
        })
        .collect();
    let records: Vec<_> = records.iter().collect();
    assert!(chunks(&records).all(|chunk| chunk.len() == 1));
    assert_eq!(chunks(&records).count(), 8);
}
