//! The other process: this program again, for the part that the other end of a test plays.
//!
//! Knows command lines and environments. Must not know what is tested. What starts a test's own process is
//! [`popmap_tests::netns`].

use std::env;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio, exit};

/// Names the part that this process plays.
const PART: &str = "POPMAP_DPDK_PEER";

/// Whether this process plays a part.
pub fn is_for(part: &str) -> bool {
    env::var(PART).is_ok_and(|wanted| wanted == part)
}

/// Waits until whoever started this process as [`Killed`] is gone, and ends it.
pub fn end_with_parent() -> ! {
    let _ = io::stdin().read(&mut [0]);
    exit(0)
}

/// A process that is killed at the end of this value.
pub struct Killed(Child);

impl Killed {
    /// Starts the test `part` in a process of its own, with these variables.
    pub fn spawn(part: &str, variables: &[(&str, &str)]) -> Self {
        let mut again = Command::new(env::current_exe().expect("this program has a path"));
        again.args(["--exact", part, "--nocapture", "--test-threads=1"]).env(PART, part);
        again.envs(variables.iter().copied()).stdin(Stdio::piped());
        Self(again.spawn().expect("this program runs again"))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
