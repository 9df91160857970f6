//! Network namespaces: a test that runs again inside one, with interfaces of its own.
//!
//! Knows how a test binary is started again, and the commands that make interfaces. Must not know what is tested.
//!
//! A process with several threads, as every test binary is, cannot enter a user namespace. So the test starts its own
//! binary again for itself alone, under util-linux's `unshare`, and passes if that passes:
//!
//! ```no_run
//! # use popmap_tests::netns;
//! #[test]
//! fn an_interface_is_there() {
//!     netns::inside(|| {
//!         netns::veth("left", "right");
//!         // ...
//!     });
//! }
//! ```
//!
//! As root the namespaces (network, mounts, processes) are made as they are; an ordinary user gets a user namespace
//! around them and is root in there. Nothing is left behind, however the test ends: interfaces vanish with the last
//! process in their namespace, processes with the first one in theirs, and that one ends when whoever waits for it is
//! gone, also by `kill -9`.
//!
//! Where the machine forbids namespaces, or has no `unshare` (util-linux) or `ip` (iproute2), the test says so on
//! standard error, past the capture of outputs, and passes; with `POPMAP_REQUIRE_NETNS=1` it fails.
//! `POPMAP_TEST_RUNNER` names a command to start it under, like `valgrind -q --error-exitcode=9`.

use std::any::type_name;
use std::env;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio, exit};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// Set to 1: a test that cannot have a namespace fails.
pub const REQUIRE: &str = "POPMAP_REQUIRE_NETNS";
/// A command, in words, that the binary is started again under: `valgrind -q --error-exitcode=9`.
pub const RUNNER: &str = "POPMAP_TEST_RUNNER";
/// The test that is to run, set for the binary that was started again.
const INSIDE: &str = "POPMAP_NETNS_TEST";
/// How the line begins that says so of a test.
const SKIPPED: &str = "SKIPPED";
/// How a test that ran to its end exits: not zero, as a binary does that found no test of that name.
const DONE: i32 = 42;
/// Longer than any test takes; one that hangs must not hang the gate.
const LIMIT: Duration = Duration::from_secs(300);

/// Namespaces as root makes them.
const NAMESPACES: &[&str] = &["--net", "--mount", "--pid", "--fork", "--kill-child"];
/// The same for an ordinary user.
const AS_USER: &[&str] =
    &["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"];
/// A user namespace alone: the network belongs to another, in which nobody in here has a capability.
const UNPRIVILEGED: &[&str] = &["--user", "--pid", "--fork", "--kill-child"];

/// Runs `test` in a network namespace of its own, with nothing in it but a loopback interface that is up. To be called by
/// the test function itself, whose name it takes from the closure's type.
///
/// # Panics
/// When the test does, or when there is no namespace to be had and [`REQUIRE`] is 1.
pub fn inside<F: FnOnce()>(test: F) {
    static FLAGS: OnceLock<Result<&[&str], String>> = OnceLock::new();
    let probe = |flags| {
        run(Command::new("unshare").args(flags).args(["--", "ip", "link", "set", "lo", "up"])).map(|_| flags)
    };
    let find =
        || probe(NAMESPACES).or_else(|first| probe(AS_USER).map_err(|last| format!("{first}; {last}")));
    let set_up = || {
        ip("link set lo up");
        test();
    };
    again::<F>(set_up, || FLAGS.get_or_init(find).clone());
}

/// Runs `test` where it has no capability in the network's namespace, whoever started it. To be called by the test
/// function itself.
///
/// # Panics
/// As [`inside`].
pub fn without_privilege<F: FnOnce()>(test: F) {
    let probe = || run(Command::new("unshare").args(UNPRIVILEGED).args(["--", "true"]));
    again::<F>(test, || probe().map(|_| UNPRIVILEGED));
}

/// Runs `test` if this is the binary that was started for it, and starts that otherwise.
fn again<F>(test: impl FnOnce(), flags: impl FnOnce() -> Result<&'static [&'static str], String>) {
    let name = test_name::<F>();
    if env::var(INSIDE).is_ok_and(|inside| inside == name) {
        end_with_whoever_waits();
        test();
        exit(DONE);
    }
    let flags = match flags() {
        Ok(flags) => flags,
        Err(why) => return skip(&name, &format!("no namespace for it: {why}")),
    };
    let mut command = Command::new("unshare");
    command.args(flags).arg("--").args(env::var(RUNNER).unwrap_or_default().split_whitespace());
    command.arg(env::current_exe().expect("this binary has a path"));
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(INSIDE, &name);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it could be started a moment ago");
    // Open until the child has ended: its end is how the child learns of ours.
    let _ours = child.stdin.take();
    let output = child.wait_with_output().expect("its outputs are ours to read");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr);
    eprint!("{said}");
    said.lines().filter(|line| line.starts_with(SKIPPED)).for_each(say);
    match output.status.code() {
        Some(DONE) => {}
        Some(0) => panic!("{name}: no test of this name ran inside the namespace"),
        _ => panic!("{name} failed inside the namespace: {}", output.status),
    }
}

/// Returns the path of the test function that `F` is a closure of, as test binaries name it: without the crate.
fn test_name<F>() -> String {
    let path = type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").expect("a path begins with its crate").1.into()
}

/// Ends this process when the other end of its standard input is closed, or it is here for too long.
fn end_with_whoever_waits() {
    thread::spawn(|| {
        let _ = io::stdin().lock().read(&mut [0]);
        exit(1);
    });
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("not over after {LIMIT:?}");
        exit(1);
    });
}

/// Says that a test was skipped, where it is read.
///
/// # Panics
/// When [`REQUIRE`] is 1.
pub fn skip(name: &str, why: &str) {
    let message = format!("{SKIPPED} {name}: {why}");
    let is_required = env::var(REQUIRE).is_ok_and(|value| value == "1");
    assert!(!is_required, "{message}; {REQUIRE}=1 forbids that");
    say(&message);
}

/// Writes a line to standard error, past what a test binary captures.
fn say(line: &str) {
    // The macros write to what is captured.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs a command to its end; returns what it said.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Err(error) => Err(format!("{program}: {error}")),
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into()),
        Ok(output) => {
            Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")))
        }
    }
}

/// Runs `ip` with these words, in the namespace that we are in; returns what it said.
///
/// # Panics
/// When it fails, with what it said.
pub fn ip(words: &str) -> String {
    let said = run(Command::new("ip").args(words.split_whitespace()));
    said.unwrap_or_else(|error| panic!("ip {words}: {error}"))
}

/// Has an interface send so many kilobits a second, from a queue of so many bytes.
///
/// # Errors
/// What `tc` said: this kernel has no token bucket filter (`sch_tbf`).
pub fn throttle(interface: &str, kilobits: u32, queue: usize) -> Result<(), String> {
    let words =
        format!("qdisc replace dev {interface} root tbf rate {kilobits}kbit burst 5000 limit {queue}");
    run(Command::new("tc").args(words.split_whitespace())).map(drop)
}

/// Makes two interfaces that are the ends of one wire, switches them on and waits until both have a carrier.
///
/// # Panics
/// As [`ip`].
pub fn veth(left: &str, right: &str) {
    ip(&format!("link add name {left} type veth peer name {right}"));
    for end in [left, right] {
        ip(&format!("link set dev {end} up"));
    }
    for end in [left, right] {
        // The kernel sees to that by and by.
        while !ip(&format!("-oneline link show dev {end}")).contains(" state UP ") {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Makes a bridge with so many ports, and switches all on; returns the names of the interfaces at the other ends of its
/// ports' wires.
///
/// # Panics
/// As [`ip`].
pub fn bridge(name: &str, ports: usize) -> Vec<String> {
    ip(&format!("link add name {name} type bridge"));
    ip(&format!("link set dev {name} up"));
    let wire = |port| {
        let (end, inner) = (format!("{name}-{port}"), format!("{name}-p{port}"));
        veth(&end, &inner);
        ip(&format!("link set dev {inner} master {name}"));
        end
    };
    (0..ports).map(wire).collect()
}
