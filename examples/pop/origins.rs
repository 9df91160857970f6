//! The origins: which there are, made up or read from a file.
//!
//! Knows names, addresses, paths and how a file says them. Must not know who checks an origin, nor how it fares.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use popmap_core::Key;

/// Origins at most.
pub const ORIGINS_MAX: usize = 1_000_000;
/// Bytes of a line of the file at most, without what ends it.
const LINE_MAX: usize = 4_096;
/// Bytes of a file at most: it need not be a regular file, and must come to an end.
const FILE_MAX: u64 = (ORIGINS_MAX * (LINE_MAX + 2)) as u64;
/// Bad lines that are shown; the others are counted.
const SHOWN_MAX: usize = 20;
/// Bytes of a host name at most.
const NAME_MAX: usize = 253;
/// The port of an origin that is somebody else's, unless the file says another.
const HTTP_PORT: u16 = 80;
const PATH: &str = "/health";

/// An origin's place among all.
pub type OriginId = u32;

/// Where an origin is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// At the example's own fleet, whose port is known only when it is bound.
    Fleet(Ipv4Addr),
    /// At somebody else's server.
    Other(SocketAddr),
}

impl Target {
    /// Returns where to connect to, if the fleet has this port.
    pub fn address(&self, fleet_port: u16) -> SocketAddr {
        match *self {
            Self::Fleet(ip) => (ip, fleet_port).into(),
            Self::Other(address) => address,
        }
    }
}

/// An origin, and how to ask for its health.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The host name, as it is sent to the origin.
    pub name: Box<str>,
    /// Where it is.
    pub target: Target,
    /// What is asked for.
    pub path: Box<str>,
    /// The key of its record.
    pub key: Key,
}

impl Origin {
    fn new(name: &str, target: Target, path: &str) -> Self {
        Self { name: name.into(), target, path: path.into(), key: Key::from_name(name.as_bytes()) }
    }
}

/// Returns `n` origins of the fleet, each with an address of its own in 127.64.0.0/10.
///
/// # Panics
/// When `n` is above [`ORIGINS_MAX`].
pub fn generated(n: usize) -> Vec<Origin> {
    assert!(n <= ORIGINS_MAX, "{n} origins");
    // No address ends in 0 or 255, which look like a network's own.
    const HOSTS: u32 = 254;
    let address = |id: u32| {
        let [_, high, middle, low] = (id / HOSTS).to_be_bytes();
        debug_assert!(high == 0 && middle < 64);
        Ipv4Addr::new(127, 64 + middle, low, 1 + (id % HOSTS) as u8)
    };
    let origin = |id| Origin::new(&format!("origin-{id:06}.example.net"), Target::Fleet(address(id)), PATH);
    (0..n as u32).map(origin).collect()
}

/// Reads origins from a file: one a line, `name,address` or `name,address,path`.
///
/// Blank lines and lines that start with `#` say nothing, and neither does a first line of column names. Without a
/// port, an address in 127.0.0.0/8 is the fleet's, any other has port 80. Without a path, `/health` is asked for.
///
/// # Errors
/// When the file cannot be read, says no origin, or has lines that are wrong: all of them are told.
pub fn read(path: &Path) -> Result<Vec<Origin>, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.into(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut list = List::default();
    let read = list.read(BufReader::new(file).take(FILE_MAX));
    if read.map_err(unreadable)? == Extent::TooLong {
        return Err(FileError::TooLong { path: path.into() });
    }
    if list.bad > 0 {
        return Err(FileError::Lines { path: path.into(), first: list.errors, all: list.bad });
    }
    if list.origins.is_empty() {
        return Err(FileError::Empty { path: path.into() });
    }
    Ok(list.origins)
}

/// Whether a file came to an end.
#[derive(PartialEq, Eq)]
enum Extent {
    Whole,
    TooLong,
}

/// What was read so far.
#[derive(Default)]
struct List {
    origins: Vec<Origin>,
    /// The lines of names, and of addresses of the fleet. By a key of 128 bits, names are as good as told apart.
    names: HashMap<Key, u64>,
    addresses: HashMap<Ipv4Addr, u64>,
    errors: Vec<LineError>,
    bad: u64,
    /// Whether the first line that says something is behind us.
    begun: bool,
}

impl List {
    fn read(&mut self, mut file: io::Take<impl BufRead>) -> io::Result<Extent> {
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            // One more than may be, and what ends it.
            if (&mut file).take(LINE_MAX as u64 + 2).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let is_whole = bytes.ends_with(b"\n");
            let said = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let said = said.strip_suffix(b"\r").unwrap_or(said);
            let said = if line == 1 { said.strip_prefix(b"\xef\xbb\xbf").unwrap_or(said) } else { said };
            if let Err(error) = self.line(line, said) {
                let full = error.problem == Problem::TooMany;
                self.bad += 1;
                if self.errors.len() < SHOWN_MAX {
                    self.errors.push(error);
                }
                if full {
                    return Ok(Extent::Whole);
                }
            }
            if !is_whole {
                file.skip_until(b'\n')?;
            }
        }
        Ok(if file.limit() == 0 { Extent::TooLong } else { Extent::Whole })
    }

    /// Takes in a line.
    fn line(&mut self, line: u64, bytes: &[u8]) -> Result<(), LineError> {
        let bad = |problem, value| Err(LineError { line, problem, value: shown(value) });
        if bytes.len() > LINE_MAX {
            return bad(Problem::TooLong, bytes);
        }
        let Ok(said) = str::from_utf8(bytes) else {
            return bad(Problem::NotUtf8, bytes);
        };
        let said = said.trim_ascii();
        if said.is_empty() || said.starts_with('#') {
            return Ok(());
        }
        if said.contains('"') {
            return bad(Problem::Quoted, bytes);
        }
        let fields: Vec<&str> = said.split(',').map(str::trim_ascii).collect();
        let is_first = !mem::replace(&mut self.begun, true);
        if is_first && matches!(fields[..], ["name", "address"] | ["name", "address", "path"]) {
            return Ok(());
        }
        let (name, address, path) = match fields[..] {
            [name, address] | [name, address, ""] => (name, address, PATH),
            [name, address, path] => (name, address, path),
            _ => return bad(Problem::Fields, bytes),
        };
        if self.origins.len() == ORIGINS_MAX {
            return bad(Problem::TooMany, bytes);
        }
        if let Err(problem) = self.name(line, name) {
            return bad(problem, name.as_bytes());
        }
        let target = match self.target(line, address) {
            Ok(target) => target,
            Err(problem) => return bad(problem, address.as_bytes()),
        };
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return bad(Problem::Path, path.as_bytes());
        }
        self.origins.push(Origin::new(name, target, path));
        Ok(())
    }

    fn name(&mut self, line: u64, name: &str) -> Result<(), Problem> {
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_host) {
            return Err(Problem::Name);
        }
        // A host is the same one in capitals.
        let same = Key::from_name(name.to_ascii_lowercase().as_bytes());
        let first = *self.names.entry(same).or_insert(line);
        if first == line { Ok(()) } else { Err(Problem::SameName { first }) }
    }

    fn target(&mut self, line: u64, address: &str) -> Result<Target, Problem> {
        let (ip, socket) = match (address.parse::<IpAddr>(), address.parse::<SocketAddr>()) {
            (Ok(ip), _) => (ip, None),
            (_, Ok(socket)) if socket.port() == 0 => return Err(Problem::Port),
            (_, Ok(socket)) => (socket.ip(), Some(socket)),
            _ => return Err(Problem::Address),
        };
        let ip = ip.to_canonical();
        let is_broadcast = ip == Ipv4Addr::BROADCAST || ip == Ipv4Addr::new(127, 255, 255, 255);
        if ip.is_unspecified() || ip.is_multicast() || is_broadcast {
            return Err(Problem::NoHost);
        }
        match (ip, socket) {
            (_, Some(socket)) => Ok(Target::Other(socket)),
            (IpAddr::V4(ip), None) if ip.is_loopback() => {
                let first = *self.addresses.entry(ip).or_insert(line);
                if first == line { Ok(Target::Fleet(ip)) } else { Err(Problem::SameAddress { first }) }
            }
            (ip, None) => Ok(Target::Other(SocketAddr::new(ip, HTTP_PORT))),
        }
    }
}

/// Returns what a file says as an error shows it: escaped, and not too long.
fn shown(value: &[u8]) -> Box<str> {
    const SHOWN: usize = 48;
    match str::from_utf8(value).map(|value| (value, value.char_indices().nth(SHOWN))) {
        Ok((value, None)) => value.escape_debug().to_string(),
        Ok((value, Some((end, _)))) => format!("{}...", value[..end].escape_debug()),
        Err(_) if value.len() <= SHOWN => value.escape_ascii().to_string(),
        Err(_) => format!("{}...", value[..SHOWN].escape_ascii()),
    }
    .into()
}

/// Why a file gave no origins.
#[derive(Debug)]
pub enum FileError {
    /// It could not be opened or read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It does not seem to end.
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// No line says an origin.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Some lines are wrong.
    Lines {
        /// The file.
        path: PathBuf,
        /// The first of them, at most 20.
        first: Vec<LineError>,
        /// How many there are.
        all: u64,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "{}: cannot be read: {source}", path.display()),
            Self::TooLong { path } => {
                write!(f, "{}: longer than {FILE_MAX} bytes, which no list of origins is", path.display())
            }
            Self::Empty { path } => {
                write!(f, "{}: no origins; accepted is a line for each, {LINE}", path.display())
            }
            Self::Lines { path, first, all } => {
                write!(f, "{}: {all} bad line{}", path.display(), if *all == 1 { "" } else { "s" })?;
                first.iter().try_for_each(|error| write!(f, "\n  {error}"))?;
                let more = all - first.len() as u64;
                if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::TooLong { .. } | Self::Empty { .. } | Self::Lines { .. } => None,
        }
    }
}

/// What a line looks like.
const LINE: &str = "name,address or name,address,path";

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: Problem,
    /// What the file says, escaped and shortened.
    pub value: Box<str>,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, problem, value } = self;
        write!(f, "line {line}: {} \"{value}\": {problem}", problem.field())
    }
}

impl std::error::Error for LineError {}

/// What can be wrong with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The line is too long.
    TooLong,
    /// The line is not UTF-8.
    NotUtf8,
    /// The line has quotes.
    Quoted,
    /// The line has too few fields, or too many.
    Fields,
    /// There are as many origins as there may be already; no later line was looked at.
    TooMany,
    /// The name is no host name.
    Name,
    /// Another line has the name.
    SameName {
        /// That line.
        first: u64,
    },
    /// The address is none.
    Address,
    /// The address has port 0.
    Port,
    /// The address is not that of one host.
    NoHost,
    /// Another line has the address, and it is the fleet's, which tells its origins apart by nothing else.
    SameAddress {
        /// That line.
        first: u64,
    },
    /// The path cannot be asked for.
    Path,
}

impl Problem {
    /// Returns what of the line is wrong.
    pub fn field(self) -> &'static str {
        match self {
            Self::TooLong | Self::NotUtf8 | Self::Quoted | Self::Fields | Self::TooMany => "text",
            Self::Name | Self::SameName { .. } => "name",
            Self::Address | Self::Port | Self::NoHost | Self::SameAddress { .. } => "address",
            Self::Path => "path",
        }
    }
}

/// Says what is accepted instead.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "accepted are lines of at most {LINE_MAX} bytes"),
            Self::NotUtf8 => f.write_str("accepted is UTF-8"),
            Self::Quoted => write!(f, "quoted fields are not supported; accepted is {LINE}"),
            Self::Fields => write!(f, "accepted is {LINE}"),
            Self::TooMany => write!(f, "accepted are at most {ORIGINS_MAX} origins"),
            Self::Name => write!(f, "accepted are 1 to {NAME_MAX} of A-Z, a-z, 0-9, '.', '-' and '_'"),
            Self::SameName { first } => write!(f, "also on line {first}; accepted is each name once"),
            Self::Address => f.write_str(
                "accepted is an IP address such as 192.0.2.7 or 192.0.2.7:8080; names are not resolved",
            ),
            Self::Port => f.write_str("accepted is a port from 1 to 65535"),
            Self::NoHost => f.write_str(
                "accepted is the address of one host, not an unspecified, multicast or broadcast one",
            ),
            Self::SameAddress { first } => {
                write!(f, "also on line {first}; accepted is each address of the built-in fleet once")
            }
            Self::Path => f.write_str("accepted is '/' and printable ASCII after it, without spaces"),
        }
    }
}

#[cfg(test)]
mod tests;
