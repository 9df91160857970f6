//! Acks of a dead server's that the network kept and repeats answer no ping that was sent since (SWIM): it is declared dead.

use popmap_core::time::Duration;
use popmap_core::wire::Kind;
use popmap_core::{Slot, SlotSet};
use popmap_tests::members::{all_hold_live, join, losing, pop, storage};

const SERVERS: usize = 4;
const DEAD: Slot = Slot::at(3);

#[test]
pub(crate) fn repeated_acks_keep_nobody_alive() {
    let mut storage = storage::<8>(SERVERS);
    let mut pop = pop::<8>(&mut storage, SERVERS, 1, losing(0));
    join(&mut pop);
    pop.watch();
    pop.run(Duration::from_secs(3));
    let acks: Vec<_> =
        pop.take_sent().into_iter().filter(|sent| sent.from == DEAD && sent.kind() == Kind::Ack).collect();
    let others = SlotSet::first(SERVERS).without(DEAD);
    assert!(others.iter().all(|to| acks.iter().any(|ack| ack.to == to)), "each of the others has one");
    pop.kill(DEAD);
    for _ in 0..500 {
        pop.run(Duration::from_millis(10));
        for to in others.iter() {
            let ack = acks.iter().rfind(|ack| ack.to == to).expect("one for each");
            pop.deliver_to(to, DEAD, &ack.packet).expect("of the life that is known");
        }
    }
    assert!(all_hold_live(&pop, others, others), "declared dead all the same");
}
