//! Two servers are configured in one slot of a PoP that watches itself: one is fenced and leaves, the other is the member
//! that all agree on.

use popmap_core::time::Duration;
use popmap_core::{Event, Phase, PutError, Slot, State};
use popmap_tests::cluster::Cluster;
use popmap_tests::members::{join, losing, pop, storage};
use popmap_tests::scenario::{key, value};

const SERVERS: usize = 5;
const SHARED: Slot = Slot::at(1);
const KEYS: u64 = 30;

fn is_fenced(pop: &Cluster<'_, 8>, server: Slot) -> bool {
    pop.node(server).map().phase() == Phase::Fenced
}

fn run(seed: u64, generation: u32) {
    let mut storage = storage::<8>(SERVERS + 1);
    let mut pop = pop::<8>(&mut storage, SERVERS, seed, losing(10_000));
    join(&mut pop);
    let all = pop.running();
    (0..KEYS).for_each(|n| pop.put(SHARED, key(n), &value(n)).expect("written"));
    pop.settle(Duration::from_secs(5));
    let beside = pop.start_beside(SHARED, generation);
    let decided =
        pop.run_until(Duration::from_secs(10), |pop| is_fenced(pop, SHARED) != is_fenced(pop, beside));
    let decided = decided.expect("one is fenced");
    let (winner, loser) = if is_fenced(&pop, SHARED) { (beside, SHARED) } else { (SHARED, beside) };
    let rest = all.with(beside).without(loser);
    let agreed = pop.run_until(Duration::from_secs(10), |pop| {
        let life = pop.node(winner).map().life();
        rest.iter().all(|of| {
            let member = pop.node(of).member(SHARED).expect("known");
            (member.life, member.state) == (life, State::Alive) && pop.node(of).map().live() == all
        })
    });
    let agreed = agreed.expect("all know the winner");
    assert!(pop.take_events(loser).iter().any(|event| matches!(event, Event::Fenced { .. })));
    assert_eq!(pop.put(loser, key(0), &value(0)), Err(PutError::Fenced));
    assert_eq!(pop.node(loser).member(SHARED).map(|member| member.state), Some(State::Left), "it has left");
    assert!(pop.node(winner).map().life() > pop.node(loser).map().life(), "the lesser is");
    pop.start_up(Duration::from_secs(6));
    (0..KEYS / 2).for_each(|n| pop.put(winner, key(n), &value(100 + n)).expect("written"));
    pop.run_until(Duration::from_secs(5), |pop| pop.are_equal(rest)).expect("equal");
    for n in 0..KEYS {
        let expected = if n < KEYS / 2 { 100 + n } else { n };
        assert_eq!(pop.get(Slot::at(0), key(n)), Some(value(expected).to_vec()), "nothing is lost");
    }
    // Nobody is drawn into it.
    pop.run(Duration::from_secs(20));
    assert!(rest.iter().all(|of| pop.node(of).map().live() == all && !is_fenced(&pop, of)));
    println!(
        "seed {seed}, generation {generation}: fenced after {} ms, agreed {} ms later",
        decided.as_millis(),
        agreed.as_millis()
    );
}

#[test]
fn one_is_fenced_and_leaves() {
    (0..8).for_each(|seed| run(seed, 1));
    (0..4).for_each(|seed| run(seed, 7));
}
