//! An interface that comes and goes: what is done about it, and when it is tried again.
//!
//! Knows states, waits and what is lost between. Must not know how an interface is looked at, nor how it is bound.

use std::mem;

use popmap_core::time::{Duration, Instant};

use super::XdpDevice;
use super::binding::{Binding, Settings};
use super::error::XdpError;
use super::link::Interface;
use super::queue::Queue;
use crate::interface::InterfaceError;

/// Waits between attempts at an interface that refuses: the first, and the longest.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// When an interface that refuses is tried again.
#[derive(Debug)]
pub(super) struct Retry {
    /// No attempt is made before this.
    at: Instant,
    /// The wait after the next that fails.
    wait: Duration,
}

impl Retry {
    pub(super) const NOW: Self = Self { at: Instant::ZERO, wait: RETRY };

    /// Returns when the next attempt is, after one that failed: each time twice as late.
    fn fail(&mut self, now: Instant) -> Instant {
        self.at = now + self.wait;
        self.wait = self.wait.times(2).min(RETRY_MAX);
        self.at
    }
}

impl XdpDevice {
    /// Takes note of changes.
    pub(super) fn hear(&mut self) {
        if self.watch.has_changed() {
            self.look_at = Some(Instant::ZERO);
        }
    }

    /// Looks at the interface if it is time to.
    pub(super) fn attend(&mut self) {
        if self.look_at.is_some() {
            self.look();
        }
    }

    #[cold]
    fn look(&mut self) {
        let now = self.clock.now();
        if self.look_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        match self.watch.look(&self.name) {
            Ok(found) => self.follow(now, found),
            // Nothing is known then; an interface that works goes on doing so.
            Err(_) => self.look_at = Some(now + RETRY),
        }
    }

    fn follow(&mut self, now: Instant, found: Option<Interface>) {
        let checked = check(&self.name, found, self.encap.mtu());
        let same = |at: &Interface| checked.as_ref().is_ok_and(|(found, _)| found.index == at.index);
        if self.binding.as_ref().is_some_and(|binding| !same(binding.interface())) {
            self.unbind(now);
        }
        let (found, down) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                // It is heard of when it comes back, and then there is no reason to wait.
                self.retry = Retry::NOW;
                self.look_at = Some(now + RETRY_MAX);
                return self.set_link(now, Some(error.into()));
            }
        };
        if self.binding.is_none() && now < self.retry.at {
            self.look_at = Some(self.retry.at);
            return;
        }
        if let Err(error) = self.settle(found) {
            self.xdp.reopen_failures += 1;
            // Our own attempt changes the interface and is heard of: only the time says when to try again.
            self.look_at = Some(self.retry.fail(now));
            return self.set_link(now, Some(error));
        }
        self.retry = Retry::NOW;
        self.set_link(now, down.map(XdpError::from));
    }

    /// Has program and sockets at this interface, and frames to us let in there.
    fn settle(&mut self, found: Interface) -> Result<(), XdpError> {
        match &mut self.binding {
            Some(binding) if binding.interface().mac == found.mac => {}
            Some(binding) => binding.stay(&self.name, &found, self.mac, &self.encap)?,
            None => {
                let Self { mac, framing, encap, config, .. } = &*self;
                let settings = Settings { mac: *mac, framing, encap, config };
                self.binding = Some(Binding::open(&self.name, found, &settings, 1)?);
                self.xdp.reopens += 1;
            }
        }
        Ok(())
    }

    /// Lets go of an interface that is not there any more.
    pub(super) fn unbind(&mut self, now: Instant) {
        if let Some(binding) = self.binding.take() {
            self.xdp.kernel.add(&binding.stats());
            let held: u32 = binding.queues().iter().map(Queue::held).sum();
            self.stats.unreachable += u64::from(held.saturating_sub(mem::take(&mut self.said)));
            self.set_link(now, Some(InterfaceError::Missing { interface: self.name.clone() }.into()));
            (self.retry, self.look_at) = (Retry::NOW, Some(now));
        }
    }

    fn set_link(&mut self, now: Instant, down: Option<XdpError>) {
        let is_down = down.is_some();
        match (mem::replace(&mut self.down, down).is_some(), is_down) {
            (false, true) => self.stats.link_losses += 1,
            (true, false) => {
                self.stats.link_returns += 1;
                // Others may have given up on us meanwhile.
                self.encap.announce(now);
            }
            _ => {}
        }
    }
}

/// Returns the interface, and why frames cannot pass, if so.
///
/// # Errors
/// Why no program can be there.
pub(super) fn check(
    name: &str,
    found: Option<Interface>,
    needed: usize,
) -> Result<(Interface, Option<InterfaceError>), InterfaceError> {
    let interface = name.to_owned();
    let Some(found) = found else { return Err(InterfaceError::Missing { interface }) };
    let Interface { hardware, is_up, has_carrier, .. } = found;
    let mtu = found.mtu as usize;
    if hardware != libc::ARPHRD_ETHER {
        return Err(InterfaceError::NotEthernet { interface, hardware });
    }
    let down = if !is_up {
        Some(InterfaceError::Down { interface })
    } else if !has_carrier {
        Some(InterfaceError::NoCarrier { interface })
    } else if mtu < needed {
        Some(InterfaceError::Mtu { interface, mtu, needed })
    } else {
        None
    };
    Ok((found, down))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_is_tried_ever_less() {
        let (mut retry, mut now) = (Retry::NOW, Instant::ZERO);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let at = retry.fail(now);
            waits.push(at.since(now).0 / 1_000_000);
            now = at;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        // After a success or a loss it begins anew.
        retry = Retry::NOW;
        assert_eq!(retry.fail(now), now + RETRY);
    }

    #[test]
    fn what_keeps_frames_from_passing_is_named() {
        let up = Interface {
            index: 7,
            hardware: libc::ARPHRD_ETHER,
            mac: crate::address::Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1_500,
            queues: 1,
            is_up: true,
            has_carrier: true,
        };
        let said = |why: &InterfaceError| why.to_string().split([';', '(']).next().unwrap().to_owned();
        let down = |found, mtu| {
            let (there, down) = check("eth7", Some(found), mtu).unwrap();
            assert_eq!(there, found);
            down.as_ref().map(said)
        };
        assert_eq!(down(up, 1_500), None);
        for (found, mtu, why) in [
            (up, 1_501, "eth7: its MTU is 1500 bytes, and payload and headers need 1501"),
            (Interface { is_up: false, ..up }, 0, "eth7: the interface is down"),
            (Interface { has_carrier: false, ..up }, 0, "eth7: no carrier"),
        ] {
            assert_eq!(down(found, mtu).as_deref(), Some(why));
        }
        let refused = |found| said(&check("eth7", found, 0).unwrap_err());
        assert_eq!(refused(Some(Interface { hardware: 772, ..up })), "eth7: not an Ethernet interface ");
        assert!(refused(None).starts_with("eth7: no interface has this name"));
    }
}
