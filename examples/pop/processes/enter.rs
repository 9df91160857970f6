//! The way in: this program again, inside namespaces that it is alone in.
//!
//! Knows what makes namespaces and what ends them. Must not know what is done inside.
//!
//! Everything that a run makes (interfaces, namespaces, processes, files of `/run`) is in there, and the kernel takes it
//! all away when the first process in there ends. That one ends when this one does, however it does: it reads the end
//! of a pipe whose other end we hold, and `unshare` kills it when it is killed itself.

use std::env;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::io::Io;
use crate::stop::Stop;
use crate::view::View;

/// Set for the program inside.
const INSIDE: &str = "POPMAP_POP_INSIDE";
/// Namespaces as root makes them.
const NAMESPACES: &[&str] = &["--net", "--mount", "--pid", "--fork", "--kill-child"];
/// The same for an ordinary user.
const AS_USER: &[&str] =
    &["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"];
/// How long the program inside may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Whether this is the program inside: the first process of a namespace, and told so.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some() && rustix::process::getpid().is_init()
}

/// Runs this program again, with the same arguments, inside; returns how it ended. With `interrupted` it ends soon.
///
/// # Errors
/// What it takes and is not there.
pub fn run(args: &Args, interrupted: &AtomicBool) -> Result<ExitCode, Stop> {
    let program = env::current_exe().map_err(Stop::Process)?;
    let flags = flags(args.io, &program)?;
    check_paths(args, &program)?;
    let mut child = Command::new("unshare")
        .args(flags)
        .arg("--")
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(Stop::Process)?;
    let mut ours = child.stdin.take();
    let mut asked = None;
    loop {
        if let Some(status) = child.try_wait().map_err(Stop::Process)? {
            let Some(code) = status.code() else {
                View::show_cursor();
                return Err(Stop::Ended(status));
            };
            return Ok(ExitCode::from(code as u8));
        }
        if asked.is_none() && interrupted.load(Ordering::Relaxed) {
            drop(ours.take());
            asked = Some(Instant::now());
        }
        if asked.is_some_and(|asked| asked.elapsed() > GRACE) {
            let _ = child.kill();
        }
        thread::sleep(LOOK);
    }
}

/// Interrupts the program inside when the one outside is gone or asks for it.
pub fn end_with_outside(interrupted: &Arc<AtomicBool>) {
    let interrupted = Arc::clone(interrupted);
    thread::spawn(move || {
        let _ = io::stdin().lock().read(&mut [0]);
        interrupted.store(true, Ordering::Relaxed);
        thread::sleep(GRACE);
        std::process::exit(1);
    });
}

/// Returns what `unshare` has to be told.
fn flags(io: Io, program: &Path) -> Result<&'static [&'static str], Stop> {
    available("ip", &["-Version"], "iproute2")?;
    available("mount", &["--version"], "mount")?;
    available("unshare", &["--version"], "util-linux")?;
    let is_root = rustix::process::geteuid().is_root();
    if io.needs_root() && !is_root {
        return Err(Stop::Missing(format!(
            "--io {}: AF_XDP needs root: the kernel lets nobody else load its program. Run {} with sudo; as an ordinary \
             user, --io raw works",
            io.name(),
            program.display()
        )));
    }
    let mut said = Vec::new();
    let as_root = is_root.then_some(NAMESPACES);
    let as_user = (!io.needs_root()).then_some(AS_USER);
    for flags in as_root.into_iter().chain(as_user) {
        let probe =
            Command::new("unshare").args(flags).args(["--", "true"]).output().map_err(Stop::Process)?;
        if probe.status.success() {
            return Ok(flags);
        }
        said.push(String::from_utf8_lossy(&probe.stderr).trim().to_owned());
    }
    Err(Stop::Missing(format!(
        "--io {}: no namespaces to be had: {}. It takes root with CAP_SYS_ADMIN, or user namespaces where they do (sysctl \
         user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
        io.name(),
        said.join("; ")
    )))
}

/// Inside, `/run` is another; and a capture should not fail when the story is under way.
fn check_paths(args: &Args, program: &Path) -> Result<(), Stop> {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => folder.canonicalize(),
        _ => env::current_dir(),
    };
    if let Some(pcap) = &args.pcap {
        folder(pcap).map_err(|error| Stop::Capture(pcap.clone(), error))?;
    }
    for path in [Some(program), args.origins.as_deref(), args.key.as_deref(), args.pcap.as_deref()]
        .into_iter()
        .flatten()
    {
        if folder(path).is_ok_and(|folder| folder.starts_with("/run")) {
            return Err(Stop::Missing(format!(
                "{}: with --io {} each run has a /run of its own, and this is not in it; use another folder",
                path.display(),
                args.io.name()
            )));
        }
    }
    Ok(())
}

fn available(program: &str, words: &[&str], package: &str) -> Result<(), Stop> {
    match Command::new(program).args(words).output() {
        Ok(_) => Ok(()),
        Err(error) => Err(Stop::Missing(format!("{program} does not run: {error} (package {package})"))),
    }
}
