//! What must hold of the real map, node and membership: one scenario, property or bound a file, each named for what it
//! shows. One program, because each that cargo builds costs as much as all of these take to run.

mod address_change;
mod asymmetric_partition;
mod at_rest;
mod authenticated;
mod budget;
mod bulk_catch_up_interrupted;
mod catch_up;
mod clock_backward;
mod convergence;
mod delete_collect_recreate;
mod determinism;
mod every_rejection_is_counted;
mod false_suspicion_refuted;
mod figures;
mod forget;
mod full_table;
mod late_acks;
mod late_packets;
mod lattice;
mod leave_and_rejoin;
mod map_model;
mod mass_restart;
mod membership;
mod memory;
mod one_server_at_a_time;
mod operators_answers;
mod orphans;
mod own_past;
mod partition_heals;
mod partition_of_members_heals;
mod push_claims;
mod repair;
mod restart_generation_kept;
mod restart_generation_lost;
mod slot_conflict;
mod slot_conflict_among_members;
mod slow_server_not_killed;
mod start_deadline;
mod steady;
mod superseded;
#[cfg(popmap_teeth)]
mod teeth;
mod torn_reads;
mod version_vector;
