//! The link: whether frames can pass, when to look again, and how often that changed.
//!
//! Knows times and states. Must not know how one looks. The time it is given.
//!
//! A link that is up is looked at every [`UP`], for what nobody is told of: a carrier that goes, another MTU. One that
//! is down is looked at after [`FIRST`], then after twice as long each time, up to [`LAST`].

use std::mem;

use popmap_core::time::{Duration, Instant};

use super::config::PacketError;

/// Between two looks at a link that is up: such a look is some system calls.
const UP: Duration = Duration::from_millis(500);
/// From a loss to the first look.
const FIRST: Duration = Duration::from_millis(50);
/// The longest time between two looks at a link that is down.
const LAST: Duration = Duration::from_secs(2);

/// Whether frames can pass.
#[derive(Debug)]
pub(super) struct Link {
    down: Option<PacketError>,
    next_look: Instant,
    /// The wait before the look after the next, while the link is down.
    pause: Duration,
    pub(super) losses: u64,
    pub(super) returns: u64,
}

/// What a look has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    None,
    Lost,
    Returned,
}

impl Link {
    /// Returns a link that was just found up, or down for a reason.
    pub(super) fn new(now: Instant, down: Option<PacketError>) -> Self {
        let mut link = Self { down: None, next_look: now + UP, pause: FIRST, losses: 0, returns: 0 };
        if let Some(reason) = down {
            link.lose(now, reason);
        }
        link
    }

    /// Returns why frames cannot pass, if so.
    pub(super) fn down(&self) -> Option<&PacketError> {
        self.down.as_ref()
    }

    /// Returns when to look next.
    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Has the next look come at once, if the link is up: something was odd.
    pub(super) fn doubt(&mut self, now: Instant) {
        if self.down.is_none() {
            self.next_look = now;
        }
    }

    /// Takes note of a loss that shows in another way than by a look.
    pub(super) fn lose(&mut self, now: Instant, reason: PacketError) {
        if self.down.replace(reason).is_none() {
            self.losses += 1;
            self.pause = FIRST;
            self.wait(now);
        }
    }

    /// Looks, if it is time to. `look` is told whether the link was down, and tells whether it is another one, which was
    /// down in between.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        look: impl FnOnce(bool) -> Result<bool, PacketError>,
    ) -> Change {
        if now < self.next_look {
            return Change::None;
        }
        let was_down = self.down.is_some();
        match look(was_down) {
            Ok(is_another) => {
                self.next_look = now + UP;
                if mem::take(&mut self.down).is_none() {
                    if !is_another {
                        return Change::None;
                    }
                    self.losses += 1;
                }
                self.returns += 1;
                Change::Returned
            }
            Err(reason) if was_down => {
                self.down = Some(reason);
                self.wait(now);
                Change::None
            }
            Err(reason) => {
                self.lose(now, reason);
                Change::Lost
            }
        }
    }

    fn wait(&mut self, now: Instant) {
        self.next_look = now + self.pause;
        self.pause = self.pause.times(2).min(LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::InterfaceError;

    fn gone() -> PacketError {
        InterfaceError::Missing { interface: "eth7".into() }.into()
    }

    /// The times until the end of looks at a link that is down.
    fn looks(link: &mut Link, mut now: Instant, count: usize) -> Vec<u64> {
        let mut looks = Vec::new();
        while looks.len() < count {
            now = link.next_look();
            assert_eq!(
                link.poll(now, |was_down| {
                    assert!(was_down);
                    Err(gone())
                }),
                Change::None
            );
            looks.push(now.0 / 1_000_000);
        }
        let _ = now;
        looks
    }

    #[test]
    fn a_link_that_is_up_is_looked_at_now_and_then() {
        let mut link = Link::new(Instant::ZERO, None);
        assert_eq!(link.poll(Instant::from_millis(499), |_| unreachable!()), Change::None);
        assert_eq!(link.poll(Instant::from_millis(500), |_| Ok(false)), Change::None);
        assert_eq!(link.next_look(), Instant::from_millis(1_000));
        link.doubt(Instant::from_millis(600));
        assert_eq!(link.poll(Instant::from_millis(600), |_| Err(gone())), Change::Lost);
        assert_eq!((link.losses, link.returns), (1, 0));
    }

    #[test]
    fn one_that_is_down_is_looked_at_ever_less_until_it_is_up() {
        let mut link = Link::new(Instant::ZERO, Some(gone()));
        assert_eq!(link.losses, 1, "also at the start");
        let times = looks(&mut link, Instant::ZERO, 9);
        assert_eq!(times, [50, 150, 350, 750, 1_550, 3_150, 5_150, 7_150, 9_150]);
        // Neither doubts nor further losses change that.
        link.doubt(Instant::from_millis(9_200));
        link.lose(Instant::from_millis(9_200), gone());
        assert_eq!(link.next_look(), Instant::from_millis(11_150));
        let back = Instant::from_millis(11_150);
        assert_eq!(link.poll(back, |_| Ok(false)), Change::Returned);
        assert!(link.down().is_none());
        // The next loss begins anew.
        link.lose(back, gone());
        assert_eq!(link.next_look(), Instant::from_millis(11_200));
        assert_eq!((link.losses, link.returns), (2, 1));
    }

    #[test]
    fn another_one_was_down_in_between() {
        let mut link = Link::new(Instant::ZERO, None);
        assert_eq!(link.poll(Instant::from_millis(500), |_| Ok(true)), Change::Returned);
        assert_eq!((link.losses, link.returns, link.down().is_none()), (1, 1, true));
    }
}
