//! The main job: one point of presence of many in-memory nodes, from first contact to convergence.
//!
//! Not written yet; it says so and ends.

#![forbid(unsafe_code)]

fn main() {
    println!("the pop example is not written yet");
}
