use super::*;

fn peer(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 4711)
}

struct Rig {
    connections: Arc<Connections>,
    start: Instant,
}

impl Rig {
    fn new() -> Self {
        let limits = ConnectionLimits {
            total: 4,
            per_address: 3,
            probes: 1,
        };
        Self {
            connections: Connections::new(limits, ApiStats::default()),
            start: Instant::now(),
        }
    }

    fn admit(&self, address: &str, second: u64) -> Option<Arc<Connection>> {
        let now = self.start + Duration::from_secs(second);
        self.connections.admit(peer(address), now)
    }
}

fn answer(connection: &Arc<Connection>) {
    drop(connection.request(Some(0)));
    connection.flushed();
}

fn is_ended(connection: &Connection) -> bool {
    connection.ended().is_some()
}

#[test]
fn the_idlest_of_an_address_gives_way() {
    let rig = Rig::new();
    let mine: Vec<_> = (0..3).map(|n| rig.admit("192.0.2.1", n).unwrap()).collect();
    let other = rig.admit("192.0.2.2", 0).unwrap();
    let busy = mine[0].request(Some(0));
    assert!(!rig.admit("192.0.2.1", 9).unwrap().for_probes);
    assert!(is_ended(&mine[1]) && !is_ended(&mine[0]) && !is_ended(&other));
    drop(busy);
}

#[test]
fn who_has_most_makes_room_for_others() {
    let rig = Rig::new();
    let other = rig.admit("192.0.2.2", 0).unwrap();
    let mine: Vec<_> = (1..4).map(|n| rig.admit("192.0.2.1", n).unwrap()).collect();
    assert!(!rig.admit("192.0.2.3", 9).unwrap().for_probes);
    assert!(is_ended(&mine[0]) && !is_ended(&other));
    assert_eq!(rig.connections.stats.connections().gave_way, 1);
}

#[test]
fn where_all_are_in_use_there_is_room_for_a_probe() {
    let rig = Rig::new();
    let open: Vec<_> = (1..5)
        .map(|n| rig.admit(&format!("192.0.2.{n}"), 0).unwrap())
        .collect();
    let used: Vec<_> = open.iter().map(|it| it.request(Some(0))).collect();
    let probe = rig.admit("192.0.2.9", 1).unwrap();
    assert!(probe.for_probes);
    // Probes are for a moment: the next one takes the place.
    assert!(rig.admit("192.0.2.9", 2).unwrap().for_probes);
    assert!(is_ended(&probe));
    drop(used);
    // What they answered is not written yet.
    assert!(rig.admit("192.0.2.9", 2).unwrap().for_probes);
    open.iter().for_each(|it| it.flushed());
    assert!(!rig.admit("192.0.2.9", 3).unwrap().for_probes);
}

#[test]
fn a_request_on_its_way_is_waited_for_and_of_a_client_that_asked_before_longest() {
    let limits = ConnectionLimits {
        total: 3,
        per_address: 3,
        probes: 2,
    };
    let connections = Connections::new(limits, ApiStats::default());
    let start = Instant::now();
    let admit = |tenths| {
        let now = start + Duration::from_millis(100) * tenths;
        connections.admit(peer("192.0.2.1"), now).unwrap()
    };
    let (silent, kept, new) = (admit(0), admit(0), admit(5));
    answer(&kept);
    let newer = admit(6);
    assert!(is_ended(&silent) && !is_ended(&kept) && !is_ended(&new));
    let newest = admit(7);
    assert!(is_ended(&new) && !is_ended(&kept) && !is_ended(&newer));
    // By then nothing is on its way to it any more.
    admit(16);
    assert!(is_ended(&kept) && !is_ended(&newer) && !is_ended(&newest));
}

#[test]
fn a_network_of_ipv6_is_one_address() {
    assert_eq!(
        network("2001:db8::1".parse().unwrap()),
        network("2001:db8::2:3".parse().unwrap())
    );
    assert_ne!(
        network("2001:db8::1".parse().unwrap()),
        network("2001:db8:0:1::1".parse().unwrap())
    );
    assert_eq!(
        network("::ffff:192.0.2.1".parse().unwrap()),
        network("192.0.2.1".parse().unwrap())
    );
}

#[test]
fn who_takes_too_long_is_ended() {
    let rig = Rig::new();
    let idle = rig.admit("192.0.2.1", 0).unwrap();
    let busy = rig.admit("192.0.2.1", 0).unwrap();
    let request = busy.request(Some(0));
    let unread = rig.admit("192.0.2.2", 0).unwrap();
    unread.stalls(std::task::Waker::noop());
    rig.connections.look(Instant::now() + WRITE_TIMEOUT / 2);
    assert!(!is_ended(&unread));
    rig.connections
        .look(Instant::now() + WRITE_TIMEOUT + Duration::from_secs(1));
    assert!(is_ended(&unread) && !is_ended(&idle));
    rig.connections
        .look(rig.start + IDLE_TIMEOUT + Duration::from_secs(1));
    assert!(is_ended(&idle) && !is_ended(&busy));
    drop(request);
}

#[test]
fn who_does_not_read_gives_way_before_whoever_may_be_asking() {
    let rig = Rig::new();
    let (unread, new) = (rig.admit("192.0.2.1", 0), rig.admit("192.0.2.1", 0));
    let (unread, new) = (unread.unwrap(), new.unwrap());
    let request = unread.request(Some(0));
    unread.stalls(std::task::Waker::noop());
    rig.admit("192.0.2.1", 0).unwrap();
    assert!(!rig.admit("192.0.2.1", 0).unwrap().for_probes);
    assert!(is_ended(&unread) && !is_ended(&new));
    drop(request);
}

#[test]
fn whoever_showed_a_token_outlives_whoever_did_not() {
    let rig = Rig::new();
    let known = rig.admit("192.0.2.1", 0).unwrap();
    known.is_known("a-token");
    answer(&known);
    for second in 1..20 {
        assert!(!rig.admit("192.0.2.1", second).unwrap().for_probes);
    }
    assert!(!is_ended(&known));
}

#[test]
fn a_body_that_does_not_come_is_of_no_use() {
    let rig = Rig::new();
    let open: Vec<_> = (0..3).map(|_| rig.admit("192.0.2.1", 0).unwrap()).collect();
    let requests: Vec<_> = open.iter().map(|it| it.request(Some(9))).collect();
    let body = open[1].reads_body();
    open[1].waits(std::task::Waker::noop());
    assert!(rig.admit("192.0.2.1", 0).unwrap().for_probes);
    assert!(!rig.admit("192.0.2.1", 9).unwrap().for_probes);
    assert!(is_ended(&open[1]) && !is_ended(&open[0]));
    drop((body, requests));
}

#[test]
fn who_is_asking_when_the_server_stops_is_answered_first() {
    let rig = Rig::new();
    let idle = rig.admit("192.0.2.1", 0).unwrap();
    let asking = rig.admit("192.0.2.2", 0).unwrap();
    asking.asks();
    rig.connections.drain();
    assert!(is_ended(&idle) && !is_ended(&asking));
    asking.flushed();
    assert!(!is_ended(&asking), "its body is still to come");
    let request = asking.request(Some(2));
    asking.flushed();
    assert!(!is_ended(&asking));
    drop(request);
    asking.flushed();
    assert!(is_ended(&asking));
}
