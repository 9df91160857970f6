//! A ping with 30 members that all change, and its ack, beside foca, whose members are an address alone.

use std::hint::black_box;

use popmap_bench::contest::{Contest, time};
use popmap_bench::peers::foca::{Server, ping};
use popmap_bench::ping::{MEMBERS, incarnation, node, packet, take};

use crate::report::Rows;
use crate::{Effort, allocations};

/// Packets of a round.
const PACKETS: usize = 32;

/// Pings, each of one incarnation more.
struct Round {
    ours: Vec<Vec<u8>>,
    theirs: Vec<Vec<u8>>,
    last: u16,
}

fn round(next: &mut u16) -> Round {
    let incarnations = *next..*next + PACKETS as u16;
    *next = incarnations.end;
    Round {
        last: incarnations.end - 1,
        ours: incarnations.clone().map(|incarnation| packet(incarnation.into())).collect(),
        theirs: incarnations.map(|incarnation| ping(MEMBERS, incarnation)).collect(),
    }
}

pub fn pings(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["swim", "swim-alloc"]) {
        return;
    }
    let (mut ours, mut foca) = (node(), Server::new());
    let mut next = 1;
    let mut contest = Contest::new();
    contest.enter("ours", |round: &mut Round| {
        let mut sent = 0;
        let ns = time(PACKETS, || sent = take(&mut ours, &round.ours));
        assert!(sent >= PACKETS, "every ping is answered");
        assert_eq!(incarnation(&ours), Some(round.last.into()), "every member changed");
        ns
    });
    contest.enter("foca", |round| {
        let before = foca.sent();
        let ns = time(PACKETS, || round.theirs.iter().for_each(|packet| foca.take(black_box(packet))));
        assert!(foca.sent() - before >= PACKETS, "every ping is answered");
        ns
    });
    let results = contest.run(effort.rounds(200), || round(&mut next));
    rows.compare("swim", &results, ["ours", "foca"], Some(1.0 / 4.5));
    let last = round(&mut next);
    rows.allocations("swim-alloc", allocations::count(|| _ = take(&mut ours, &last.ours)));
}
