//! What is known of all members, and who of them is in which state.
//!
//! Who is alive is asked several times for each packet, so the answer is kept as members change and not looked for.

use super::{Member, State};
use crate::id::{Slot, SlotSet};

const STATES: usize = State::Left as usize + 1;

pub(super) struct Roster<const N: usize> {
    members: [Member; N],
    /// The members in each state.
    by_state: [SlotSet; STATES],
}

impl<const N: usize> Roster<N> {
    /// Returns the roster of a PoP in which nobody was ever heard of.
    pub(super) fn new() -> Self {
        let mut by_state = [SlotSet::EMPTY; STATES];
        by_state[State::Unknown as usize] = SlotSet::first(N);
        Self { members: [Member::UNKNOWN; N], by_state }
    }

    pub(super) fn get(&self, slot: Slot) -> &Member {
        &self.members[slot.index()]
    }

    pub(super) fn set(&mut self, slot: Slot, member: Member) {
        let known = &mut self.members[slot.index()];
        self.by_state[known.state as usize].remove(slot);
        self.by_state[member.state as usize].insert(slot);
        *known = member;
    }

    pub(super) fn set_state(&mut self, slot: Slot, state: State) {
        self.set(slot, Member { state, ..*self.get(slot) });
    }

    /// Returns the members in this state.
    pub(super) fn those(&self, state: State) -> SlotSet {
        self.by_state[state as usize]
    }

    /// Returns the members that are alive or only suspected.
    pub(super) fn live(&self) -> SlotSet {
        self.those(State::Alive).union(self.those(State::Suspect))
    }

    /// Returns the members ever heard of.
    pub(super) fn known(&self) -> SlotSet {
        SlotSet::first(N).difference(self.those(State::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_sets_are_those_of_a_pass_over_all_members() {
        let (mut roster, mut rng) = (Roster::<64>::new(), Rng::new(9));
        let states = [State::Unknown, State::Alive, State::Suspect, State::Dead, State::Left];
        for _ in 0..2_000 {
            let (slot, state) = (Slot::at(rng.below(64) as usize), states[rng.below(5) as usize]);
            if rng.below(2) == 0 {
                roster.set_state(slot, state);
            } else {
                roster.set(slot, Member { state, incarnation: rng.below(9) as u32, ..Member::UNKNOWN });
            }
            let pass = |of: &dyn Fn(State) -> bool| -> SlotSet {
                (0..64).map(Slot::at).filter(|slot| of(roster.get(*slot).state)).collect()
            };
            for state in states {
                assert_eq!(roster.those(state), pass(&|of| of == state));
            }
            assert_eq!(roster.live(), pass(&State::is_live));
            assert_eq!(roster.known(), pass(&|of| of != State::Unknown));
        }
    }
}
