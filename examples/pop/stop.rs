//! Why a story ends early.
//!
//! Must not know what the story is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use popmap_core::{ConfigError, Slot};
use popmap_io::{BindError, StartError};

use crate::fleet;
use crate::origins::FileError;

/// Why the story ended early.
#[derive(Debug)]
pub enum Stop {
    /// Ctrl-C, or a request to terminate.
    Interrupted,
    /// Stdout is gone.
    Output(io::Error),
    /// The system does not let us listen for Ctrl-C.
    Signal(io::Error),
    /// The file of origins is no good.
    Origins(FileError),
    /// The key file is no good, or there are no keys to be had.
    Keys(String),
    /// The capture file cannot be written.
    Capture(PathBuf, io::Error),
    /// The origins' servers cannot be started.
    Fleet(fleet::StartError),
    /// A server's socket cannot be opened.
    Bind(BindError),
    /// A server cannot be started.
    Start(StartError),
    /// A node in virtual time cannot be built.
    Config(ConfigError),
    /// The system has no thread, or no means to wait for sockets, for one more server.
    Thread(io::Error),
    /// A server's device failed.
    Device(io::Error),
    /// Something that this choice takes is not there.
    Missing(String),
    /// The network of the servers does not obey.
    Network(String),
    /// A server's device cannot be opened.
    Open(String),
    /// The program inside the namespaces was ended by somebody else.
    Ended(ExitStatus),
    /// A process cannot be had.
    Process(io::Error),
    /// A server's process fails.
    Server(Slot, String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Output(error) => write!(f, "cannot write to stdout: {error}"),
            Self::Signal(error) => write!(f, "cannot listen for Ctrl-C: {error}"),
            Self::Origins(error) => error.fmt(f),
            Self::Capture(path, error) => write!(f, "--pcap {}: {error}", path.display()),
            Self::Fleet(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Start(error) => write!(f, "cannot start a server: {error}"),
            Self::Config(error) => write!(f, "cannot build a node: {error}"),
            Self::Thread(error) => {
                write!(f, "cannot start one more server: {error}; `ulimit -n -u` shows the limits")
            }
            Self::Device(error) => write!(f, "a server's device failed: {error}"),
            Self::Missing(what) | Self::Open(what) | Self::Keys(what) => f.write_str(what),
            Self::Network(what) => write!(f, "cannot make the servers' network: {what}"),
            Self::Ended(status) => write!(f, "the run was ended from outside: {status}"),
            Self::Process(error) => write!(f, "cannot start a process: {error}"),
            Self::Server(slot, why) => write!(f, "the server in {slot}: {why}"),
        }
    }
}

impl std::error::Error for Stop {}
