//! How a UDP socket is opened, and why it was not.
//!
//! Knows socket options and what is allowed without authentication. Must not know what the socket carries.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use popmap_core::limits::{PAYLOAD_DEFAULT, PAYLOAD_MAX, PAYLOAD_MIN};
use quinn_udp::UdpSocketState;
use socket2::{Domain, Protocol, Socket, Type};

/// How a [`UdpDevice`](super::UdpDevice) is opened.
#[derive(Clone, Copy, Debug)]
pub struct UdpConfig {
    /// Bytes of the longest packet. Default: [`PAYLOAD_DEFAULT`]; the node's may not be longer.
    pub payload: usize,
    /// Bytes asked of the system for packets waiting to be received. Default: 4 MiB, which lasts through a stall of some
    /// milliseconds while the whole PoP talks at once.
    pub receive_buffer: usize,
    /// Bytes asked of the system for packets waiting to be sent. Default: 1 MiB.
    pub send_buffer: usize,
    /// Allows addresses other than loopback for packets that are not authenticated: whoever can send a packet to such an
    /// address can write to the map, and whoever sees the network reads it. Default: no.
    pub insecure: bool,
    /// Allows addresses other than loopback, for a driver that has keys
    /// ([`DriverConfig::keys`](crate::DriverConfig::keys)) and no other. Default: no.
    pub authenticated: bool,
}

impl UdpConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        payload: PAYLOAD_DEFAULT,
        receive_buffer: 4 << 20,
        send_buffer: 1 << 20,
        insecure: false,
        authenticated: false,
    };

    /// Returns this configuration with addresses other than loopback allowed, or not; see
    /// [`insecure`](Self::insecure).
    #[must_use]
    pub const fn insecure(self, insecure: bool) -> Self {
        Self { insecure, ..self }
    }

    /// Returns this configuration for authenticated packets, or not; see [`authenticated`](Self::authenticated).
    #[must_use]
    pub const fn authenticated(self, authenticated: bool) -> Self {
        Self { authenticated, ..self }
    }

    /// Whether addresses other than loopback are allowed.
    pub(super) const fn reaches_strangers(&self) -> bool {
        self.insecure || self.authenticated
    }

    /// Returns this configuration with another [`payload`](Self::payload).
    #[must_use]
    pub const fn payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    pub(super) fn open(
        &self,
        address: SocketAddr,
    ) -> Result<(UdpSocket, UdpSocketState, SocketAddr), BindError> {
        if !(PAYLOAD_MIN..=PAYLOAD_MAX).contains(&self.payload) {
            return Err(BindError::Payload(self.payload));
        }
        if !self.reaches_strangers() && !address.ip().is_loopback() {
            return Err(BindError::NotLoopback(address));
        }
        let failed = |step| move |source| BindError::System { address, step, source };
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
            .map_err(failed("opening a socket"))?;
        if address.is_ipv6() {
            // IPv4 has a socket of its own: one peer, one address.
            socket.set_only_v6(true).map_err(failed("asking for IPv6 only"))?;
        }
        socket.set_recv_buffer_size(self.receive_buffer).map_err(failed("sizing the receive buffer"))?;
        socket.set_send_buffer_size(self.send_buffer).map_err(failed("sizing the send buffer"))?;
        // No reuse of addresses: two servers at one address must not share its packets out.
        socket.bind(&address.into()).map_err(failed("binding"))?;
        let socket = UdpSocket::from(socket);
        // Non-blocking, segmentation, no fragments.
        let state = UdpSocketState::new((&socket).into()).map_err(failed("setting options"))?;
        let local = socket.local_addr().map_err(failed("asking for the address"))?;
        Ok((socket, state, local))
    }
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a UDP device could not be opened. Nothing is left behind.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not loopback, and neither `authenticated` nor `insecure` was said.
    NotLoopback(SocketAddr),
    /// The payload limit is out of range.
    Payload(usize),
    /// The operating system refused.
    System {
        /// The address.
        address: SocketAddr,
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "insecure: {address} is not a loopback address, and packets are not authenticated, so that anyone who \
                 reaches it could write to the map; give the driver keys and set `authenticated`, or bind to 127.0.0.1 \
                 or [::1], or set `insecure` if the network itself keeps others out"
            ),
            Self::Payload(given) => {
                write!(f, "payload: {given} bytes; {PAYLOAD_MIN} to {PAYLOAD_MAX} are possible")
            }
            Self::System { address, step, source } => {
                write!(f, "cannot open a UDP socket at {address}: {step} failed: {source}")
            }
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            Self::NotLoopback(_) | Self::Payload(_) => None,
        }
    }
}
