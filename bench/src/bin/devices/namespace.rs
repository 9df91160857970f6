//! A network of our own: this program again under `unshare`, and wires in there.
//!
//! Knows the commands. Must not know what is measured.

use std::env;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Set for the program that was started again.
const INSIDE: &str = "POPMAP_BENCH_NETNS";
/// None for processes: the program starts none that lives on, and the first one in such a namespace hears no Ctrl-C.
const NAMESPACES: &[&str] = &["--net", "--mount"];
/// An ordinary user is root in a user namespace around them.
const AS_USER: &[&str] = &["--user", "--map-root-user", "--net", "--mount"];

/// Becomes `unshare` with this program in new namespaces, unless that has happened: then the network is set up. Nothing
/// of it outlives the program, however that ends.
///
/// # Errors
/// Why there is no network of our own.
pub fn enter() -> Result<(), String> {
    if env::var_os(INSIDE).is_some() {
        // Its neighbour discovery is noise; the devices ignore it, and without procfs they will have to.
        let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        return ip("link set lo up");
    }
    let probe = |flags| {
        run(Command::new("unshare").args(flags).args(["--", "ip", "link", "set", "lo", "up"])).map(|()| flags)
    };
    let flags =
        probe(NAMESPACES).or_else(|first| probe(AS_USER).map_err(|last| format!("{first}; {last}")))?;
    let program = env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let mut again = Command::new("unshare");
    again.args(flags).arg("--").arg(program).args(env::args_os().skip(1)).env(INSIDE, "1");
    Err(format!("unshare: {}", again.exec()))
}

/// Two interfaces that are the ends of one wire; gone when this is dropped.
pub struct Veth {
    pub left: String,
    pub right: String,
}

impl Veth {
    /// Makes a wire with one queue, so that frames keep their order.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn new(name: &str) -> Result<Self, String> {
        let wire = Self { left: format!("{name}-l"), right: format!("{name}-r") };
        let Self { left, right } = &wire;
        let one = "numrxqueues 1 numtxqueues 1";
        ip(&format!("link add name {left} {one} type veth peer name {right} {one}"))?;
        for end in [left, right] {
            ip(&format!("link set dev {end} up"))?;
        }
        for end in [left, right] {
            // The kernel sees to that by and by.
            while !says(&format!("-oneline link show dev {end}"))?.contains(" state UP ") {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(wire)
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        // Else it goes with the namespace.
        let _ = ip(&format!("link delete dev {}", self.left));
    }
}

fn ip(words: &str) -> Result<(), String> {
    says(words).map(drop)
}

fn says(words: &str) -> Result<String, String> {
    output(Command::new("ip").args(words.split_whitespace()))
}

fn run(command: &mut Command) -> Result<(), String> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into()),
        Ok(output) => {
            Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{program} is not installed")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
