//! What bad receivers cost the good ones: seventy healthy subscriptions alone, then beside thirty to
//! receivers that are silent, stall, reset, trickle or answer without end.

use super::{
    ARRIVAL, Bench, CAPACITY, WARM_UP,
    installation::Shape,
    peers::Manner,
    report::{IsolationRow, Report},
};

const HEALTHY: usize = 70;
const BAD: [Manner; 5] = [
    Manner::Silent,
    Manner::Stalls,
    Manner::Resets,
    Manner::Trickles,
    Manner::Endless,
];
/// Subscriptions to each of the bad receivers.
const OF_EACH: usize = 6;
/// Events a second, each for every subscription: 1,400 healthy deliveries a second.
const RATE: f64 = 20.0;

impl Bench {
    pub(super) fn isolation(&self, report: &mut Report) -> anyhow::Result<()> {
        for bad in [&[][..], &BAD] {
            let company = bad.len() * OF_EACH;
            println!("==> isolation: {HEALTHY} healthy receivers beside {company} bad ones");
            let row = self.beside(bad)?;
            report.isolation.push(row);
        }
        Ok(())
    }

    fn beside(&self, bad: &[Manner]) -> anyhow::Result<IsolationRow> {
        let mut healthy = self
            .peers
            .receiver_of_many(Manner::Prompt, CAPACITY, HEALTHY)?;
        let mut decnet = self.installation(Shape::TwoProcesses)?;
        decnet.start_api()?;
        for n in 0..HEALTHY {
            decnet.subscribe(&format!("healthy-{n}"), &healthy.path(n), healthy.secret())?;
        }
        let mut receivers = Vec::new();
        for manner in bad {
            let receiver = self.peers.receiver(*manner, 1)?;
            for n in 0..OF_EACH {
                let name = format!("{}-{n}", manner.name());
                decnet.subscribe(&name, receiver.url(), receiver.secret())?;
            }
            receivers.push(receiver);
        }
        decnet.start_worker()?;
        let deliveries = |events: u64| events * HEALTHY as u64;
        // Connections are open, and the bad ones bad, before anything is timed.
        let run = healthy.begin()?;
        let sent = self.peers.publish(&decnet, run, CAPACITY, RATE, WARM_UP)?;
        healthy.wait(deliveries(sent.count), ARRIVAL)?;
        let run = healthy.begin()?;
        let sent = self
            .peers
            .publish(&decnet, run, CAPACITY, RATE, self.plan.isolation)?;
        let tally = healthy.wait(deliveries(sent.count), ARRIVAL)?;
        let peak = decnet.sender_peak_memory()?;
        let bad = bad.len() * OF_EACH;
        Ok(IsolationRow::new(bad, deliveries(sent.count), &tally, peak))
    }
}
