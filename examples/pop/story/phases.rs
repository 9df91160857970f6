//! The phases: what happens, and what is measured in each.
//!
//! Must not know how a server works, nor how time passes.

use std::time::Duration;

use popmap_core::ownership::owner;
use popmap_core::time::Instant;
use popmap_core::{Slot, SlotSet};

use super::{IDLE, LOSSY_PPM, PARTITION, PATIENCE, REST, Story, UNPLUGGED};
use crate::measure::Times;
use crate::origins::OriginId;
use crate::pop::{Pop, Remains, Unplugged};
use crate::report::Quantiles;
use crate::schedule::Checks;
use crate::server::Status;
use crate::stop::Stop;
use crate::view::{count, grouped, millis};
use crate::world::Death;

impl<P: Pop> Story<'_, '_, '_, P> {
    pub(super) fn join(&mut self) -> Result<(), Stop> {
        let servers = self.pop.all().len();
        self.phase(
            "join",
            "All servers start at the same moment, empty. Each knows a few addresses, or asks everybody on its wire, and \
             finds the others by gossip. None may write before it has met every other one, so that no new life overwrites \
             what an earlier one left behind.",
        )?;
        let took = self.wait(PATIENCE, P::is_agreed)?;
        self.report.live.join_ns = self.converges("not every server started and saw all others", took);
        if let Some(took) = self.report.live.join_ns {
            self.stage
                .say(format_args!("all {servers} may write and know each other after {}", millis(took)))?;
        }
        Ok(())
    }

    pub(super) fn first_coverage(&mut self) -> Result<(), Stop> {
        let keys = self.world.plan.keys.len();
        self.phase(
            "first full coverage",
            "Each origin has one owner, by rendezvous hashing. The owners check their origins over HTTP and write what they \
             find. Look for the bar: every server comes to know every origin.",
        )?;
        let took = self.wait(PATIENCE, |pop| pop.records().iter().all(|&records| records == keys))?;
        if self.converges("not every server learned of every origin", took).is_some() {
            let now = self.world.plan.clock.now_ns();
            self.report.live.coverage_ns = Some(now);
            self.pop.filled();
            let (origins, servers) = (count(keys, "origin"), self.pop.all().len());
            self.stage.say(format_args!(
                "{origins} known to all of {servers} servers, {} after the start",
                millis(now)
            ))?;
        }
        Ok(())
    }

    pub(super) fn steady(&mut self) -> Result<(), Stop> {
        let (intervals, seconds) = (self.pace.intervals, self.interval().as_secs_f64());
        self.phase(
            "steady state",
            "Every origin is checked once an interval, by its owner only, and every result is written. Look for redundancy: \
             how many records a server receives for each one that tells it anything new.",
        )?;
        self.pop.set_checks(Checks::All);
        // Counts begin between two rounds.
        let world = self.world;
        let start = world.plan.calendar.next_round(Instant(world.plan.clock.now_ns()));
        self.run_to(start.0)?;
        world.follow_writes(true);
        let (before, hits) = (self.pop.totals(), world.checks());
        let mut harvest: f64 = 1.0;
        for round in 1..=intervals {
            self.run_to((start + world.plan.calendar.interval().times(round)).0)?;
            harvest = harvest.min(self.pop.harvest());
        }
        let (moved, after) = (self.pop.totals().since(&before), world.checks());
        world.follow_writes(false);
        let per_interval = |n: u32| f64::from(n) / intervals as f64;
        let made = || after.iter().zip(&hits).map(|(after, before)| after - before);
        let (least, most) = made().fold((u32::MAX, 0), |(least, most), n| (n.min(least), n.max(most)));
        let mean = made().map(per_interval).sum::<f64>() / hits.len() as f64;
        self.report.checks = Some((per_interval(least), mean, per_interval(most)));
        self.report.live.redundancy = moved.redundancy();
        self.report.live.redundancy_of = moved.applied;
        self.report.live.steady_bytes = Some(self.bytes_per_server_per_s(&moved, start.0));
        self.report.harvest = Some((harvest, harvest));
        self.everyone_learns("a result did not reach every server", |_| world.writes.pending() == 0)?;
        let (to_one, to_all) = world.writes.take();
        self.report.live.to_one = Quantiles::of(&to_one);
        self.report.live.to_all = Quantiles::of(&to_all);
        let (results, redundancy) = (count(moved.puts as usize, "result"), moved.redundancy().unwrap_or(0.0));
        let bytes = grouped(self.report.live.steady_bytes.unwrap_or(0.0).round() as u64);
        self.stage.say(format_args!(
            "{results} in {} s: redundancy {redundancy:.3}, {bytes} bytes/s a server",
            seconds * intervals as f64
        ))?;
        let (least, most) = (per_interval(least), per_interval(most));
        self.stage
            .say(format_args!("at the origins: each was asked {least:.2} to {most:.2} times an interval"))?;
        self.say_spread("a result is known to every server after", self.report.live.to_all)
    }

    pub(super) fn origins_fail(&mut self) -> Result<(), Stop> {
        let world = self.world;
        let n = (world.in_fleet().count() / 100).max(1);
        let group: Vec<OriginId> = world.in_fleet().take(n).collect();
        self.phase(
            "a group of origins fails",
            "One origin in a hundred fails: it answers 503, hangs up, or says nothing. Its owner finds out with the next \
             check, and writes it. Look for the time from that check until the last server knows.",
        )?;
        if group.is_empty() {
            return self.stage.say(format_args!("left out: all origins are somebody else's"));
        }
        world.follow_failures(true);
        group.iter().for_each(|&origin| world.set_failing(origin, true));
        // Each origin's next check, and the time until it is given up.
        self.run(self.interval() + Duration::from_secs(2))?;
        world.follow_failures(false);
        self.everyone_learns("a failure did not reach every server", |_| world.failures.pending() == 0)?;
        let (_, to_all) = world.failures.take();
        let known = Quantiles::of(&to_all);
        self.report.live.failure = known;
        let found = known.map_or(0, |known| known.count);
        if found != group.len() as u64 {
            self.diverged(format!(
                "of {} failures {found} were found and known to every server",
                group.len()
            ));
        }
        self.say_spread("found by its owner, a failure is known to every server after", known)?;
        group.iter().for_each(|&origin| world.set_failing(origin, false));
        Ok(())
    }

    pub(super) fn servers_die_and_return(&mut self) -> Result<(), Stop> {
        let servers = self.pop.all().len();
        let kills = self.pace.kills.min(servers - 1);
        self.phase(
            "servers are killed, one after another, and come back",
            "One falls silent. The others find out, and for each of its origins the next owner in rendezvous order takes \
             over; no other origin moves. Then it starts again, empty, pulls every record, and has its origins back.",
        )?;
        let (mut detected, mut taken_over, mut back) = (Times::new(), Times::new(), Times::new());
        for kill in 0..kills {
            let victim = Slot::at(1 + kill * (servers - 1) / kills);
            self.one_dies_and_returns(victim, [&mut detected, &mut taken_over, &mut back])?;
        }
        self.report.live.detection = Quantiles::of(&detected);
        self.report.live.takeover = Quantiles::of(&taken_over);
        self.report.rejoin = Quantiles::of(&back);
        self.say_spread("a killed server is known dead to all after", self.report.live.detection)?;
        self.say_spread("all its origins have been checked again after", self.report.live.takeover)?;
        self.say_spread("started again it has all records and its origins after", self.report.rejoin)
    }

    fn one_dies_and_returns(
        &mut self,
        victim: Slot,
        [detected, taken_over, back]: [&mut Times; 3],
    ) -> Result<(), Stop> {
        let (world, all) = (self.world, self.pop.all());
        let orphans: Vec<OriginId> = (0..)
            .zip(world.plan.keys.iter())
            .filter(|(_, key)| owner(**key, all) == Some(victim))
            .map(|(id, _)| id)
            .collect();
        let killed_ns = self.pop.kill(victim)?;
        let others = self.pop.running();
        let mut checked: Vec<u64> = vec![0; orphans.len()];
        let mut known_ns = None;
        let done = |_: &P| {
            if known_ns.is_none() {
                known_ns = world.known_dead_ns(victim, killed_ns, others);
            }
            for (at, &origin) in checked.iter_mut().zip(&orphans).filter(|(at, _)| **at == 0) {
                *at = Some(world.last_check_ns(origin)).filter(|at| *at > killed_ns).unwrap_or(0);
            }
            known_ns.is_some() && checked.iter().all(|&at| at > 0)
        };
        let took = self.wait(PATIENCE, done)?;
        self.converges("a killed server was not found out, or its origins not taken over", took);
        if let (Some(known_ns), Some(_)) = (known_ns, took) {
            detected.record(known_ns - killed_ns);
            // Nothing, where there are fewer origins than servers.
            if let Some(last_ns) = checked.iter().max() {
                taken_over.record(last_ns - killed_ns);
            }
        }
        let booted_ns = world.plan.clock.now_ns();
        self.pop.boot(victim)?;
        let keys = world.plan.keys.len();
        let has_all = |pop: &P| pop.records().iter().all(|&records| records == keys) && pop.is_agreed();
        let took = self.wait(PATIENCE, has_all)?;
        if self.converges("a server that came back did not catch up", took).is_some() {
            back.record(world.plan.clock.now_ns() - booted_ns);
        }
        self.excused.push((SlotSet::EMPTY.with(victim), killed_ns, world.plan.clock.now_ns()));
        Ok(())
    }

    pub(super) fn partition(&mut self) -> Result<(), Stop> {
        let (world, all) = (self.world, self.pop.all());
        let left: SlotSet = all.iter().filter(|slot| slot.get() % 2 == 0).collect();
        let right = all.difference(left);
        self.phase(
            "the PoP is cut in two, and healed",
            "Servers of even and of odd slots no longer hear each other. Both sides find out, take over all origins and \
             write what they find. Then the cut is mended, and checks pause so that it shows: both become equal.",
        )?;
        let (before, cut_ns) = (self.pop.totals(), world.plan.clock.now_ns());
        self.pop.partition(left)?;
        let own_side = |slot| if left.contains(slot) { left } else { right };
        let noticed =
            self.wait(PATIENCE, |pop| pop.statuses().all(|(slot, status)| status.live == own_side(slot)))?;
        if let Some(noticed) = self.converges("a side did not find out that the other is gone", noticed) {
            self.stage.say(format_args!("both sides have closed ranks after {}", millis(noticed)))?;
        }
        let least = self.pop.harvest();
        self.report.harvest = self.report.harvest.map(|(steady, before)| (steady, before.min(least)));
        self.run(PARTITION)?;
        let taken_over = self.wait(PATIENCE, |pop| pop.overdue() == 0)?;
        self.converges("the sides did not take over all origins", taken_over);
        let writes = count(self.pop.totals().since(&before).puts as usize, "write");
        self.pause_checks()?;
        self.pop.heal()?;
        let healed_ns = world.plan.clock.now_ns();
        if self.become_equal("the two sides did not become equal", P::is_agreed)? {
            let took = world.plan.clock.now_ns() - healed_ns;
            self.report.heal_ns = Some(took);
            self.stage.say(format_args!(
                "{writes} on both sides; all equal {} after the cut was mended",
                millis(took)
            ))?;
        }
        self.excused.push((all, cut_ns, world.plan.clock.now_ns()));
        self.owners_settle()
    }

    /// Has the rightful owners check what others wrote meanwhile.
    fn owners_settle(&mut self) -> Result<(), Stop> {
        self.pop.set_checks(Checks::Overdue);
        let took = self.wait(PATIENCE, |pop| pop.overdue() == 0)?;
        self.converges("the rightful owners did not settle", took);
        Ok(())
    }

    pub(super) fn links_go(&mut self) -> Result<(), Stop> {
        let (all, from_ns) = (self.pop.all(), self.world.plan.clock.now_ns());
        // Not the one that is read: its harvest is told.
        let (first, last) = (Slot::at(1), Slot::at(all.len() - 1));
        let mut links = vec![(first, Unplugged::Cable), (last, Unplugged::Interface)];
        links.truncate(all.len() - 1);
        self.phase(
            "a cable is pulled, an interface is switched off",
            "One server loses its carrier, another its interface. They live on, alone, and the others hold them dead. \
             Then the links come back: look that they are found again without a restart.",
        )?;
        for &(slot, how) in &links {
            self.pop.unplug(slot, how, true)?;
        }
        let gone: SlotSet = links.iter().map(|&(slot, _)| slot).collect();
        let rest = all.difference(gone);
        let hold_dead =
            |pop: &P| pop.statuses().all(|(slot, status)| gone.contains(slot) || status.live == rest);
        let noticed = self.wait(PATIENCE, hold_dead)?;
        if let Some(noticed) = self.converges("a lost link was not noticed", noticed) {
            self.stage.say(format_args!("all others hold them dead after {}", millis(noticed)))?;
        }
        self.run(UNPLUGGED)?;
        let mut back = Times::new();
        for (slot, how) in links {
            self.pop.unplug(slot, how, false)?;
            let plugged_ns = self.world.plan.clock.now_ns();
            let live = |status: &Status| status.live.contains(slot);
            let found = self.wait(PATIENCE, |pop| {
                pop.statuses().filter(|(other, _)| rest.contains(*other)).all(|(_, status)| live(&status))
            })?;
            if self.converges("a server was not found again after its link came back", found).is_some() {
                back.record(self.world.plan.clock.now_ns() - plugged_ns);
            }
        }
        self.report.relink = Quantiles::of(&back);
        self.say_spread("with its link back a server is known live to all after", self.report.relink)?;
        // Alone, they wrote what they found of all origins.
        self.pause_checks()?;
        self.become_equal("servers whose links came back did not become equal", P::is_agreed)?;
        self.excused.push((all, from_ns, self.world.plan.clock.now_ns()));
        self.owners_settle()
    }

    pub(super) fn lossy(&mut self) -> Result<(), Stop> {
        let world = self.world;
        self.phase(
            "a tenth of all packets is lost",
            "Nothing else changes: checks, writes and gossip go on. Look: no server is held dead, and what a push lost a \
             pull brings.",
        )?;
        self.pop.set_loss(LOSSY_PPM.max(self.pace.loss_ppm));
        self.pop.set_checks(Checks::All);
        world.follow_writes(true);
        let before = self.pop.totals();
        // Long enough for each origin's turn, whenever in it we began.
        self.run(self.interval().max(Duration::from_secs(5)) + self.interval() / 20)?;
        let moved = self.pop.totals().since(&before);
        world.follow_writes(false);
        self.everyone_learns("a result did not reach every server", |_| world.writes.pending() == 0)?;
        self.pop.set_loss(self.pace.loss_ppm);
        let to_all = Quantiles::of(&world.writes.take().1);
        self.report.lossy = moved.redundancy().zip(to_all);
        let redundancy = moved.redundancy().unwrap_or(0.0);
        self.stage.say(format_args!("redundancy {redundancy:.3}"))?;
        self.say_spread("a result is known to every server after", to_all)
    }

    pub(super) fn idle(&mut self) -> Result<(), Stop> {
        self.phase(
            "idle",
            "Nobody writes. Servers still watch each other and compare versions and digests now and then, so that nothing \
             could go unnoticed. Look for how little that takes.",
        )?;
        self.pause_checks()?;
        self.become_equal("in the end the maps are not equal", |_| true)?;
        self.run(REST)?;
        let (before, started_ns) = (self.pop.totals(), self.world.plan.clock.now_ns());
        self.run(IDLE)?;
        let moved = self.pop.totals().since(&before);
        let bytes = self.bytes_per_server_per_s(&moved, started_ns);
        self.report.live.idle_bytes = Some(bytes);
        self.stage.say(format_args!("{} bytes/s a server, sent and received", grouped(bytes.round() as u64)))
    }

    /// Looks at everything once more.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        let wrong = self.pop.wrong()?;
        if wrong > 0 {
            self.diverged(format!(
                "in the end {wrong} records do not say what their origin's last check found"
            ));
        }
        let totals = self.pop.totals();
        self.report.live.mends = totals.mends;
        self.report.live.mends_unknown = totals.mends_unknown;
        let deaths = self.world.deaths();
        let is_excused = |of: Slot, at_ns: u64| {
            self.excused.iter().any(|&(slots, from, to)| slots.contains(of) && (from..=to).contains(&at_ns))
        };
        let is_false = |death: &&Death| !is_excused(death.of, death.at_ns);
        self.report.live.false_deaths = deaths.iter().filter(is_false).count() as u64;
        if let Some(Death { of, by, at_ns }) = deaths.iter().find(is_false) {
            self.report.missed.push(format!("{by} held {of} dead, {} after the start", millis(*at_ns)));
        }
        for alarm in self.world.alarms() {
            self.report.fail(alarm);
        }
        let refused = self.world.fleet.accept_failures();
        if refused > 0 {
            self.report.missed.push(format!("{refused} times the origins could not accept a connection"));
        }
        let Remains { merge, reads } = self.pop.end()?;
        self.report.live.merge = merge.quantiles();
        self.report.reads = Some(reads).filter(|seen| seen.lookups > 0);
        Ok(())
    }
}
