//! What can be wrong with a network interface, whatever a device does with it.
//!
//! Knows what each takes to be mended. Must not know how an interface is looked at, nor what a device does about it.

use std::fmt;

/// What is wrong with an interface: why no device opens on it, or why frames cannot pass for now.
///
/// Which of the two depends on the device: see [`af_packet`](crate::af_packet) and [`af_xdp`](crate::af_xdp). A device that
/// is open stays so in all cases, and its link is down.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InterfaceError {
    /// No interface has this name.
    Missing {
        /// The name.
        interface: String,
    },
    /// The interface is not an Ethernet one.
    NotEthernet {
        /// Its name.
        interface: String,
        /// The kernel's number for what it is (`ARPHRD_`...).
        hardware: u16,
    },
    /// The interface is switched off. A packet device does not open then; an AF_XDP device opens, and waits until it is
    /// on.
    Down {
        /// Its name.
        interface: String,
    },
    /// The interface is on, and nothing is at the other end. No device fails to open for that: it waits for a carrier.
    NoCarrier {
        /// Its name.
        interface: String,
    },
    /// The interface does not carry the longest packet.
    Mtu {
        /// Its name.
        interface: String,
        /// Bytes that it carries behind an Ethernet header.
        mtu: usize,
        /// Bytes that the encapsulation may need.
        needed: usize,
    },
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { interface } => write!(
                f,
                "{interface}: no interface has this name in this network namespace (ip link lists those that are there)"
            ),
            Self::NotEthernet { interface, hardware } => write!(
                f,
                "{interface}: not an Ethernet interface (hardware type {hardware}, Ethernet is {}); for others, use UDP \
                 sockets",
                libc::ARPHRD_ETHER
            ),
            Self::Down { interface } => {
                write!(f, "{interface}: the interface is down; switch it on (ip link set {interface} up)")
            }
            Self::NoCarrier { interface } => {
                write!(f, "{interface}: no carrier; nothing is at the other end of the wire")
            }
            Self::Mtu { interface, mtu, needed } => write!(
                f,
                "{interface}: its MTU is {mtu} bytes, and payload and headers need {needed}; raise it (ip link set \
                 {interface} mtu {needed}) or configure a shorter payload"
            ),
        }
    }
}

impl std::error::Error for InterfaceError {}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::af_packet::PacketError;
    use crate::af_xdp::XdpError;

    /// What to type, which must be right, and the same whoever says it.
    #[test]
    fn both_devices_say_what_mends_it_in_the_same_words() {
        let interface = || "eth7".to_owned();
        for (error, mended) in [
            (InterfaceError::Missing { interface: interface() }, "(ip link lists those that are there)"),
            (InterfaceError::NotEthernet { interface: interface(), hardware: 772 }, "use UDP sockets"),
            (InterfaceError::Down { interface: interface() }, "(ip link set eth7 up)"),
            (InterfaceError::NoCarrier { interface: interface() }, "at the other end of the wire"),
            (
                InterfaceError::Mtu { interface: interface(), mtu: 1_500, needed: 1_506 },
                "(ip link set eth7 mtu 1506)",
            ),
        ] {
            let said = error.to_string();
            assert!(said.starts_with("eth7: ") && said.contains(mended), "{said}");
            let (packet, xdp) = (PacketError::from(error.clone()), XdpError::from(error.clone()));
            for device in [&packet as &dyn Error, &xdp] {
                assert_eq!(device.to_string(), said);
                assert_eq!(device.source().and_then(|source| source.downcast_ref()), Some(&error));
            }
        }
    }
}
