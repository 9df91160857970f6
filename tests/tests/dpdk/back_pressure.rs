//! A port that takes no more: what was filled waits, and nothing is lost.

use popmap_io::Device;
use popmap_io::dpdk::{Batch, DpdkDevice};
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::pop::{bare_pair, config, eal, mac, receive, send, wait_for};

#[test]
fn what_a_full_ring_refuses_waits_and_arrives() {
    netns::inside(|| {
        let eal = eal(64);
        let [mut left, mut right] = bare_pair(&eal);
        let to = right.local();
        let mut numbers = 0..1_000;
        let blocked = loop {
            let burst = send(&mut left, to, &mut numbers);
            if burst.blocked {
                break burst;
            }
            assert!(burst.frames > 0, "the ring has an end");
        };
        assert!(!blocked.more && blocked.frames > 0);
        assert!(left.stats().blocked > 0 && left.stats().lost() == 0);
        // Nothing more is asked for until the rest is gone.
        let burst = left.send(|_| panic!("asked for another")).unwrap();
        assert!(burst.blocked && burst.frames == 0);
        // A wait ends when it is not before.
        left.wait(Some(std::time::Duration::from_millis(5))).unwrap();
        let mut seen = Vec::new();
        wait_for("all arrive", || {
            let _ = receive(&mut right, &mut seen);
            left.wait(None).unwrap();
            let _ = send(&mut left, to, &mut numbers);
            seen.len() == 1_000 || {
                // Keeps the next wait from being one without end.
                left.waker().wake();
                false
            }
        });
        assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
        assert_eq!((left.stats().sent, left.stats().lost()), (1_000, 0));
    });
}

#[test]
fn without_an_mbuf_to_fill_nothing_is_asked_for() {
    netns::inside(|| {
        let eal = eal(64);
        let config = config(EncapConfig::ethernet(), 1);
        let pool = DpdkDevice::pool(&eal, &config).unwrap();
        let mut device = DpdkDevice::open_with(&eal, "net_ring0", &pool, &config).unwrap();
        let mut taken = Vec::new();
        loop {
            let mut batch = Batch::new(&eal);
            if !batch.fill_up(&pool) {
                break;
            }
            taken.push(batch);
        }
        let burst = device.send(|_| panic!("asked for a packet")).unwrap();
        assert_eq!((burst.frames, burst.more, burst.blocked), (0, false, true));
        assert_eq!((device.dpdk_stats().no_mbuf, device.stats().lost()), (1, 0));
        drop(taken);
        let to = popmap_io::address::from_mac(mac(9));
        let burst = send(&mut device, to, &mut (0..10));
        assert_eq!((burst.frames, burst.blocked, device.stats().sent), (10, false, 10));
    });
}
