//! What can be violated, and how a violation is told.
//!
//! Knows names and words. Must not know how anything is found out.

use std::fmt;

/// A property that the simulator checks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// R6: a replica's state at every key is at least every write that its version covers.
    Invariant,
    /// A replica's state at a key fell within a life.
    StateFell,
    /// A key came back with less than a tombstone that was collected.
    Resurrection,
    /// Two writes under one dot, or a record that nobody wrote.
    Dots,
    /// A version fell within a life.
    Version,
    /// HELD does not cover the version and every dot in the table.
    Held,
    /// A generation fell, or a life became another without a restart.
    Generation,
    /// A server began to write before rule R4.2 allows it.
    Start,
    /// A server whose life is over, fenced or forgotten, wrote, sent data, or went on.
    Over,
    /// More data than the budget allows left a server.
    Budget,
    /// A server told another over and over that it has nothing for it.
    EmptyAnswers,
    /// Something was mended, or reported, without a known cause.
    Mend,
    /// Servers with equal views name different owners.
    Owner,
    /// The table is not what its change log says.
    Table,
    /// After the faults the servers did not become equal in time, or not at rest.
    Convergence,
    /// The code under test panicked.
    Panic,
}

/// A rule that does not hold, and where.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub text: String,
    /// The key concerned, by number.
    pub key: Option<u32>,
    /// The server concerned.
    pub server: Option<usize>,
}

impl Violation {
    /// Returns a violation at a server.
    pub fn at(rule: Rule, server: usize, text: impl Into<String>) -> Self {
        Self { rule, text: text.into(), key: None, server: Some(server) }
    }

    /// Returns a violation of the whole PoP.
    pub fn of(rule: Rule, text: impl Into<String>) -> Self {
        Self { rule, text: text.into(), key: None, server: None }
    }

    /// Names the key concerned.
    #[must_use]
    pub fn key(self, key: u32) -> Self {
        Self { key: Some(key), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}
