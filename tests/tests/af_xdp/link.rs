//! Interfaces that go down, lose their carrier, shrink, vanish and come back.

use popmap_io::InterfaceError;
use popmap_io::address::{self, Mac};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::*;

type Is = fn(&Result<(), &XdpError>) -> bool;

const UP: Is = |link| link.is_ok();
const DOWN: Is = |link| matches!(link, Err(XdpError::Interface(InterfaceError::Down { .. })));
const NO_CARRIER: Is = |link| matches!(link, Err(XdpError::Interface(InterfaceError::NoCarrier { .. })));
const MISSING: Is = |link| matches!(link, Err(XdpError::Interface(InterfaceError::Missing { .. })));
const TOO_SMALL: Is =
    |link| matches!(link, Err(XdpError::Interface(InterfaceError::Mtu { mtu: 1_300, needed: 1_406, .. })));
const REFUSED: Is = |link| matches!(link, Err(XdpError::Permission { .. }));
const BUSY: Is = |link| matches!(link, Err(XdpError::Busy { .. }));

/// Keeps a device going, as a driver does, until it says this of its link.
fn until(device: &mut XdpDevice, is: Is) {
    let start = Instant::now();
    while !is(&device.link()) {
        assert!(start.elapsed() < LONG, "{device:?}");
        let _ = device.receive(|_, _| ()).unwrap();
        let _ = device.send(|_| None).unwrap();
        device.wait(Some(Duration::from_millis(100))).unwrap();
    }
}

#[test]
fn down_and_up_heals() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            for mode in MODES {
                let (mut left, mut right) = (bind_in(mode, "left", &bare()), bind_in(mode, "right", &bare()));
                for (end, left_is, right_is) in [("left", DOWN, NO_CARRIER), ("right", NO_CARRIER, DOWN)] {
                    netns::ip(&format!("link set {end} down"));
                    until(&mut left, left_is);
                    until(&mut right, right_is);
                    // Lost, counted, and no reason to stop.
                    let lost = left.stats().unreachable;
                    assert!(!send(&mut left, right.local(), b"nobody hears this"));
                    assert_eq!(left.stats().unreachable, lost + 1);
                    netns::ip(&format!("link set {end} up"));
                    until(&mut left, UP);
                    until(&mut right, UP);
                    exchange(&mut left, &mut right);
                }
                let (stats, xdp) = (left.stats(), left.xdp_stats());
                assert_eq!((stats.link_losses, stats.link_returns, xdp.reopens), (2, 2, 0));
            }
        });
    });
}

#[test]
fn an_interface_may_be_down_at_the_start() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            netns::ip("link set left down");
            let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
            assert!(DOWN(&left.link()) && NO_CARRIER(&right.link()));
            assert_eq!((left.stats().link_losses, left.stats().link_returns), (1, 0));
            netns::ip("link set left up");
            until(&mut left, UP);
            until(&mut right, UP);
            exchange(&mut left, &mut right);
            assert_eq!((left.stats().link_losses, left.stats().link_returns), (1, 1));
        });
    });
}

/// What was filled before the device hears that the link is down is held back, and gets out.
#[test]
fn what_was_filled_is_kept_while_the_link_is_down() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
            let to = right.local();
            netns::ip("link set left down");
            assert!(send(&mut left, to, b"held"));
            assert!(send(&mut left, to, b"not even asked for"));
            let stats = left.stats();
            assert_eq!((stats.sent, stats.blocked > 0, stats.lost()), (0, true, 0));
            until(&mut left, DOWN);
            netns::ip("link set left up");
            until(&mut left, UP);
            send(&mut left, to, b"next");
            let packets = take_some(&mut right, 2);
            assert_eq!((&packets[0].1[..], &packets[1].1[..]), (&b"held"[..], &b"next"[..]));
            assert_eq!((left.stats().sent, left.stats().lost()), (2, 0));
        });
    });
}

/// Before the device hears that nothing is at the other end the kernel drops what it is given, and says so.
#[test]
fn what_is_dropped_for_want_of_a_carrier_is_counted() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
            let to = right.local();
            netns::ip("link set right down");
            for n in 1..=3 {
                assert!(!send(&mut left, to, b"nobody hears this"));
                let stats = left.stats();
                assert_eq!((stats.sent, stats.send_errors, stats.lost()), (0, n, n));
            }
            netns::ip("link set right up");
            until(&mut left, UP);
            until(&mut right, UP);
            wait_for("it goes on", || {
                send(&mut left, to, b"next");
                !take(&mut right).is_empty()
            });
        });
    });
}

#[test]
fn an_mtu_that_is_too_small_is_a_loss_until_it_grows() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
            netns::ip("link set left mtu 1300");
            until(&mut left, TOO_SMALL);
            send(&mut left, right.local(), &[1; 1_400]);
            assert_eq!(left.stats().unreachable, 1);
            netns::ip("link set left mtu 1406");
            until(&mut left, UP);
            exchange(&mut left, &mut right);
        });
    });
}

#[test]
fn an_interface_that_vanishes_is_found_again_by_name() {
    netns::inside(|| {
        allowed(|| {
            for (left, right) in [(bare(), bare()), (udp("10.7.0.1:7946"), udp("10.7.0.2:7946"))] {
                veth("left", "right", 2);
                let (mut left, mut right) = (bind("left", &left), bind("right", &right));
                meet(&mut left, &mut right);
                let known_as = (left.local(), right.local());
                netns::ip("link del left");
                until(&mut left, MISSING);
                until(&mut right, MISSING);
                assert_eq!((left.mode(), left.queues()), (None, 0));
                send(&mut left, right.local(), b"nobody hears this");
                // Others of the same names, with MAC addresses of their own.
                veth("left", "right", 1);
                until(&mut left, UP);
                until(&mut right, UP);
                assert_eq!((left.queues(), (left.local(), right.local())), (1, known_as));
                meet(&mut left, &mut right);
                exchange(&mut left, &mut right);
                let stats = left.stats();
                assert!(left.xdp_stats().reopens >= 1 && stats.unreachable >= 1);
                assert_eq!(stats.link_losses, stats.link_returns);
                netns::ip("link del left");
            }
        });
    });
}

#[test]
fn the_mac_address_of_the_start_stays_ours() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
            let known_as = left.local();
            netns::ip("link set left address 02:00:00:00:00:77");
            let _ = left.receive(|_, _| ()).unwrap();
            left.wait(Some(Duration::from_millis(10))).unwrap();
            exchange(&mut left, &mut right);
            assert_eq!(left.local(), known_as);
            // Whoever comes later takes what it finds.
            drop(left);
            let another = address::from_mac(Mac([2, 0, 0, 0, 0, 0x77]));
            assert_eq!(bind("left", &bare()).local(), another);
        });
    });
}

/// Somebody else's program took the place while the interface was away.
#[test]
fn a_refused_return_is_tried_again() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let mut left = bind("left", &bare());
            netns::ip("link del left");
            until(&mut left, MISSING);
            veth("fresh", "right", 1);
            let other = bind("fresh", &bare());
            netns::ip("link set fresh name left");
            until(&mut left, BUSY);
            assert!(left.xdp_stats().reopen_failures > 0);
            drop(other);
            until(&mut left, UP);
            let mut right = bind("right", &bare());
            exchange(&mut left, &mut right);
        });
    });
}

/// Nobody tells that a capability is there again: only trying does.
#[test]
fn a_refused_return_is_tried_again_when_nothing_changes() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let mut left = bind("left", &bare());
            let all = capabilities(None).unwrap();
            // Of this thread; the commands get theirs back as root's.
            set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..all }).unwrap();
            netns::ip("link del left");
            until(&mut left, MISSING);
            veth("left", "right", 1);
            until(&mut left, REFUSED);
            assert!(left.xdp_stats().reopen_failures > 0);
            // All changes were heard of by now.
            let _ = left.receive(|_, _| ()).unwrap();
            set_capabilities(None, all).unwrap();
            until(&mut left, UP);
        });
    });
}

/// A loop that polls and never waits hears of changes as well.
#[test]
fn a_busy_loop_hears_of_changes() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let mut left = bind("left", &bare());
            for (set, is) in [("down", DOWN), ("up", UP)] {
                netns::ip(&format!("link set left {set}"));
                wait_for("it is heard of", || {
                    let _ = left.receive(|_, _| ()).unwrap();
                    is(&left.link())
                });
            }
        });
    });
}
