use super::*;

fn cursor(floor: u64) -> Cursor {
    let filter = TopicPattern::parse("a.>").unwrap();
    let mut cursor = Cursor::new(
        filter,
        Saved {
            floor,
            ranges: Vec::new(),
        },
    );
    cursor.open(1);
    cursor.open.as_mut().unwrap().live = true;
    cursor
}

fn take(cursor: &mut Cursor, max: usize) -> Vec<(u64, bool)> {
    let open = cursor.open.as_mut().unwrap();
    (open.next(max).into_iter())
        .filter_map(|seq| Some((seq, open.hand_out(seq)?)))
        .collect()
}

/// What the disk would have after each save.
fn saved(cursor: &mut Cursor, disk: &mut Saved) {
    let Some(save) = cursor.save(1) else { return };
    disk.floor = save.next.floor;
    disk.ranges.retain(|it| !save.removed.contains(&it.0));
    for put in &save.put {
        disk.ranges.retain(|it| it.0 != put.0);
        disk.ranges.push(*put);
    }
    disk.ranges.sort_unstable();
    assert_eq!(*disk, save.next);
    cursor.saved(save.next);
}

#[test]
fn acknowledged_out_of_order() {
    let mut cursor = cursor(0);
    let mut disk = Saved::default();
    for seq in [2, 3, 5, 8] {
        cursor.offer(seq);
    }
    assert_eq!(take(&mut cursor, 3), [(2, false), (3, false), (5, false)]);
    cursor.ack(5);
    saved(&mut cursor, &mut disk);
    assert_eq!((disk.floor, &disk.ranges[..]), (1, &[(4, 7)][..]));
    cursor.ack(3);
    saved(&mut cursor, &mut disk);
    assert_eq!((disk.floor, &disk.ranges[..]), (1, &[(3, 7)][..]));
    cursor.ack(2);
    saved(&mut cursor, &mut disk);
    assert_eq!((disk.floor, &disk.ranges[..]), (7, &[][..]));
    assert_eq!(cursor.save(1), None);

    let mut again = Cursor::new(cursor.filter.clone(), disk);
    again.open(1);
    again.found(&[2, 3, 5, 8], 10);
    assert_eq!(take(&mut again, 9), [(8, false)]);
}

#[test]
fn what_was_given_back_comes_first_and_says_so() {
    let mut cursor = cursor(0);
    for seq in 1..=4 {
        cursor.offer(seq);
    }
    assert_eq!(take(&mut cursor, 3).len(), 3);
    let open = cursor.open.as_mut().unwrap();
    open.release(2);
    open.release(9);
    assert_eq!(take(&mut cursor, 9), [(2, true), (4, false)]);
}

#[test]
fn a_full_queue_falls_behind_and_searches_from_there() {
    let mut cursor = cursor(0);
    for seq in 1..=2_000 {
        cursor.offer(seq);
    }
    let open = cursor.open.as_ref().unwrap();
    assert!(!open.live);
    assert_eq!(open.examined(), QUEUE as u64);
    assert_eq!(take(&mut cursor, 24).len(), 24);
    let rest: Vec<u64> = (QUEUE as u64 + 1..=2_000).collect();
    cursor.found(&rest, 2_000);
    // Only what it had room for.
    let open = cursor.open.as_ref().unwrap();
    assert_eq!(open.examined(), QUEUE as u64 + 24);
    let all = take(&mut cursor, 9_999);
    assert_eq!(all.first(), Some(&(25, false)));
    assert_eq!(all.last(), Some(&(QUEUE as u64 + 24, false)));
}

#[test]
fn late_acknowledgements_count() {
    let mut cursor = cursor(0);
    for seq in 1..=3 {
        cursor.offer(seq);
    }
    take(&mut cursor, 3);
    cursor.shut();
    cursor.ack(2);
    cursor.open(1);
    cursor.found(&[1, 2, 3], 3);
    cursor.ack(3);
    assert_eq!(take(&mut cursor, 9), [(1, false)]);
}

#[test]
fn nothing_idle_is_searched_again() {
    let mut cursor = cursor(0);
    cursor.nothing_up_to(1_000);
    assert_eq!(cursor.save(1).unwrap().next.floor, 1_000);
    cursor.offer(1_001);
    cursor.nothing_up_to(2_000);
    // The rest is not worth writing down before something above it was acknowledged.
    assert_eq!(
        cursor.save(1).unwrap().next,
        Saved {
            floor: 1_000,
            ranges: Vec::new()
        }
    );
}

#[test]
fn what_expired_is_not_handed_out() {
    let mut cursor = cursor(0);
    for seq in 1..=6 {
        cursor.offer(seq);
    }
    take(&mut cursor, 2);
    cursor.open.as_mut().unwrap().release(1);
    cursor.expire(4);
    assert_eq!(take(&mut cursor, 9), [(5, false), (6, false)]);
    assert_eq!(cursor.acked().floor(), 4);
}
