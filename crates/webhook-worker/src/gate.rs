//! Whether a subscription's messages may be sent now. Everybody who would take one passes here
//! first, so what waits stays where it is safe: on the bus, or in its row.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// How long after a pause that a receiver asked for its rows wait: an event of the bus goes first, so
/// that one row which always asks for a pause does not hold up all others.
const ROWS_AFTER_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The receiver asked for a pause.
    Until(Instant),
    /// A test ping is asked whether the endpoint is well; nothing new begins meanwhile.
    Checking,
    Shut,
    /// One attempt may pass, offered since then.
    Probe {
        since: Instant,
        rows_first: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inner {
    state: State,
    /// The end of the last pause that the receiver asked for.
    paused_until: Option<Instant>,
    /// Until then the endpoint is known to be well: what it answers is the events' fault.
    well_until: Option<Instant>,
}

/// What a state means for somebody who waits.
enum Wait {
    Over,
    Till(Instant),
    Longer,
}

/// How one passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// As many as the window allows.
    Open,
    /// For one attempt, whose outcome decides about all others.
    Probe,
}

/// Who asks for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Who has the oldest event of the bus.
    Bus,
    /// Who has the rows. The bus goes first for this long, unless it was found to have nothing, or
    /// the rows' turn it is.
    Rows { patience: Duration },
}

/// One subscription's gate.
#[derive(Debug)]
pub(crate) struct Gate(watch::Sender<Inner>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(Inner {
            state: State::Open,
            paused_until: None,
            well_until: None,
        }))
    }
}

impl Gate {
    /// Waits until one may pass with what the bus has. Cancel-safe.
    pub(crate) async fn enter(&self) -> Pass {
        loop {
            if let Some(pass) = self.try_enter(Asking::Bus) {
                return pass;
            }
            self.passable().await;
        }
    }

    /// Passes if that is possible now.
    pub(crate) fn try_enter(&self, asking: Asking) -> Option<Pass> {
        let mut passed = None;
        let now = Instant::now();
        self.0.send_if_modified(|inner| {
            let before = inner.state;
            match before {
                State::Open => passed = Some(Pass::Open),
                State::Until(until) if now >= until => {
                    inner.state = State::Open;
                    passed = Some(Pass::Open);
                }
                State::Probe { since, rows_first } if may_probe(asking, since, rows_first) => {
                    inner.state = State::Shut;
                    passed = Some(Pass::Probe);
                }
                State::Until(_) | State::Checking | State::Probe { .. } | State::Shut => {}
            }
            inner.state != before
        });
        passed
    }

    /// Waits until somebody with an event of the bus could pass, without passing. Cancel-safe.
    pub(crate) async fn passable(&self) {
        self.wait(|inner| match inner.state {
            State::Open => Wait::Over,
            State::Probe { rows_first, .. } if !rows_first => Wait::Over,
            State::Until(until) => Wait::Till(until),
            State::Checking | State::Probe { .. } | State::Shut => Wait::Longer,
        })
        .await;
    }

    /// For who passed before: waits for the end of a pause or a check, and says whether everything
    /// may pass. Cancel-safe.
    pub(crate) async fn resumed(&self) -> bool {
        self.wait(|inner| match inner.state {
            State::Until(until) => Wait::Till(until),
            State::Checking => Wait::Longer,
            State::Open | State::Probe { .. } | State::Shut => Wait::Over,
        })
        .await;
        self.is_open()
    }

    /// Waits until the breaker holds everything back. Cancel-safe.
    pub(crate) async fn held(&self) {
        self.wait(|inner| match inner.state {
            State::Shut | State::Probe { .. } => Wait::Over,
            State::Open | State::Until(_) | State::Checking => Wait::Longer,
        })
        .await;
    }

    /// Waits until the endpoint is known to be well. Cancel-safe.
    pub(crate) async fn found_well(&self) {
        self.wait(|inner| {
            if inner.is_well() {
                Wait::Over
            } else {
                Wait::Longer
            }
        })
        .await;
    }

    async fn wait(&self, look: impl Fn(Inner) -> Wait) {
        let mut changes = self.0.subscribe();
        loop {
            let inner = *changes.borrow_and_update();
            let till = match look(inner) {
                Wait::Over => return,
                Wait::Till(until) if Instant::now() >= until => return,
                Wait::Till(until) => Some(until),
                Wait::Longer => None,
            };
            let pause = async {
                match till {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender lives as long as self.
                _ = changes.changed() => {}
                () = pause => {}
            }
        }
    }

    /// Whether a probe is offered that the rows may take.
    pub(crate) fn offers_rows(&self, patience: Duration) -> bool {
        let asking = Asking::Rows { patience };
        match self.0.borrow().state {
            State::Probe { since, rows_first } => may_probe(asking, since, rows_first),
            _ => false,
        }
    }

    /// Whether a probe is offered to the bus first.
    pub(crate) fn waits_for_bus(&self) -> bool {
        let state = self.0.borrow().state;
        matches!(state, State::Probe { rows_first, .. } if !rows_first)
    }

    /// Whether everything may pass now.
    pub(crate) fn is_open(&self) -> bool {
        match self.0.borrow().state {
            State::Open => true,
            State::Until(until) => Instant::now() >= until,
            State::Checking | State::Shut | State::Probe { .. } => false,
        }
    }

    /// Whether rows may pass now.
    pub(crate) fn is_open_for_rows(&self) -> bool {
        let paused = self.0.borrow().paused_until;
        self.is_open() && paused.is_none_or(|until| Instant::now() >= until + ROWS_AFTER_PAUSE)
    }

    /// Whether the endpoint is known to be well, so that what it answers is the events' fault.
    pub(crate) fn is_well(&self) -> bool {
        self.0.borrow().is_well()
    }

    /// Lets everything pass again, a pause excepted.
    pub(crate) fn open(&self) {
        self.0.send_if_modified(|inner| match inner.state {
            State::Checking | State::Shut | State::Probe { .. } => {
                inner.state = match inner.paused_until {
                    Some(until) if until > Instant::now() => State::Until(until),
                    _ => State::Open,
                };
                true
            }
            State::Open | State::Until(_) => false,
        });
    }

    /// The endpoint was found to be well, which stands for this long.
    pub(crate) fn well(&self, stands: Duration) {
        self.0
            .send_modify(|inner| inner.well_until = Some(Instant::now() + stands));
    }

    /// Lets nothing pass.
    pub(crate) fn shut(&self) {
        self.0.send_modify(|inner| {
            inner.state = State::Shut;
            inner.well_until = None;
        });
    }

    /// Lets nothing new pass, if anything could.
    pub(crate) fn check(&self) {
        self.0.send_if_modified(|inner| match inner.state {
            State::Open | State::Until(_) => {
                inner.state = State::Checking;
                true
            }
            State::Checking | State::Shut | State::Probe { .. } => false,
        });
    }

    /// Lets one attempt pass.
    pub(crate) fn offer_probe(&self, rows_first: bool) {
        let since = Instant::now();
        self.0
            .send_modify(|inner| inner.state = State::Probe { since, rows_first });
    }

    /// Ends a pause early.
    pub(crate) fn unpause(&self) {
        self.0.send_if_modified(|inner| {
            inner.paused_until = None;
            let paused = matches!(inner.state, State::Until(_));
            if paused {
                inner.state = State::Open;
            }
            paused
        });
    }

    /// Takes an offer back that nobody has taken; whether there was one.
    pub(crate) fn retract_probe(&self) -> bool {
        self.0.send_if_modified(|inner| {
            let offered = matches!(inner.state, State::Probe { .. });
            if offered {
                inner.state = State::Shut;
            }
            offered
        })
    }

    /// Lets nothing pass for a while, if anything could; the longer of two pauses counts.
    pub(crate) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        self.0.send_if_modified(|inner| {
            if inner.paused_until.is_none_or(|earlier| earlier < until) {
                inner.paused_until = Some(until);
            }
            let before = inner.state;
            if let State::Open | State::Until(_) = before {
                inner.state = State::Until(inner.paused_until.unwrap_or(until));
            }
            inner.state != before
        });
    }

    /// How much longer the receiver wants to be left alone.
    pub(crate) fn paused_for(&self) -> Option<Duration> {
        let until = self.0.borrow().paused_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Inner {
    fn is_well(&self) -> bool {
        self.well_until.is_some_and(|until| Instant::now() < until)
    }
}

fn may_probe(asking: Asking, since: Instant, rows_first: bool) -> bool {
    match asking {
        Asking::Bus => !rows_first,
        Asking::Rows { patience } => rows_first || since.elapsed() >= patience,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_by_itself() {
        let gate = Gate::default();
        assert_eq!(gate.enter().await, Pass::Open);
        let begun = Instant::now();
        gate.pause(Duration::from_secs(60));
        gate.pause(Duration::from_secs(30));
        assert_eq!(gate.try_enter(Asking::Bus), None);
        assert_eq!(gate.enter().await, Pass::Open);
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn who_passed_waits_for_a_pause_and_hears_of_a_trip() {
        let gate = Gate::default();
        assert!(gate.resumed().await);
        let begun = Instant::now();
        gate.pause(Duration::from_secs(60));
        assert!(gate.resumed().await);
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
        gate.pause(Duration::from_secs(60));
        gate.unpause();
        assert!(gate.resumed().await);
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
        gate.shut();
        gate.held().await;
        assert!(!gate.resumed().await);
        gate.offer_probe(false);
        gate.passable().await;
        assert!(gate.retract_probe() && !gate.retract_probe());
        assert_eq!(gate.try_enter(Asking::Bus), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_for_one() {
        let gate = Gate::default();
        gate.shut();
        assert_eq!(gate.try_enter(Asking::Bus), None);
        gate.offer_probe(false);
        assert_eq!(
            gate.try_enter(Asking::Rows {
                patience: Duration::from_secs(1)
            }),
            None
        );
        assert_eq!(gate.enter().await, Pass::Probe);
        assert_eq!(gate.try_enter(Asking::Bus), None);
        // The receiver's pause does not open what the breaker shut.
        gate.pause(Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(gate.try_enter(Asking::Bus), None);
        gate.open();
        assert_eq!(gate.enter().await, Pass::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rows_turn_is_the_rows() {
        let gate = Gate::default();
        let rows = Asking::Rows {
            patience: Duration::from_secs(1),
        };
        gate.shut();
        gate.offer_probe(true);
        assert_eq!(gate.try_enter(Asking::Bus), None);
        assert_eq!(gate.try_enter(rows), Some(Pass::Probe));
        gate.offer_probe(false);
        assert!(!gate.offers_rows(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(gate.offers_rows(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_holds_back_what_is_new_and_keeps_a_pause() {
        let gate = Gate::default();
        gate.pause(Duration::from_secs(60));
        gate.check();
        tokio::time::advance(Duration::from_secs(5)).await;
        gate.open();
        assert!(!gate.is_open());
        assert_eq!(gate.paused_for(), Some(Duration::from_secs(55)));
        tokio::time::advance(Duration::from_secs(55)).await;
        assert!(gate.is_open() && !gate.is_open_for_rows());
        tokio::time::advance(ROWS_AFTER_PAUSE).await;
        assert!(gate.is_open_for_rows());
        gate.check();
        assert_eq!(gate.try_enter(Asking::Bus), None);
        gate.shut();
        gate.held().await;
    }

    #[tokio::test(start_paused = true)]
    async fn well_is_known_for_a_while() {
        let gate = Gate::default();
        gate.well(Duration::from_secs(30));
        gate.found_well().await;
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(!gate.is_well());
        gate.well(Duration::from_secs(30));
        gate.shut();
        assert!(!gate.is_well());
    }
}
