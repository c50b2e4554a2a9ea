use std::sync::Mutex;

use serde_json::json;
use tokio::time::Instant;

use super::*;

/// What JetStream takes to find that nobody answers.
const HANG: Duration = Duration::from_secs(5);

/// A bus that hangs until a moment, and remembers in which order it was told.
struct Hanging {
    until: Instant,
    told: Mutex<Vec<u64>>,
}

impl Hanging {
    fn for_(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
            told: Mutex::default(),
        }
    }

    fn told(&self) -> Vec<u64> {
        self.told.lock().unwrap().clone()
    }
}

impl Outlet for &Hanging {
    async fn publish(&self, one: Publication) -> Result<(), BusError> {
        if Instant::now() < self.until {
            tokio::time::sleep(HANG).await;
            return Err(BusError::NatsSilent {
                servers: "nats://127.0.0.1:4222".to_owned(),
                doing: "publishing",
            });
        }
        let event: Value = serde_json::from_slice(&one.bytes).unwrap();
        let n = event["payload"]["n"].as_u64().unwrap();
        self.told.lock().unwrap().push(n);
        Ok(())
    }
}

fn say(announcements: &Announcements, n: usize) {
    announcements.say("system.webhook.tripped", "tripped", &json!({"n": n}));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_while_the_bus_hung_comes_in_its_order() {
    let (announcements, waiting) = channel();
    let bus = Hanging::for_(Duration::from_secs(120));
    let begun = Instant::now();
    let saying = async {
        for n in 0..50 {
            say(&announcements, n);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits for the bus");
        drop(announcements);
    };
    tokio::join!(run(&bus, waiting, CancellationToken::new()), saying);
    assert_eq!(bus.told(), (0..50).collect::<Vec<_>>());
    assert!(begun.elapsed() < Duration::from_secs(120) + HANG + LONGEST_PAUSE * 2);
}

#[tokio::test(start_paused = true)]
async fn of_too_many_the_newest_are_kept() {
    let (announcements, waiting) = channel();
    let bus = Hanging::for_(HANG);
    for n in 0..QUEUE + 10 {
        say(&announcements, n);
    }
    drop(announcements);
    run(&bus, waiting, CancellationToken::new()).await;
    assert_eq!(bus.told(), (10..QUEUE as u64 + 10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_stays_away_holds_nobody_up_beyond_the_deadline() {
    let (announcements, waiting) = channel();
    let bus = Hanging::for_(Duration::from_secs(3_600));
    let (cut, begun) = (CancellationToken::new(), Instant::now());
    let deadline = Duration::from_secs(10);
    say(&announcements, 0);
    drop(announcements);
    tokio::join!(run(&bus, waiting, cut.clone()), async {
        tokio::time::sleep(deadline).await;
        cut.cancel();
    });
    assert_eq!((begun.elapsed(), bus.told().len()), (deadline, 0));
}

/// A bus that takes nothing of odd number.
struct Refusing(Hanging);

impl Outlet for &Refusing {
    async fn publish(&self, one: Publication) -> Result<(), BusError> {
        (&self.0).publish(one).await?;
        let mut told = self.0.told.lock().unwrap();
        if told.last().is_some_and(|n| n % 2 == 1) {
            told.pop();
            return Err(BusError::Closed);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_refuses_is_left_out_and_the_rest_follows() {
    let (announcements, waiting) = channel();
    let bus = Refusing(Hanging::for_(Duration::ZERO));
    (0..4).for_each(|n| say(&announcements, n));
    drop(announcements);
    run(&bus, waiting, CancellationToken::new()).await;
    assert_eq!(bus.0.told(), [0, 2]);
}
