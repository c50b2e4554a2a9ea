//! Whether a subscription's messages may be sent now. Everybody who would take one passes here
//! first, so what waits stays where it is safe: on the bus, or in its row.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The receiver asked for a pause.
    Until(Instant),
    Shut,
    /// One attempt may pass, offered since then.
    Probe(Instant),
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

/// One subscription's gate.
#[derive(Debug)]
pub(crate) struct Gate(watch::Sender<State>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(State::Open))
    }
}

impl Gate {
    /// Waits until one may pass. Cancel-safe.
    pub(crate) async fn enter(&self) -> Pass {
        loop {
            if let Some(pass) = self.try_enter(Duration::ZERO) {
                return pass;
            }
            self.passable().await;
        }
    }

    /// Passes if that is possible now; a probe only once it was offered for `patience`.
    pub(crate) fn try_enter(&self, patience: Duration) -> Option<Pass> {
        let mut passed = None;
        let now = Instant::now();
        self.0.send_if_modified(|state| {
            let before = *state;
            match before {
                State::Open => passed = Some(Pass::Open),
                State::Until(until) if now >= until => {
                    *state = State::Open;
                    passed = Some(Pass::Open);
                }
                State::Probe(since) if now.duration_since(since) >= patience => {
                    *state = State::Shut;
                    passed = Some(Pass::Probe);
                }
                State::Until(_) | State::Probe(_) | State::Shut => {}
            }
            *state != before
        });
        passed
    }

    /// Waits until somebody could pass, without passing. Cancel-safe.
    pub(crate) async fn passable(&self) {
        self.wait(|state| match state {
            State::Open | State::Probe(_) => Wait::Over,
            State::Until(until) => Wait::Till(until),
            State::Shut => Wait::Longer,
        })
        .await;
    }

    /// For who passed before: waits for the end of a pause, and says whether everything may pass.
    /// Cancel-safe.
    pub(crate) async fn resumed(&self) -> bool {
        self.wait(|state| match state {
            State::Until(until) => Wait::Till(until),
            State::Open | State::Probe(_) | State::Shut => Wait::Over,
        })
        .await;
        self.is_open()
    }

    /// Waits until the breaker holds everything back. Cancel-safe.
    pub(crate) async fn held(&self) {
        self.wait(|state| match state {
            State::Shut | State::Probe(_) => Wait::Over,
            State::Open | State::Until(_) => Wait::Longer,
        })
        .await;
    }

    async fn wait(&self, look: impl Fn(State) -> Wait) {
        let mut changes = self.0.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            let till = match look(state) {
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

    /// Whether a probe was offered for `patience` without anybody taking it.
    pub(crate) fn offers_probe(&self, patience: Duration) -> bool {
        matches!(*self.0.borrow(), State::Probe(since) if since.elapsed() >= patience)
    }

    /// Whether everything may pass now.
    pub(crate) fn is_open(&self) -> bool {
        match *self.0.borrow() {
            State::Open => true,
            State::Until(until) => Instant::now() >= until,
            State::Shut | State::Probe(_) => false,
        }
    }

    /// Lets everything pass again, a pause excepted.
    pub(crate) fn open(&self) {
        self.0.send_if_modified(|state| match state {
            State::Shut | State::Probe(_) => {
                *state = State::Open;
                true
            }
            State::Open | State::Until(_) => false,
        });
    }

    /// Lets nothing pass.
    pub(crate) fn shut(&self) {
        self.0.send_replace(State::Shut);
    }

    /// Lets one attempt pass.
    pub(crate) fn offer_probe(&self) {
        self.0.send_replace(State::Probe(Instant::now()));
    }

    /// Ends a pause early.
    pub(crate) fn unpause(&self) {
        self.0.send_if_modified(|state| match state {
            State::Until(_) => {
                *state = State::Open;
                true
            }
            State::Open | State::Shut | State::Probe(_) => false,
        });
    }

    /// Takes an offer back that nobody has taken; whether there was one.
    pub(crate) fn retract_probe(&self) -> bool {
        self.0.send_if_modified(|state| {
            let offered = matches!(state, State::Probe(_));
            if offered {
                *state = State::Shut;
            }
            offered
        })
    }

    /// Lets nothing pass for a while, if anything could; the longer of two pauses counts.
    pub(crate) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        self.0.send_if_modified(|state| match *state {
            State::Open => {
                *state = State::Until(until);
                true
            }
            State::Until(earlier) if earlier < until => {
                *state = State::Until(until);
                true
            }
            State::Until(_) | State::Shut | State::Probe(_) => false,
        });
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
        assert_eq!(gate.try_enter(Duration::ZERO), None);
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
        gate.offer_probe();
        gate.passable().await;
        assert!(gate.retract_probe() && !gate.retract_probe());
        assert_eq!(gate.try_enter(Duration::ZERO), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_for_one() {
        let gate = Gate::default();
        gate.shut();
        assert_eq!(gate.try_enter(Duration::ZERO), None);
        gate.offer_probe();
        assert_eq!(gate.try_enter(Duration::from_secs(1)), None);
        assert_eq!(gate.enter().await, Pass::Probe);
        assert_eq!(gate.try_enter(Duration::ZERO), None);
        // The receiver's pause does not open what the breaker shut.
        gate.pause(Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(gate.try_enter(Duration::ZERO), None);
        gate.open();
        assert_eq!(gate.enter().await, Pass::Open);
    }
}
