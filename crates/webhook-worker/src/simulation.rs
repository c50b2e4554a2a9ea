//! Breaker, schedule and gate together under simulated time: the pure functions that the worker acts
//! by, driven by a loop that does in order what its tasks do side by side. One attempt at a time, the
//! worst that a window can shrink to.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use webhook_delivery::{EndpointVerdict, EventVerdict, Outcome, Verdict};
use webhook_model::{DeliveryStatus, Settings, UtcTime};

use crate::{
    breaker::{
        Action, Breaker, CONTROL_STANDS, Candidate, Input, LONGEST_COOL_DOWN, Manner, Outage,
        Phase, Policy, Probe,
    },
    judge::{Circumstances, Ended, Rounds, judge},
    prober::probe,
    schedule::whole,
};

const POLICY: Policy = Policy {
    threshold: 5,
    cool_down: Duration::from_secs(30),
    answering_cool_down: Duration::from_secs(2),
    control_ping: true,
};
const SCHEDULE: [u32; 4] = [30, 120, 600, 1_800];
/// The short schedule of one round.
const BACKOFF: [u64; 3] = [1, 2, 4];
/// Steps of the loop that no play needs.
const MANY: usize = 200_000;

/// What a receiver that is well does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// 422.
    Refused,
    /// 403.
    Forbidden,
    /// 500.
    Chokes,
    /// No answer, for this event alone.
    Silences,
    /// 429 with `Retry-After`.
    Asks(u64),
}

/// What the endpoint does with everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Well,
    Silent,
    /// 404.
    Objects,
    /// 500.
    Chokes,
}

/// What happens from outside.
#[derive(Debug, Clone, Copy)]
enum Act {
    Mode(Mode),
    Publish(Kind),
    Patch,
    Restart,
}

struct Event {
    kind: Kind,
    published: UtcTime,
    /// Attempts that were answered.
    answered: usize,
    ended: Option<(UtcTime, DeliveryStatus)>,
}

struct Row {
    due: UtcTime,
    rounds: u32,
}

struct World {
    now: UtcTime,
    settings: Settings,
    takes_pings: bool,
    mode: Mode,
    events: Vec<Event>,
    /// On the bus, in order.
    waiting: Vec<usize>,
    rows: BTreeMap<usize, Row>,
    breaker: Breaker,
    streak: u32,
    last: Manner,
    paused_until: UtcTime,
    well_until: UtcTime,
    tried: Vec<usize>,
    trips: usize,
    silent_for: Duration,
}

fn at(seconds: u64) -> UtcTime {
    UtcTime::EPOCH + Duration::from_secs(seconds)
}

impl World {
    fn new(takes_pings: bool) -> Self {
        Self {
            now: at(0),
            settings: Settings::default()
                .with_redelivery_schedule(SCHEDULE.to_vec())
                .unwrap(),
            takes_pings,
            mode: Mode::Well,
            events: Vec::new(),
            waiting: Vec::new(),
            rows: BTreeMap::new(),
            breaker: Breaker::new(Phase::Healthy),
            streak: 0,
            last: Manner::Silent,
            paused_until: at(0),
            well_until: at(0),
            tried: Vec::new(),
            trips: 0,
            silent_for: Duration::ZERO,
        }
    }

    fn answer(&self, kind: Kind) -> Verdict {
        use EndpointVerdict::{Answers, Objects};
        match (self.mode, kind) {
            (Mode::Silent, _) | (Mode::Well, Kind::Silences) => Verdict::SILENT,
            (Mode::Objects, _) | (Mode::Well, Kind::Forbidden) => Verdict::refused(Objects),
            (Mode::Chokes, _) | (Mode::Well, Kind::Chokes) => Verdict::not_yet(Answers, None),
            (Mode::Well, Kind::Good) => Verdict::DELIVERED,
            (Mode::Well, Kind::Refused) => Verdict::refused(Answers),
            (Mode::Well, Kind::Asks(seconds)) => {
                Verdict::not_yet(Answers, Some(Duration::from_secs(seconds)))
            }
        }
    }

    fn attempt(&mut self, event: usize) -> Verdict {
        let verdict = self.answer(self.events[event].kind);
        let answered = verdict.endpoint().is_some_and(EndpointVerdict::answered);
        self.events[event].answered += usize::from(answered);
        verdict
    }

    /// One round as `webhook-delivery` plays it, with the worker's hooks.
    fn round(&mut self, event: usize, probes: bool) -> (Outcome, Option<EndpointVerdict>) {
        let mut backoff = BACKOFF.iter();
        loop {
            let Verdict::Receiver {
                event: verdict,
                endpoint,
            } = self.attempt(event)
            else {
                panic!("nothing fails on this side")
            };
            let outcome = match verdict {
                EventVerdict::Delivered => Outcome::Delivered,
                EventVerdict::Refused => Outcome::Final,
                EventVerdict::NotYet { after: Some(until) } => Outcome::Paused { until },
                EventVerdict::NotYet { after: None } => {
                    let cut = probes || (endpoint.answered() && self.now < self.well_until);
                    match backoff.next() {
                        Some(seconds) if !cut => {
                            self.now = self.now + Duration::from_secs(*seconds);
                            continue;
                        }
                        _ => Outcome::Exhausted,
                    }
                }
            };
            return (outcome, Some(endpoint));
        }
    }

    /// Plays a round with an event and does what comes of it; what a probe is to the breaker.
    fn deliver(&mut self, event: usize, probes: bool) -> Probe {
        let rounds = match self.rows.get(&event) {
            Some(row) => Rounds::Redelivery(row.rounds),
            None => Rounds::First,
        };
        let (outcome, endpoint) = self.round(event, probes);
        let first = rounds == Rounds::First && !probes;
        if outcome == Outcome::Delivered {
            self.streak = 0;
        } else if first && matches!(outcome, Outcome::Final | Outcome::Exhausted) {
            self.streak += 1;
        }
        let circumstances = Circumstances {
            rounds,
            stale: false,
            probes,
            doubtful: first && self.streak > POLICY.threshold && self.now >= self.well_until,
            head_since: None,
        };
        let ended = Ended { outcome, endpoint };
        let judged = judge(ended, circumstances, &self.settings, self.now, 1.0).unwrap();
        if let Some(pause) = judged.pause {
            self.paused_until = self.paused_until.max(self.now + pause);
        }
        if probes && judged.waits {
            self.tried.push(event);
        } else {
            self.waiting.retain(|it| *it != event);
            self.rows.remove(&event);
            match (judged.status, judged.next_attempt_at) {
                (DeliveryStatus::Retrying, Some(due)) => {
                    let rounds = judged.rounds;
                    self.rows.insert(event, Row { due, rounds });
                }
                (status, _) => self.events[event].ended = Some((self.now, status)),
            }
        }
        let endpoint = endpoint.unwrap();
        if judged.counts && outcome != Outcome::Delivered {
            self.last = if endpoint.answered() {
                Manner::Answers
            } else {
                Manner::Silent
            };
            let (count, manner) = (self.streak, self.last);
            self.step(Input::Failures { count, manner });
        }
        probe(endpoint, judged.pause.map(|pause| self.now + pause))
    }

    fn ping(&self) -> Probe {
        match (self.mode, self.takes_pings) {
            (Mode::Well, true) => Probe::Taken,
            (Mode::Silent, _) => Probe::Refused {
                manner: Manner::Silent,
                not_before: None,
            },
            _ => Probe::Refused {
                manner: Manner::Answers,
                not_before: None,
            },
        }
    }

    fn step(&mut self, input: Input) {
        let (next, action) = self.breaker.step(input, &POLICY, self.now, 1.0);
        self.breaker = next;
        match action {
            Action::Nothing | Action::Wait { .. } => {}
            Action::Check => {
                let result = self.ping();
                self.step(Input::Controlled(result));
            }
            Action::Clear => self.found_well(),
            Action::Trip { .. } => {
                self.trips += 1;
                self.tried.clear();
                self.well_until = at(0);
            }
            Action::Recover => {
                self.paused_until = at(0);
                self.found_well();
            }
            Action::Probe(candidate) | Action::Next(candidate) => self.try_candidate(candidate),
        }
    }

    fn found_well(&mut self) {
        self.streak = 0;
        self.well_until = self.now + CONTROL_STANDS;
    }

    fn try_candidate(&mut self, candidate: Candidate) {
        let Phase::Probing { outage, .. } = self.breaker.phase else {
            panic!("a candidate outside a turn")
        };
        let result = match candidate {
            Candidate::Ping => self.ping(),
            Candidate::Newest => match self.waiting.last().copied() {
                Some(event) => self.deliver(event, true),
                None => Probe::Nothing,
            },
            Candidate::Oldest => {
                let untried = |it: &usize| !self.tried.contains(it);
                let bus = self.waiting.iter().copied().find(untried);
                let rows = self.rows.iter().filter(|(id, _)| untried(id));
                let row = rows.min_by_key(|(_, row)| row.due).map(|(id, _)| *id);
                let chosen = if outage.rows_first() {
                    row.or(bus)
                } else {
                    bus.or(row)
                };
                let any = || self.waiting.first().or(self.rows.keys().next()).copied();
                match chosen.or_else(any) {
                    Some(event) => {
                        if chosen.is_none() {
                            self.tried.clear();
                        }
                        self.deliver(event, true)
                    }
                    // The next arrival is tried; nothing waits, so nothing is held up.
                    None if outage.manner == Manner::Silent => {
                        return self.step(Input::ProbeReleased);
                    }
                    None => Probe::Nothing,
                }
            }
        };
        self.step(Input::Probed(result));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Mode(mode) => self.mode = mode,
            Act::Publish(kind) => {
                self.waiting.push(self.events.len());
                self.events.push(Event {
                    kind,
                    published: self.now,
                    answered: 0,
                    ended: None,
                });
            }
            // The url is corrected to what it was: waiting rows are due, a pause ends.
            Act::Patch => {
                self.paused_until = at(0);
                self.streak = 0;
                for row in self.rows.values_mut() {
                    row.due = row.due.min(self.now);
                }
                self.forget();
            }
            Act::Restart => {
                self.streak = 0;
                self.well_until = at(0);
                self.forget();
            }
        }
    }

    /// What the tables say is left of the breaker.
    fn forget(&mut self) {
        let phase = match self.breaker.phase {
            Phase::Probing { outage, .. } => Phase::Tripped {
                probe_at: Some(self.now),
                outage,
            },
            Phase::Checking => Phase::Healthy,
            phase => phase,
        };
        self.breaker = Breaker::new(phase);
    }

    /// What can be done at this moment, if anything.
    fn work(&mut self) -> bool {
        match self.breaker.phase {
            Phase::Healthy if self.now >= self.paused_until => {}
            Phase::Tripped {
                probe_at: Some(due),
                outage,
            } if self.now >= due => {
                let nothing = self.waiting.is_empty() && self.rows.is_empty();
                if nothing && outage.manner == Manner::Silent {
                    return false;
                }
                self.step(Input::Tick);
                return true;
            }
            _ => return false,
        }
        let row = self.rows.iter().find(|(_, row)| row.due <= self.now);
        match self.waiting.first().copied().or(row.map(|(id, _)| *id)) {
            Some(event) => {
                self.deliver(event, false);
                true
            }
            None => false,
        }
    }

    /// When something can be done next.
    fn next(&self) -> Option<UtcTime> {
        let due = match self.breaker.phase {
            Phase::Tripped { probe_at, .. } => return probe_at,
            _ if !self.waiting.is_empty() => self.now,
            _ => self.rows.values().map(|row| row.due).min()?,
        };
        Some(due.max(self.paused_until))
    }

    /// Does everything up to a moment.
    fn until(&mut self, then: UtcTime) {
        for _ in 0..MANY {
            if self.now < then && self.work() {
                continue;
            }
            let next = self
                .next()
                .map_or(then, |next| next.min(then))
                .max(self.now);
            if self.mode == Mode::Silent {
                self.silent_for += next.since(self.now);
            }
            if next == self.now {
                return;
            }
            self.now = next;
        }
        panic!("it never rests")
    }

    fn play(&mut self, acts: &[(u64, Act)]) {
        for (later, act) in acts {
            let then = self.now + Duration::from_secs(*later);
            self.until(then);
            self.now = self.now.max(then);
            self.act(*act);
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Good),
        1 => Just(Kind::Refused),
        1 => Just(Kind::Forbidden),
        1 => Just(Kind::Chokes),
        1 => Just(Kind::Silences),
        1 => (1..60_u64).prop_map(Kind::Asks),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => kind().prop_map(Act::Publish),
        1 => Just(Act::Mode(Mode::Well)),
        1 => prop_oneof![Just(Mode::Silent), Just(Mode::Objects), Just(Mode::Chokes)]
            .prop_map(Act::Mode),
        1 => Just(Act::Patch),
        1 => Just(Act::Restart),
    ]
}

/// A round's attempts, and the longest that one takes.
const ATTEMPTS: usize = BACKOFF.len() + 1;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    })]

    /// Every event ends, within its schedule once the endpoint is well for good; good ones are
    /// delivered unless the endpoint was bad to them; nothing is tried more often than its schedule
    /// allows; nothing is stuck.
    #[test]
    fn every_event_ends(
        acts in proptest::collection::vec((0..400_u64, act()), 1..80),
        takes_pings in any::<bool>(),
    ) {
        let mut world = World::new(takes_pings);
        world.play(&acts);
        world.act(Act::Mode(Mode::Well));
        let well = world.now;
        let bad = acts.iter().any(|(_, act)| matches!(act, Act::Mode(mode) if *mode != Mode::Well));
        // Each event's own rounds and pauses, one after the other, and cool-downs in between.
        let each = whole(&world.settings) + Duration::from_secs(7 * 5 + 60 * 5);
        let longest = each * (world.events.len() as u32 + 1) + LONGEST_COOL_DOWN * 2;
        world.until(well + longest);
        let patches = acts.iter().filter(|(_, act)| matches!(act, Act::Patch)).count();
        for (id, event) in world.events.iter().enumerate() {
            let Some((_, status)) = event.ended else {
                // An endpoint that answers none of what is left is silent, one that forbids all of it
                // objects, as far as can be known: it waits.
                let left = || world.events.iter().filter(|it| it.ended.is_none());
                if left().all(|it| matches!(it.kind, Kind::Silences | Kind::Forbidden)) {
                    continue;
                }
                return Err(TestCaseError::fail(format!(
                    "event {id} {:?} has not ended: {:?}; left: {:?}",
                    event.kind,
                    world.breaker,
                    left().map(|it| it.kind).collect::<Vec<_>>(),
                )));
            };
            match event.kind {
                Kind::Good if !bad => prop_assert_eq!(status, DeliveryStatus::Delivered),
                Kind::Good => {}
                _ => prop_assert_eq!(status, DeliveryStatus::Dead),
            }
            // A probe that is forbidden leaves its event as it was, however often.
            if !bad && event.kind != Kind::Forbidden {
                let rounds = SCHEDULE.len() + 1;
                prop_assert!(event.answered <= ATTEMPTS * rounds + patches, "{} tries", event.answered);
            }
        }
    }

    /// A good event behind any number of bad ones is delivered within two minutes and the pauses
    /// that were asked for: five rounds until it is known whose fault it is, a cool-down, and the
    /// same once more should what is known have lapsed.
    #[test]
    fn bad_events_hold_up_a_good_one_for_a_bounded_time(
        bad in proptest::collection::vec(
            prop_oneof![
                Just(Kind::Refused), Just(Kind::Forbidden), Just(Kind::Chokes),
                (1..30_u64).prop_map(Kind::Asks),
            ],
            0..300,
        ),
        takes_pings in any::<bool>(),
    ) {
        let mut world = World::new(takes_pings);
        let mut asked = 0;
        for kind in &bad {
            if let Kind::Asks(seconds) = kind {
                asked += seconds * (SCHEDULE.len() as u64 + 1);
            }
            world.act(Act::Publish(*kind));
        }
        world.act(Act::Publish(Kind::Good));
        let bound = Duration::from_secs(120 + asked);
        world.until(at(0) + bound);
        let good = world.events.last().unwrap();
        prop_assert_eq!(good.ended.map(|it| it.1), Some(DeliveryStatus::Delivered));
        prop_assert!(good.ended.unwrap().0.since(good.published) <= bound);
        // No flood of trips: what is known stands for half a minute.
        prop_assert!(world.trips <= 2 + bound.as_secs() as usize / 30, "{} trips", world.trips);
    }
}

/// A day of an endpoint that objects to everything: next to nothing is lost, and all else arrives.
#[test]
fn a_day_of_404_costs_five_events() {
    for mode in [Mode::Objects, Mode::Chokes, Mode::Silent] {
        let mut world = World::new(true);
        world.act(Act::Mode(mode));
        for _ in 0..24 * 60 {
            world.act(Act::Publish(Kind::Good));
            let then = world.now + Duration::from_secs(60);
            world.until(then);
            world.now = world.now.max(then);
        }
        world.act(Act::Mode(Mode::Well));
        let well = world.now;
        world.until(well + whole(&world.settings) + LONGEST_COOL_DOWN * 2);
        let dead = world.events.iter().filter(|it| {
            it.ended
                .is_some_and(|(_, status)| status == DeliveryStatus::Dead)
        });
        let dead = dead.count();
        // A probe that is answered 500 runs its event's schedule down, as any round does.
        let most = if mode == Mode::Chokes { 200 } else { 5 };
        assert!(dead <= most, "{mode:?}: {dead} dead letters");
        assert!(world.events.iter().all(|it| it.ended.is_some()), "{mode:?}");
        let late = world
            .events
            .iter()
            .filter_map(|it| it.ended)
            .map(|it| it.0.since(well));
        assert!(late.max().unwrap() < whole(&world.settings) + LONGEST_COOL_DOWN * 2);
    }
}

#[test]
fn five_days_of_silence_wait_for_the_operator() {
    let mut world = World::new(true);
    world.act(Act::Mode(Mode::Silent));
    for _ in 0..10 {
        world.act(Act::Publish(Kind::Good));
    }
    world.until(at(6 * 24 * 3_600));
    let Phase::Tripped { probe_at, outage } = world.breaker.phase else {
        panic!("{:?}", world.breaker)
    };
    assert_eq!(probe_at, None);
    assert_eq!(outage.manner, Manner::Silent);
    assert!(outage.turns > Outage::new(Manner::Silent, at(0)).turns);
    assert!(
        world.events.iter().all(|it| it.ended.is_none()),
        "nothing is lost"
    );
}
