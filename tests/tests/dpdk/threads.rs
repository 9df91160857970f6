//! Threads: where they may run, and how DPDK knows them.

use popmap_io::dpdk::{Batch, DpdkDevice, DpdkError};
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;
use rustix::thread::sched_getaffinity;

use super::pop::{config, eal, receive, send};
use popmap_io::Device;

#[test]
fn a_start_pins_nobody() {
    netns::inside(|| {
        let before = sched_getaffinity(None).unwrap();
        let eal = eal(64);
        assert!(sched_getaffinity(None).unwrap() == before, "the calling thread");
        let spawned = std::thread::spawn(|| sched_getaffinity(None).unwrap()).join().unwrap();
        assert!(spawned == before, "its children");
        assert!(eal.register_thread(), "who started EAL is known");
    });
}

/// DPDK has 128 numbers for threads. Each is given back.
#[test]
fn any_number_of_threads_one_after_the_other_is_known() {
    netns::inside(|| {
        let eal = eal(64);
        for _ in 0..300 {
            let eal = eal.clone();
            assert!(std::thread::spawn(move || eal.register_thread()).join().unwrap());
        }
    });
}

#[test]
fn a_device_changes_threads() {
    netns::inside(|| {
        let eal = eal(64);
        let configs = [1, 2].map(|station| config(EncapConfig::ethernet(), station));
        let [mut left, mut right] = DpdkDevice::pair(&eal, configs.each_ref()).unwrap();
        let to = right.local();
        let mut numbers = 0..2_000;
        let mut seen = Vec::new();
        while !numbers.is_empty() {
            std::thread::scope(|scope| {
                scope.spawn(|| send(&mut left, to, &mut numbers));
                scope.spawn(|| receive(&mut right, &mut seen));
            });
        }
        while receive(&mut right, &mut seen).frames > 0 {}
        assert_eq!(seen, (0..2_000).collect::<Vec<_>>());
    });
}

/// Two threads want the same device, again and again: one has it, or the other, whole.
#[test]
fn devices_come_and_go_on_any_thread() {
    netns::inside(|| {
        let eal = eal(64);
        let config = config(EncapConfig::ethernet(), 1);
        let pools = [(); 2].map(|()| DpdkDevice::pool(&eal, &config).unwrap());
        let to = popmap_io::address::from_mac(super::pop::mac(9));
        let had: Vec<_> = std::thread::scope(|scope| {
            let threads = pools.each_ref().map(|pool| {
                let (eal, config) = (&eal, &config);
                scope.spawn(move || {
                    let mut had = 0;
                    while had < 50 {
                        match DpdkDevice::open_with(eal, "net_ring0", pool, config) {
                            Ok(mut device) => {
                                had += 1;
                                assert_eq!(send(&mut device, to, &mut (0..10)).frames, 10);
                            }
                            Err(DpdkError::PortTaken(_)) => std::thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                    had
                })
            });
            threads.map(|thread| thread.join().unwrap()).into()
        });
        assert_eq!(had, [50; 2]);
        for pool in &pools {
            assert_eq!(pool.available(), config.mbufs);
        }
    });
}

/// Everything holds EAL: whatever goes last, on whatever thread, ends it.
#[test]
fn the_end_comes_in_any_order() {
    netns::inside(|| {
        let eal = eal(64);
        let configs = [1, 2].map(|station| config(EncapConfig::ethernet(), station));
        let pool = DpdkDevice::pool(&eal, &configs[0]).unwrap();
        let [mut left, right] = DpdkDevice::pair(&eal, configs.each_ref()).unwrap();
        let mut batch = Batch::new(&eal);
        assert!(batch.fill_up(&pool));
        let _ = send(&mut left, right.local(), &mut (0..64));
        drop(eal);
        drop(left);
        drop(pool);
        drop(right);
        std::thread::spawn(move || drop(batch)).join().unwrap();
    });
}
