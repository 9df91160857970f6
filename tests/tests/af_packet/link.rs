//! Interfaces that are switched off, lose their carrier, shrink or vanish, and come back.

use popmap_io::InterfaceError;
use popmap_io::address;
use popmap_io::af_packet::{PacketConfig, PacketError};
use popmap_tests::netns;

use super::*;

/// Waits until a device's link is down for a reason. Packets are then lost and counted, and nothing fails.
fn lost(device: &mut PacketDevice, is: impl Fn(&PacketError) -> bool) {
    until("the link is lost", &mut [device], |devices, _| devices[0].link().is_err_and(&is));
    let before = device.stats();
    send(device, address::BROADCAST, &[vec![7; 100], vec![8; 100]]);
    let stats = device.stats();
    assert_eq!((stats.unreachable - before.unreachable, stats.sent), (2, before.sent));
}

/// Waits until it is back.
fn back(device: &mut PacketDevice) {
    let before = device.stats();
    until("the link is back", &mut [device], |devices, _| devices[0].link().is_ok());
    assert_eq!(device.stats().link_returns, before.link_returns + 1);
}

/// `hurt` and `heal` the interface `left` in all framings and modes; packets pass before and after, both ways.
fn heals(hurt: fn(), is: fn(&PacketError) -> bool, heal: fn()) {
    let framings = [
        [bare(); 2],
        [udp("10.0.0.1:7946"), udp("10.0.0.2:7946")],
        [udp("[fd00::1]:7946"), udp("[fd00::2]:7946")],
    ];
    for [ours, theirs] in framings {
        for config in MODES {
            let ends = netns::bridge("switch", 2);
            netns::ip(&format!("link set {} name left", down(&ends[0])));
            netns::ip("link set left up");
            let mut left = PacketDevice::bind("left", &ours, &config).unwrap();
            let mut right = PacketDevice::bind(&ends[1], &theirs, &config).unwrap();
            // A kernel takes a moment to find that an interface has a carrier.
            until("it is up", &mut [&mut left, &mut right], |devices, _| {
                devices.iter().all(|device| device.link().is_ok())
            });
            let (local, before) = (left.local(), [&left, &right].map(|device| device.stats().link_losses));
            let announced = |device: &PacketDevice| device.encap_stats().neighbours.announcements;
            let first = announced(&left);
            for _ in 0..2 {
                get_through(&mut left, &mut right);
                get_through(&mut right, &mut left);
                hurt();
                lost(&mut left, is);
                heal();
                back(&mut left);
            }
            get_through(&mut right, &mut left);
            get_through(&mut left, &mut right);
            let after = [&left, &right].map(|device| device.stats().link_losses);
            assert_eq!((after[0] - before[0], after[1] - before[1]), (2, 0), "{config:?}");
            assert_eq!(left.local(), local);
            // Others may have forgotten an IP address.
            let is_ip = address::to_socket(local).is_some();
            assert_eq!(announced(&left) > first, is_ip, "{first} before");
            netns::ip("link del switch");
            for end in ["left", &ends[1]] {
                netns::ip(&format!("link del {end}"));
            }
        }
    }
}

fn down(interface: &str) -> &str {
    netns::ip(&format!("link set {interface} down"));
    interface
}

#[test]
fn switched_off_and_on() {
    netns::inside(|| {
        heals(
            || drop(netns::ip("link set left down")),
            |why| matches!(why, PacketError::Interface(InterfaceError::Down { .. })),
            || drop(netns::ip("link set left up")),
        );
    });
}

#[test]
fn the_other_end_unplugged() {
    netns::inside(|| {
        heals(
            || drop(netns::ip("link set switch-p0 down")),
            |why| matches!(why, PacketError::Interface(InterfaceError::NoCarrier { .. })),
            || drop(netns::ip("link set switch-p0 up")),
        );
    });
}

#[test]
fn an_mtu_that_is_too_small() {
    netns::inside(|| {
        heals(
            || drop(netns::ip("link set left mtu 1400")),
            |why| matches!(why, PacketError::Interface(InterfaceError::Mtu { mtu: 1_400, .. })),
            || drop(netns::ip("link set left mtu 1500")),
        );
    });
}

/// The new one has another index and another MAC address.
#[test]
fn deleted_and_made_anew() {
    netns::inside(|| {
        heals(
            || drop(netns::ip("link del left")),
            |why| matches!(why, PacketError::Interface(InterfaceError::Missing { .. })),
            || {
                netns::veth("left", "switch-p0");
                netns::ip("link set switch-p0 master switch");
            },
        );
    });
}

/// A card lets nothing in that it was not asked for, as a veth does.
#[test]
fn frames_for_our_groups_and_our_first_address_are_asked_for() {
    netns::inside(|| {
        netns::veth("left", "right");
        let mut left = bind("left", &udp("[fd00::aa:bbcc]:1"));
        let own = mac("left");
        let group = "33:33:ff:aa:bb:cc";
        let is_joined = || netns::ip("maddress show dev left").contains(group);
        assert!(is_joined());
        netns::ip("link del left");
        lost(&mut left, |why| matches!(why, PacketError::Interface(InterfaceError::Missing { .. })));
        netns::veth("left", "right");
        assert!(!is_joined() && mac("left") != own);
        back(&mut left);
        assert!(is_joined());
        // Asked for beside the interface's own, or by asking for everything.
        let details = netns::ip("-details link show dev left");
        assert!(!details.contains("promiscuity 0"), "{details}");
        drop(left);
        assert!(!is_joined());
    });
}

/// Returns an interface's MAC address.
fn mac(interface: &str) -> String {
    let said = netns::ip(&format!("-oneline link show dev {interface}"));
    said.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

/// A frame that the interface could not take yet is lost with the link, and counted.
#[test]
fn what_waits_is_lost_with_the_link() {
    netns::inside(|| {
        netns::veth("left", "right");
        if let Err(why) = netns::throttle("left", 20, 10_000) {
            return netns::skip("what_waits_is_lost_with_the_link", &why);
        }
        let (mut left, right) = (bind("left", &bare()), bind("right", &bare()));
        let (to, mut filled) = (right.local(), 0);
        let fill = |frame: &mut [u8]| {
            frame[..1_400].fill(7);
            filled += 1;
            Some((to, 1_400))
        };
        assert!(left.send(fill).unwrap().blocked);
        assert_eq!((left.stats().sent, left.stats().lost()), (filled - 1, 0));
        netns::ip("link set left down");
        // The wait hears of it, before anything is sent.
        left.wait(None).unwrap();
        let _ = left.receive(|_, _| ()).unwrap();
        assert!(left.link().is_err());
        let stats = left.stats();
        assert_eq!((stats.sent, stats.unreachable, stats.lost()), (filled - 1, 1, 1));
        netns::ip("link set left up");
        back(&mut left);
        assert_eq!((left.stats().sent, left.stats().lost()), (filled - 1, 1));
    });
}

/// Gone and back before anybody looked: still seen, for it is another one.
#[test]
fn replaced_in_a_moment() {
    netns::inside(|| {
        netns::veth("left", "right");
        let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
        get_through(&mut left, &mut right);
        netns::ip("link del left");
        netns::veth("left", "right");
        until("both are back", &mut [&mut left, &mut right], |devices, _| {
            devices.iter().all(|device| device.stats().link_returns == 1 && device.link().is_ok())
        });
        get_through(&mut left, &mut right);
        get_through(&mut right, &mut left);
    });
}

#[test]
fn another_mac_address_while_up() {
    netns::inside(|| {
        netns::veth("left", "right");
        let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
        get_through(&mut right, &mut left);
        netns::ip("link set left address 02:00:00:00:00:77");
        get_through(&mut right, &mut left);
        get_through(&mut left, &mut right);
    });
}

#[test]
fn a_device_may_begin_without_a_carrier() {
    netns::inside(|| {
        netns::veth("left", "right");
        netns::ip("link set right down");
        let mut left = bind("left", &bare());
        // A kernel takes a moment to find that there is none.
        let start = Instant::now();
        while left.link().is_ok() && start.elapsed() < LONG {
            left = bind("left", &bare());
        }
        assert_eq!(
            left.link().unwrap_err().to_string(),
            "left: no carrier; nothing is at the other end of the wire"
        );
        assert_eq!(left.stats().link_losses, 1);
        netns::ip("link set right up");
        back(&mut left);
        let mut right = bind("right", &bare());
        get_through(&mut left, &mut right);
    });
}

#[test]
fn a_wait_ends_when_the_interface_goes() {
    netns::inside(|| {
        netns::veth("left", "right");
        let mut left = PacketDevice::bind("left", &bare(), &PacketConfig::DEFAULT).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| netns::ip("link set left down"));
            until("it is known", &mut [&mut left], |devices, _| {
                devices[0].wait(None).unwrap();
                devices[0].link().is_err()
            });
        });
        // And what ended it is looked into at once, not when it is time to look.
        netns::ip("link set left up");
        back(&mut left);
        netns::ip("link set left down");
        left.wait(None).unwrap();
        let _ = left.receive(|_, _| ()).unwrap();
        assert!(left.link().is_err());
    });
}

/// A server may give up what it needed to start.
#[test]
fn a_link_comes_back_without_any_privilege() {
    netns::inside(|| {
        netns::veth("left", "right");
        let (mut left, mut right) = (bind("left", &udp("[fd00::1]:1")), bind("right", &udp("[fd00::2]:1")));
        let none = rustix::thread::CapabilitySet::empty();
        let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        // Of this thread; the commands get theirs back as root's.
        rustix::thread::set_capabilities(None, sets).unwrap();
        assert!(matches!(
            PacketDevice::bind("left", &bare(), &PacketConfig::DEFAULT),
            Err(PacketError::Capability)
        ));
        get_through(&mut left, &mut right);
        netns::ip("link del left");
        for device in [&mut left, &mut right] {
            lost(device, |why| matches!(why, PacketError::Interface(InterfaceError::Missing { .. })));
        }
        netns::veth("left", "right");
        back(&mut left);
        back(&mut right);
        get_through(&mut left, &mut right);
        get_through(&mut right, &mut left);
    });
}
