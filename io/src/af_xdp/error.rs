//! Why an AF_XDP device could not be opened, or why its link is down: in words that name what is missing.
//!
//! Knows which error number means what at which step. Must not know the steps' arguments.

use std::fmt;
use std::io;

use rustix::io::Errno;

use super::bpf::BpfError;
use super::config::XdpMode;
use super::queue::{BINDING, QueueError};
use crate::encap::EncapError;
use crate::interface::InterfaceError;

const KERNEL: &str = "Linux 5.9 or newer with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS";

/// Why an [`XdpDevice`](super::XdpDevice) could not be opened, and nothing is left behind; or why its link is down, and it
/// tries again.
#[derive(Debug)]
#[non_exhaustive]
pub enum XdpError {
    /// The encapsulation's configuration is out of range, or the interface's MAC address is none of a station.
    Encap(EncapError),
    /// The payload limit is beyond what a chunk of memory holds.
    Payload {
        /// The configured limit, in bytes.
        given: usize,
        /// The greatest that is possible with this framing.
        most: usize,
    },
    /// Something is wrong with the interface.
    Interface(InterfaceError),
    /// The interface has no such queue.
    Queue {
        /// The interface.
        interface: String,
        /// The configured queue.
        queue: u32,
        /// The most queues that the interface can have.
        queues: u32,
    },
    /// The interface has more queues than one device takes.
    Queues {
        /// The interface.
        interface: String,
        /// The most queues that one device takes.
        most: usize,
    },
    /// Somebody else has what only one can have.
    Busy {
        /// The interface.
        interface: String,
        /// What is taken.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The interface does not work in the configured mode.
    Mode {
        /// The interface.
        interface: String,
        /// The configured mode.
        wanted: XdpMode,
        /// What the operating system said; for zero-copy that it is copied.
        source: io::Error,
    },
    /// A capability is missing.
    Permission {
        /// What was being done.
        step: &'static str,
        /// Which capabilities it needs.
        needs: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The kernel is too old, or was built without this.
    Unsupported {
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused for another reason.
    System {
        /// The interface.
        interface: String,
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
        /// What else is known: the verifier's last words, or nothing.
        detail: String,
    },
}

impl XdpError {
    pub(super) fn system(interface: &str, step: &'static str, source: io::Error) -> Self {
        Self::System { interface: interface.to_owned(), step, source, detail: String::new() }
    }

    pub(super) fn of_bpf(interface: &str, error: BpfError) -> Self {
        let is_permission = error.is_permission();
        let BpfError { step, source, log } = error;
        if is_permission {
            let needs = "CAP_BPF and CAP_NET_ADMIN, or root, and not in a user namespace";
            return Self::Permission { step, needs, source };
        }
        match Errno::from_io_error(&source) {
            Some(Errno::NOSYS) => Self::Unsupported { step, source },
            _ => Self::System { interface: interface.to_owned(), step, source, detail: log },
        }
    }

    pub(super) fn of_attach(interface: &str, source: io::Error) -> Self {
        let step = "attaching the redirect program";
        match Errno::from_io_error(&source) {
            Some(Errno::BUSY | Errno::EXIST) => Self::Busy {
                interface: interface.to_owned(),
                what: "another XDP program is attached (`ip link show` tells which)",
                source,
            },
            Some(Errno::PERM | Errno::ACCESS) => {
                Self::Permission { step, needs: "CAP_NET_ADMIN, or root", source }
            }
            Some(Errno::NODEV) => InterfaceError::Missing { interface: interface.to_owned() }.into(),
            // Generic mode works everywhere, so it is the command that is unknown.
            Some(Errno::INVAL | Errno::NOSYS) => Self::Unsupported { step, source },
            _ => Self::system(interface, step, source),
        }
    }

    pub(super) fn of_queue(interface: &str, queue: u32, queues: u32, error: QueueError) -> Self {
        let QueueError { step, source } = error;
        match source {
            Errno::PERM | Errno::ACCESS => {
                Self::Permission { step, needs: "CAP_NET_RAW, or root", source: source.into() }
            }
            Errno::NOBUFS if step != BINDING => Self::Permission {
                step,
                needs: "CAP_IPC_LOCK, or a higher RLIMIT_MEMLOCK (`ulimit -l`), 4.5 MiB for each queue",
                source: source.into(),
            },
            Errno::BUSY => Self::Busy {
                interface: interface.to_owned(),
                what: "another AF_XDP socket has the queue",
                source: source.into(),
            },
            Errno::NODEV => InterfaceError::Missing { interface: interface.to_owned() }.into(),
            Errno::INVAL if step == BINDING => Self::Queue { interface: interface.to_owned(), queue, queues },
            Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::NOPROTOOPT => {
                Self::Unsupported { step, source: source.into() }
            }
            _ => Self::system(interface, step, source.into()),
        }
    }
}

impl From<EncapError> for XdpError {
    fn from(error: EncapError) -> Self {
        Self::Encap(error)
    }
}

impl From<InterfaceError> for XdpError {
    fn from(error: InterfaceError) -> Self {
        Self::Interface(error)
    }
}

impl fmt::Display for XdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encap(error) => error.fmt(f),
            Self::Payload { given, most } => {
                write!(f, "payload: {given} bytes; at most {most} are possible with AF_XDP and this framing")
            }
            Self::Interface(error) => error.fmt(f),
            Self::Queue { interface, queue, queues } => write!(
                f,
                "queue: {queue}; {interface} has no such queue in use, and can have {queues} in all (`ethtool -l \
                 {interface}` tells)"
            ),
            Self::Queues { interface, most } => write!(
                f,
                "queue: all of {interface}, which are more than {most}; use fewer (`ethtool -L {interface} combined 1`) \
                 or name one"
            ),
            Self::Busy { interface, what, source } => write!(f, "{interface}: {what}: {source}"),
            Self::Mode { interface, wanted, source } => {
                write!(f, "mode: {wanted}; {interface} does not work so: {source}")
            }
            Self::Permission { step, needs, source } => {
                write!(f, "{step} failed: {source}; it needs {needs}")
            }
            Self::Unsupported { step, source } => {
                write!(f, "{step} failed: {source}; it needs {KERNEL}")
            }
            Self::System { interface, step, source, detail } => {
                write!(f, "cannot open AF_XDP on {interface}: {step} failed: {source}{detail}")
            }
        }
    }
}

impl std::error::Error for XdpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encap(error) => Some(error),
            Self::Interface(error) => Some(error),
            Self::Busy { source, .. }
            | Self::Mode { source, .. }
            | Self::Permission { source, .. }
            | Self::Unsupported { source, .. }
            | Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kernels without it say, which the one that tests has.
    #[test]
    fn a_kernel_that_lacks_something_is_told_from_other_failures() {
        let bpf = |source: Errno, log: &str| {
            let error = BpfError { step: "loading", source: source.into(), log: log.into() };
            XdpError::of_bpf("eth7", error).to_string()
        };
        let queue =
            |source| XdpError::of_queue("eth7", 3, 4, QueueError { step: "opening", source }).to_string();
        let attach = |source: Errno| XdpError::of_attach("eth7", source.into()).to_string();
        for said in [
            bpf(Errno::NOSYS, ""),
            queue(Errno::AFNOSUPPORT),
            queue(Errno::NOPROTOOPT),
            attach(Errno::INVAL),
            attach(Errno::NOSYS),
        ] {
            assert!(said.ends_with(&format!("; it needs {KERNEL}")), "{said}");
        }
        assert!(bpf(Errno::PERM, "").contains("; it needs CAP_BPF and CAP_NET_ADMIN, or root"));
        // The verifier refuses with the same number, and has a reason.
        assert!(bpf(Errno::ACCESS, "; the verifier said: R2 bad").ends_with("; the verifier said: R2 bad"));
        assert!(queue(Errno::PERM).ends_with("; it needs CAP_NET_RAW, or root"));
        assert!(queue(Errno::NOBUFS).contains("; it needs CAP_IPC_LOCK, or a higher RLIMIT_MEMLOCK"));
        assert!(attach(Errno::PERM).ends_with("; it needs CAP_NET_ADMIN, or root"));
        for said in [bpf(Errno::NOMEM, ""), queue(Errno::NOMEM), attach(Errno::NOMEM)] {
            assert!(said.starts_with("cannot open AF_XDP on eth7: "), "{said}");
        }
    }
}
