//! bpf(2): a map of sockets, a program, and its place at an interface.
//!
//! Knows the system call and its arguments. Must not know what a program does.
//!
//! The system call has no wrapper in the crates used here, and no library is needed for it. Everything made is a file
//! descriptor: with the process they all go, and with the link the program goes from its interface, so nothing is left
//! behind, however the process ends.

#![allow(unsafe_code, reason = "bpf(2) takes addresses; one call, wrapped here")]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use zerocopy::{Immutable, IntoBytes};

use super::assembler::Instruction;

/// Commands.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
#[cfg(test)]
const PROG_TEST_RUN: libc::c_long = 10;
const LINK_CREATE: libc::c_long = 28;

const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
/// `BPF_F_XDP_HAS_FRAGS`: the program does with the first part of a frame that is in several (Linux 5.18).
const HAS_FRAGS: u32 = 1 << 5;
/// For the kernel's lists of what is loaded.
const NAME: [u8; 16] = *b"popmap\0\0\0\0\0\0\0\0\0\0";
/// Bytes of the verifier's words; the last of them name the fault.
const LOG: usize = 64 << 10;
const LOG_SHOWN: usize = 400;

/// Where at an interface a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Place {
    /// In the kernel, behind the driver, for any interface: `XDP_FLAGS_SKB_MODE`.
    Generic = 1 << 1,
    /// In the driver, before anything else: `XDP_FLAGS_DRV_MODE`.
    Driver = 1 << 2,
}

/// A step that failed, and what the verifier said if it was asked.
#[derive(Debug)]
pub(super) struct BpfError {
    pub(super) step: &'static str,
    pub(super) source: io::Error,
    pub(super) log: String,
}

impl BpfError {
    /// Whether a capability is missing. The verifier, too, says "permission denied".
    pub(super) fn is_permission(&self) -> bool {
        matches!(Errno::from_io_error(&self.source), Some(Errno::PERM | Errno::ACCESS)) && self.log.is_empty()
    }
}

impl fmt::Display for BpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.step, self.source, self.log)
    }
}

/// Returns a map with room for the sockets of `queues` queues.
pub(super) fn socket_map(queues: u32) -> Result<OwnedFd, BpfError> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct MapCreate {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        name: [u8; 16],
    }
    let arguments = MapCreate {
        map_type: MAP_TYPE_XSKMAP,
        key_size: 4,
        value_size: 4,
        max_entries: queues,
        map_flags: 0,
        inner_map_fd: 0,
        numa_node: 0,
        name: NAME,
    };
    // SAFETY: this command reads its arguments, which hold no addresses.
    let made = unsafe { call(MAP_CREATE, &arguments) };
    // SAFETY: this command returns a new descriptor.
    made.map(|made| unsafe { own(made) }).map_err(failed("making the socket map"))
}

/// Has the map lead frames of `queue` to `socket`. When the socket goes, it goes from the map.
pub(super) fn enter(map: &OwnedFd, queue: u32, socket: impl AsFd) -> Result<(), BpfError> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct MapUpdate {
        map: u32,
        unused: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let socket = socket.as_fd().as_raw_fd().cast_unsigned();
    let arguments = MapUpdate {
        map: descriptor(map).cast_unsigned(),
        unused: 0,
        key: address(std::slice::from_ref(&queue)),
        value: address(std::slice::from_ref(&socket)),
        flags: 0,
    };
    // SAFETY: this command reads a key and a value, of four bytes each in our maps, at addresses of locals that live
    // past the call.
    let entered = unsafe { call(MAP_UPDATE_ELEM, &arguments) };
    entered.map(drop).map_err(failed("entering the socket in the map"))
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kern_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Loads a program, which keeps the maps that it uses.
///
/// It looks at headers and no further, so nobody need copy a long frame into one piece for it: that would cost the rest of
/// the host its large segments, and keep drivers from large MTUs.
pub(super) fn load(program: &[Instruction]) -> Result<OwnedFd, BpfError> {
    load_with(program, HAS_FRAGS).or_else(|_| load_with(program, 0))
}

fn load_with(program: &[Instruction], flags: u32) -> Result<OwnedFd, BpfError> {
    // Only functions for programs of the GPL would mind.
    const LICENSE: &[u8] = b"MIT OR Apache-2.0\0";
    let arguments = ProgLoad {
        prog_type: PROG_TYPE_XDP,
        instructions: u32::try_from(program.len()).unwrap_or(u32::MAX),
        program: address(program),
        license: address(LICENSE),
        log_level: 0,
        log_size: 0,
        log: 0,
        kern_version: 0,
        flags,
        name: NAME,
    };
    // SAFETY: this command reads as many instructions as said and a string up to its zero, from slices that outlive it.
    match unsafe { call(PROG_LOAD, &arguments) } {
        // SAFETY: this command returns a new descriptor.
        Ok(made) => Ok(unsafe { own(made) }),
        Err(source) => {
            Err(BpfError { step: "loading the redirect program", source, log: verdict(arguments) })
        }
    }
}

/// Loads a refused program once more, and returns why the verifier refused it; nothing when it was somebody else.
fn verdict(arguments: ProgLoad) -> String {
    let mut log = vec![0u8; LOG];
    let arguments = ProgLoad {
        log_level: 1,
        log_size: LOG as u32,
        log: log.as_mut_ptr().expose_provenance() as u64,
        ..arguments
    };
    // SAFETY: as before, and it writes at most as many bytes as said to `log`, which nothing else refers to.
    if let Ok(made) = unsafe { call(PROG_LOAD, &arguments) } {
        // SAFETY: this command returns a new descriptor.
        drop(unsafe { own(made) });
    }
    let said = String::from_utf8_lossy(&log);
    let said = said.trim_end_matches(['\0', '\n']);
    let start = said.len().saturating_sub(LOG_SHOWN);
    let start = (start..said.len()).find(|&start| said.is_char_boundary(start)).unwrap_or(start);
    if said.is_empty() { String::new() } else { format!("; the verifier said: …{}", &said[start..]) }
}

/// Puts a program at an interface. It stays as long as the descriptor, and takes no other's place.
pub(super) fn attach(program: &OwnedFd, interface: u32, place: Place) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct LinkCreate {
        program: u32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    let arguments = LinkCreate {
        program: descriptor(program).cast_unsigned(),
        interface,
        attach_type: ATTACH_TYPE_XDP,
        flags: place as u32,
    };
    // SAFETY: this command reads its arguments, which hold no addresses.
    let made = unsafe { call(LINK_CREATE, &arguments) };
    // SAFETY: this command returns a new descriptor.
    made.map(|made| unsafe { own(made) })
}

/// Returns what a program says of a frame, without an interface.
#[cfg(test)]
pub(super) fn test_run(program: &OwnedFd, frame: &[u8]) -> io::Result<u32> {
    use zerocopy::FromBytes;

    #[derive(IntoBytes, FromBytes, Immutable)]
    #[repr(C)]
    struct TestRun {
        program: u32,
        said: u32,
        frame_len: u32,
        output_len: u32,
        frame: u64,
        output: u64,
        repeat: u32,
        duration: u32,
    }
    let mut arguments = TestRun {
        program: descriptor(program).cast_unsigned(),
        said: 0,
        frame_len: frame.len() as u32,
        output_len: 0,
        frame: address(frame),
        output: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: this command reads the frame, and writes its results over its arguments, which are ours alone.
    unsafe { call_mut(PROG_TEST_RUN, &mut arguments) }?;
    Ok(arguments.said)
}

/// Returns a descriptor's number, as programs and arguments have it.
pub(super) fn descriptor(of: &OwnedFd) -> RawFd {
    of.as_raw_fd()
}

/// Returns an address as the system call takes it: exposed, because it comes back to life on the other side.
fn address<T>(of: &[T]) -> u64 {
    of.as_ptr().expose_provenance() as u64
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> BpfError {
    move |source| BpfError { step, source, log: String::new() }
}

/// Makes the system call; returns its result, which most often is a descriptor.
///
/// # Safety
/// What the command reads or writes at addresses in the arguments must be good for that until the call returns. The
/// command must not write to the arguments themselves.
unsafe fn call<T: IntoBytes + Immutable>(command: libc::c_long, arguments: &T) -> io::Result<RawFd> {
    let bytes = arguments.as_bytes();
    // SAFETY: the kernel reads as many bytes as said, all of them initialised; for the rest our caller answers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, bytes.as_ptr(), bytes.len()) };
    returned(result)
}

/// The same for a command that answers in its arguments.
///
/// # Safety
/// As above, but for the last sentence.
#[cfg(test)]
unsafe fn call_mut<T: IntoBytes + zerocopy::FromBytes>(
    command: libc::c_long,
    arguments: &mut T,
) -> io::Result<RawFd> {
    let bytes = arguments.as_mut_bytes();
    // SAFETY: the kernel reads and writes at most as many bytes as said; for the rest our caller answers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, bytes.as_mut_ptr(), bytes.len()) };
    returned(result)
}

fn returned(result: libc::c_long) -> io::Result<RawFd> {
    match RawFd::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// The descriptor is new: nobody else closes it.
unsafe fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: our caller answers for that.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
