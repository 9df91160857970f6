//! When each server is to be polled next, and who is due: a tree of minima, because a simulated hour asks ten million times.

use popmap_core::time::Instant;

use super::pop::SLOTS;

/// The wake-ups of all servers.
#[derive(Debug)]
pub(super) struct Wakeups {
    /// The root is at 1, the children of `n` are at `2 n` and `2 n + 1`, and the servers are the last [`SLOTS`]. Each inner
    /// one is the earlier of its children.
    tree: [Instant; 2 * SLOTS],
}

impl Wakeups {
    /// Nobody is to be woken.
    pub(super) const fn new() -> Self {
        const { assert!(SLOTS.is_power_of_two()) };
        Self { tree: [Instant::NEVER; 2 * SLOTS] }
    }

    /// Has the server `slot` woken at `at`, and not at what was said before.
    pub(super) fn set(&mut self, slot: usize, at: Instant) {
        let mut node = SLOTS + slot;
        self.tree[node] = at;
        while node > 1 {
            node /= 2;
            let earlier = self.tree[2 * node].min(self.tree[2 * node + 1]);
            if self.tree[node] == earlier {
                return;
            }
            self.tree[node] = earlier;
        }
    }

    /// Returns when somebody is to be woken next.
    pub(super) fn earliest(&self) -> Instant {
        self.tree[1]
    }

    /// Returns the first server from `from` on that is to be woken by `now`.
    pub(super) fn due(&self, from: usize, now: Instant) -> Option<usize> {
        if from >= SLOTS {
            return None;
        }
        let mut node = SLOTS + from;
        // Nobody below: on to the next one to the right, as high up as nothing else is below.
        while self.tree[node] > now {
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < SLOTS {
            node *= 2;
            if self.tree[node] > now {
                node += 1;
            }
        }
        Some(node - SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use popmap_core::rng::Rng;

    use super::*;

    #[test]
    fn it_is_what_a_pass_over_all_servers_finds() {
        let (mut wakeups, mut plain, mut rng) = (Wakeups::new(), [Instant::NEVER; SLOTS], Rng::new(4));
        for _ in 0..20_000 {
            let (slot, now) = (rng.below(SLOTS as u64) as usize, Instant(rng.below(20)));
            let at = if rng.below(3) == 0 { Instant::NEVER } else { Instant(rng.below(100)) };
            plain[slot] = at;
            wakeups.set(slot, at);
            assert_eq!(wakeups.earliest(), plain.into_iter().min().unwrap());
            let from = rng.below(SLOTS as u64 + 1) as usize;
            assert_eq!(wakeups.due(from, now), (from..SLOTS).find(|&slot| plain[slot] <= now));
        }
    }
}
