//! Servers with equal views must name the same owners.
//!
//! Knows views: who is live, and with which weight. Must not know how a view came about.

use popmap_core::{Key, Node, Slot, SlotSet};

use super::violation::{Rule, Violation};

/// Keys that are asked about.
const ASKED: usize = 64;
/// Owners that are asked for of each.
const OWNERS: usize = 3;

/// What a server thinks of the PoP.
type View = (SlotSet, Vec<u16>);

fn view<const N: usize>(node: &Node<'_, N>) -> View {
    let live = node.map().live();
    let weight = |slot| node.member(slot).map_or(0, |member| member.meta.weight());
    (live, live.iter().map(weight).collect())
}

/// Compares the owners that servers name.
///
/// # Errors
/// A key of which two servers with equal views name different owners, or one names an owner that it holds dead.
pub fn check<'m, 'a: 'm, const N: usize>(
    nodes: impl Iterator<Item = (usize, &'m Node<'a, N>)>,
    keys: &[Key],
) -> Result<(), Violation> {
    let mut seen: Vec<(usize, View, Vec<Slot>)> = Vec::new();
    for (server, node) in nodes {
        let view = view(node);
        let mut named = Vec::new();
        for key in keys.iter().step_by(keys.len().div_ceil(ASKED).max(1)) {
            let mut owners = [Slot::at(0); OWNERS];
            let count = node.owners(*key, &mut owners);
            if count == 0 || owners[0] != node.owner(*key) || !view.0.contains(owners[0]) {
                let text =
                    format!("server {server} names {:?} for {key:?} among {:?}", &owners[..count], view.0);
                return Err(Violation::at(Rule::Owner, server, text));
            }
            named.extend_from_slice(&owners[..count]);
        }
        match seen.iter().find(|(_, other, _)| *other == view) {
            Some((other, _, theirs)) => differ(server, &named, *other, theirs)?,
            None => seen.push((server, view, named)),
        }
    }
    Ok(())
}

fn differ(server: usize, named: &[Slot], other: usize, theirs: &[Slot]) -> Result<(), Violation> {
    if named == theirs {
        return Ok(());
    }
    let text = format!("servers {server} and {other} have equal views and name different owners");
    Err(Violation::at(Rule::Owner, server, text))
}
