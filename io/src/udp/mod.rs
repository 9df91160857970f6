//! The UDP device: one socket, IPv4 or IPv6, in batches.
//!
//! Knows sockets, datagrams and what the operating system says of them. Must not know what is in a packet.
//!
//! A burst is received with one system call (recvmmsg), and frames of equal length to one destination leave with one
//! (generic segmentation offload), where the system can; where it cannot, or an interface refuses, each leaves with a call
//! of its own, and [`UdpStats`] counts that. Datagrams are never fragmented: one that is too long for the network is lost and counted as
//! [`too_long`](DeviceStats::too_long).
//!
//! Needs a Unix, for waiting on the socket and the waker at once.

mod config;
mod stats;

use std::io::{self, IoSliceMut};
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Waker;
use std::time::Duration;

use popmap_core::Address;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::event::PollFlags;
use rustix::io::Errno;

pub use config::{BindError, UdpConfig};
pub use stats::UdpStats;

use crate::address;
use crate::bell::Bell;
use crate::device::{BURST, Burst, Device, DeviceStats};

/// Bytes of the longest series of segments that one call may send: below what an IPv6 datagram carries.
const SERIES_MAX: usize = 65_000;
/// Bytes of the longest series that the system hands over. There is room for one per message, and memory that no message
/// has reached yet costs nothing.
const SERIES_RECEIVED_MAX: usize = 65_535;

/// A [`Device`] over one UDP socket.
pub struct UdpDevice {
    socket: UdpSocket,
    state: UdpSocketState,
    bell: Bell,
    local: SocketAddr,
    config: UdpConfig,
    /// Equal parts, one per message of a receive call.
    received: Box<[u8]>,
    part: usize,
    metas: Box<[RecvMeta]>,
    /// The last wait found nothing to receive, so the next call need not look.
    is_dry: bool,
    /// Frames one behind the other.
    filled: Box<[u8]>,
    /// What is to be sent of `filled`.
    runs: Vec<Run>,
    next_run: usize,
    stats: DeviceStats,
    series: UdpStats,
}

/// Consecutive frames to one destination, of equal length but for a shorter last one.
#[derive(Clone, Copy, Debug)]
struct Run {
    to: SocketAddr,
    start: usize,
    end: usize,
    segment: usize,
    /// The system refused the run as a whole: frame by frame now.
    singly: bool,
}

impl UdpDevice {
    /// Opens a socket at `local`; port 0 lets the system choose one ([`Device::local`] tells which).
    ///
    /// # Errors
    /// [`BindError::NotLoopback`] unless `local` is a loopback address or the configuration says
    /// [`authenticated`](UdpConfig::authenticated) or [`insecure`](UdpConfig::insecure); which field is out of range; or what the operating system said and to what.
    pub fn bind(local: SocketAddr, config: &UdpConfig) -> Result<Self, BindError> {
        let (socket, state, local) = config.open(local)?;
        let failed = |source| BindError::System { address: local, step: "making the waker", source };
        let bell = Bell::new().map_err(failed)?;
        let series = state.gro_segments() > 1;
        // One byte more than the limit, so that a longer datagram shows.
        let part = if series { SERIES_RECEIVED_MAX } else { config.payload + 1 };
        Ok(Self {
            socket,
            state,
            bell,
            local,
            config: *config,
            received: vec![0; BATCH_SIZE * part].into(),
            part,
            metas: vec![RecvMeta::default(); BATCH_SIZE].into(),
            is_dry: false,
            filled: vec![0; BURST * config.payload].into(),
            runs: Vec::with_capacity(BURST),
            next_run: 0,
            stats: DeviceStats::default(),
            series: UdpStats::default(),
        })
    }

    /// Returns the counters of system calls that carried, or could not carry, several packets.
    #[must_use]
    pub fn udp_stats(&self) -> UdpStats {
        UdpStats {
            can_segment: self.state.max_gso_segments() > 1,
            can_coalesce: self.state.gro_segments() > 1,
            ..self.series
        }
    }

    /// Returns the socket's address.
    #[must_use]
    pub fn local_socket(&self) -> SocketAddr {
        self.local
    }

    /// Returns the bytes that the system granted for packets waiting to be received and to be sent. It doubles what was
    /// asked for, and silently caps it (Linux: `net.core.rmem_max` and `wmem_max`).
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn buffers(&self) -> io::Result<(usize, usize)> {
        let socket = socket2::SockRef::from(&self.socket);
        Ok((socket.recv_buffer_size()?, socket.send_buffer_size()?))
    }

    /// Returns the socket address that `to` stands for, if this device may and can send there.
    fn route(&self, to: Address) -> Option<SocketAddr> {
        let to = address::to_socket(to)?;
        let reached = to.is_ipv4() == self.local.is_ipv4() && to.port() != 0;
        (reached && (self.config.reaches_strangers() || to.ip().is_loopback())).then_some(to)
    }

    /// Appends a frame of `len` bytes at `start` to what is to be sent.
    fn append(&mut self, to: SocketAddr, start: usize, len: usize) {
        let segments = self.state.max_gso_segments();
        let end = start + len;
        let follows = |run: &&mut Run| {
            let whole = run.end - run.start;
            run.to == to && run.end == start && len <= run.segment && whole.is_multiple_of(run.segment)
        };
        match self.runs.last_mut().filter(follows) {
            Some(run) if end - run.start <= SERIES_MAX.min(segments * run.segment) => run.end = end,
            last => {
                self.series.sent_singly += u64::from(last.is_some() && segments == 1);
                self.runs.push(Run { to, start, end, segment: len, singly: false });
            }
        }
    }

    /// Sends what was filled; returns whether some of it has to wait.
    fn flush(&mut self) -> io::Result<bool> {
        self.flush_by(|socket, state, transmit| state.try_send(socket.into(), transmit))
    }

    /// The same through `send`, because no test makes a socket refuse.
    fn flush_by(
        &mut self,
        mut send: impl FnMut(&UdpSocket, &UdpSocketState, &Transmit<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        while let Some(run) = self.runs.get_mut(self.next_run) {
            let singly = run.singly || self.state.max_gso_segments() == 1;
            let whole = run.end - run.start;
            let len = if singly { run.segment.min(whole) } else { whole };
            let transmit = Transmit {
                destination: run.to,
                ecn: None,
                contents: &self.filled[run.start..run.start + len],
                segment_size: (len > run.segment).then_some(run.segment),
                src_ip: None,
            };
            match send(&self.socket, &self.state, &transmit) {
                Ok(()) => {
                    self.stats.sent += len.div_ceil(run.segment) as u64;
                    self.series.sent += u64::from(len > run.segment);
                    run.start += len;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stats.blocked += 1;
                    return Ok(true);
                }
                Err(error) if is_broken(&error) => return Err(error),
                // The interface may not take a series, or one frame of it may be at fault.
                Err(_) if len > run.segment => {
                    run.singly = true;
                    // The first would have had a call anyway.
                    self.series.sent_singly += len.div_ceil(run.segment) as u64 - 1;
                }
                Err(error) => {
                    count_lost(&mut self.stats, &error);
                    run.start += len;
                }
            }
            if run.start == run.end {
                self.next_run += 1;
            }
        }
        self.runs.clear();
        self.next_run = 0;
        Ok(false)
    }
}

impl Device for UdpDevice {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        if mem::take(&mut self.is_dry) {
            return Ok(Burst::default());
        }
        let mut parts = self.received.chunks_exact_mut(self.part);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        let messages = match self.state.recv((&self.socket).into(), &mut buffers, &mut self.metas) {
            Ok(messages) => messages,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Burst::default()),
            Err(error) if is_broken(&error) => return Err(error),
            Err(_) => {
                // A late word of an earlier send, most often; the next call goes on.
                self.stats.receive_errors += 1;
                return Ok(Burst::default());
            }
        };
        let mut frames = 0;
        for (meta, part) in self.metas[..messages].iter().zip(&buffers) {
            let from = address::from_socket(meta.addr);
            if meta.len == 0 {
                // For the receiver to reject and count; it has no stride.
                frames += 1;
                sink(from, &[]);
            }
            self.series.received += u64::from(meta.len > meta.stride && meta.stride > 0);
            for packet in part[..meta.len].chunks(meta.stride.max(1)) {
                if packet.len() > self.config.payload {
                    self.stats.oversize += 1;
                    continue;
                }
                frames += 1;
                sink(from, packet);
            }
        }
        self.stats.received += frames as u64;
        Ok(Burst { frames, more: messages == BATCH_SIZE, blocked: false })
    }

    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        if self.flush()? {
            return Ok(Burst { blocked: true, ..Burst::default() });
        }
        let (mut end, mut frames, mut more) = (0, 0, true);
        while frames < BURST {
            let frame = &mut self.filled[end..end + self.config.payload];
            let Some((to, len)) = fill(frame) else {
                more = false;
                break;
            };
            assert!(
                len <= self.config.payload,
                "a packet of {len} bytes in a frame of {}",
                self.config.payload
            );
            frames += 1;
            match self.route(to) {
                Some(to) if len > 0 => {
                    self.append(to, end, len);
                    end += len;
                }
                _ => self.stats.no_route += 1,
            }
        }
        let blocked = self.flush()?;
        Ok(Burst { frames, more: more && !blocked, blocked })
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let blocked = self.next_run < self.runs.len();
        let wanted = if blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let came = self.bell.wait(&self.socket, wanted, timeout)?;
        // An error shows here too, and is taken by receiving.
        self.is_dry = came.difference(PollFlags::OUT).is_empty();
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.bell.waker()
    }

    fn payload(&self) -> usize {
        self.config.payload
    }

    fn needs_keys(&self) -> bool {
        self.config.authenticated && !self.config.insecure
    }

    fn local(&self) -> Address {
        address::from_socket(self.local)
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

/// For an event loop of somebody else's: readable when a packet waits. Wakes and what is held back do not show here.
impl AsFd for UdpDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for UdpDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpDevice")
            .field("local", &self.local)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// Whether the socket itself is gone, rather than one packet.
fn is_broken(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::BADF | Errno::NOTSOCK))
}

fn count_lost(stats: &mut DeviceStats, error: &io::Error) {
    let counter = match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => &mut stats.refused,
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN) => {
            &mut stats.unreachable
        }
        Some(Errno::NOBUFS | Errno::NOMEM) => &mut stats.no_buffers,
        Some(Errno::PERM | Errno::ACCESS) => &mut stats.forbidden,
        Some(Errno::MSGSIZE) => &mut stats.too_long,
        _ => &mut stats.send_errors,
    };
    *counter += 1;
}

#[cfg(test)]
mod tests;
