//! What is left at an interface when a device is gone: nothing, however it went.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};

use popmap_io::address;

use super::*;

fn has_program(interface: &str) -> bool {
    netns::ip(&format!("link show {interface}")).contains("xdp")
}

#[test]
fn nothing_is_left_after_a_drop() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 2);
            for mode in MODES.into_iter().cycle().take(10) {
                // At once after the last: its queues are still being taken back.
                let (mut left, mut right) = (bind_in(mode, "left", &bare()), bind_in(mode, "right", &bare()));
                assert!(has_program("left") && has_program("right"));
                exchange(&mut left, &mut right);
                drop((left, right));
                assert!(!has_program("left") && !has_program("right"));
            }
        });
    });
}

/// Dropped with frames in every ring, while more come.
#[test]
fn a_device_may_go_while_frames_come() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 2);
            let (over, start) = (AtomicBool::new(false), Instant::now());
            let mut left = bind("left", &bare());
            thread::scope(|scope| {
                scope.spawn(|| {
                    // Also when the other side has failed.
                    while !over.load(Ordering::Relaxed) && start.elapsed() < LONG {
                        send(&mut left, address::BROADCAST, &[7; 1_400]);
                    }
                });
                for mode in MODES.into_iter().cycle().take(10) {
                    let mut right = bind_in(mode, "right", &bare());
                    let (from, mut came) = (right.local(), 0);
                    wait_for("some come", || {
                        let mut check = |_, packet: &[u8]| {
                            assert!(packet == [7; 1_400]);
                            came += 1;
                        };
                        let _ = right.receive(&mut check).unwrap();
                        // Its own are on their way too when it goes.
                        send(&mut right, from, b"to nobody");
                        send(&mut right, address::BROADCAST, &[8; 700]);
                        came >= 100
                    });
                }
                over.store(true, Ordering::Relaxed);
            });
        });
    });
}

#[test]
fn nothing_is_left_after_a_kill() {
    netns::inside(|| {
        if plays("victim") {
            let mut device = bind("left", &bare());
            println!("open");
            loop {
                let _ = device.receive(|_, _| ()).unwrap();
                device.wait(None).unwrap();
            }
        }
        allowed(|| {
            veth("left", "right", 2);
            for _ in 0..3 {
                let mut child = play("victim", &[]);
                let said = BufReader::new(child.stdout.take().unwrap());
                assert!(said.lines().any(|line| line.unwrap().ends_with("open")));
                assert!(has_program("left"));
                // With the signal that nobody hears.
                child.kill().unwrap();
                child.wait().unwrap();
                wait_for("the program goes", || !has_program("left"));
                let (mut left, mut right) = (bind("left", &bare()), bind("right", &bare()));
                exchange(&mut left, &mut right);
            }
        });
    });
}
