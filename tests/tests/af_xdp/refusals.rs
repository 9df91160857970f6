//! What is missing, taken or out of range is named.

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::*;

fn refused(interface: &str, encap: &EncapConfig, config: XdpConfig, expected: &str) {
    let said = XdpDevice::bind(interface, encap, &config).expect_err(expected).to_string();
    assert!(said.starts_with(expected), "{said:?} does not start with {expected:?}");
}

#[test]
fn refusals_say_what_is_needed() {
    netns::inside(|| {
        allowed(|| {
            const ANY: XdpConfig = XdpConfig::DEFAULT;
            veth("left", "right", 2);
            for name in ["nobody", "", "much-too-long-a-name", "a\0b"] {
                refused(name, &bare(), ANY, &format!("{name}: no interface has this name"));
            }
            refused("lo", &bare(), ANY, "lo: not an Ethernet interface (hardware type 772, Ethernet is 1)");
            refused("left", &EncapConfig::ethernet(), ANY, "insecure: false;");
            let long = EncapConfig { payload: 4_000, ..bare() };
            refused("left", &long, ANY, "payload: 4000 bytes; at most 3820 are possible with AF_XDP");
            let long = EncapConfig { payload: 2_000, ..bare() };
            refused("left", &long, ANY, "left: its MTU is 1500 bytes, and payload and headers need 2006;");
            let queue = |queue| XdpConfig { queue: Some(queue), ..ANY };
            refused(
                "left",
                &bare(),
                queue(2),
                "queue: 2; left has no such queue in use, and can have 2 in all",
            );
            refused("left", &bare(), queue(70_000), "queue: 70000;");
            let zero_copy = XdpConfig { mode: Some(XdpMode::ZeroCopy), ..ANY };
            let expected = "mode: in the driver, zero-copy; left does not work so: Operation not supported";
            refused("left", &bare(), zero_copy, expected);
            assert!(!netns::ip("link show left").contains("xdp"), "a refusal leaves nothing");

            let first = bind("left", &bare());
            let generic = XdpConfig { mode: Some(XdpMode::Generic), ..ANY };
            for config in [ANY, generic] {
                refused("left", &udp("10.7.0.1:7"), config, "left: another XDP program is attached");
            }
            drop(first);
            let one = XdpDevice::bind("left", &bare(), &queue(1)).unwrap();
            assert_eq!(one.queues(), 1);
            drop(one);
            // No driver that knows programs: another mode, and it is said why.
            netns::ip("link add name soft type bridge");
            let fallen = bind("soft", &bare());
            assert_eq!(fallen.mode(), Some(XdpMode::Generic));
            assert!(fallen.refused().is_some());
        });
    });
}

/// Opens the interface with these capabilities and no others, of root's.
fn bound_with(capabilities: CapabilitySet) -> Result<(), XdpError> {
    let sets = CapabilitySets {
        effective: capabilities,
        permitted: capabilities,
        inheritable: CapabilitySet::empty(),
    };
    // They are a thread's.
    let thread = thread::spawn(move || {
        set_capabilities(None, sets).unwrap();
        XdpDevice::bind("left", &bare(), &XdpConfig::DEFAULT).map(drop)
    });
    thread.join().unwrap()
}

#[test]
fn missing_capabilities_are_named() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            let programs = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
            for (given, failed, needed) in [
                (CapabilitySet::empty(), "making the socket map", "CAP_BPF and CAP_NET_ADMIN, or root"),
                (CapabilitySet::NET_RAW, "making the socket map", "CAP_BPF and CAP_NET_ADMIN, or root"),
                (programs, "opening an AF_XDP socket", "CAP_NET_RAW, or root"),
            ] {
                let said = bound_with(given).unwrap_err().to_string();
                let expected =
                    format!("{failed} failed: Operation not permitted (os error 1); it needs {needed}");
                assert!(said.starts_with(&expected), "{said:?} does not start with {expected:?}");
            }
            // Those that are named suffice, if memory may be locked or nobody asks.
            bound_with(programs | CapabilitySet::NET_RAW | CapabilitySet::IPC_LOCK).unwrap();
            if let Err(error) = bound_with(programs | CapabilitySet::NET_RAW) {
                assert!(
                    error.to_string().contains("it needs CAP_IPC_LOCK, or a higher RLIMIT_MEMLOCK"),
                    "{error}"
                );
            }
        });
    });
}
