//! Mbufs: none is lost.

use popmap_io::Device;
use popmap_io::dpdk::{Batch, DpdkDevice, Pool};
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::pop::{config, eal, send};

#[test]
fn every_mbuf_returns_to_its_pool() {
    netns::inside(|| {
        let eal = eal(64);
        let config = config(EncapConfig::ethernet(), 1);
        let pool = DpdkDevice::pool(&eal, &config).unwrap();
        assert_eq!(pool.available(), config.mbufs);
        let to = popmap_io::address::from_mac(super::pop::mac(9));
        for _ in 0..20 {
            // A ring of its own: it hears itself.
            let mut device = DpdkDevice::open_with(&eal, "net_ring0", &pool, &config).unwrap();
            let mut numbers = 0..5_000;
            while !numbers.is_empty() {
                if send(&mut device, to, &mut numbers).blocked {
                    let _ = device.receive(|_, _| ()).unwrap();
                }
            }
            assert!(device.stats().ignored > 0, "its own frames");
            assert!(pool.available() < config.mbufs);
            drop(device);
            assert_eq!(pool.available(), config.mbufs);
        }
    });
}

#[test]
fn a_batch_keeps_its_bounds() {
    netns::inside(|| {
        let eal = eal(64);
        let pool = Pool::new(&eal, 255, 1_500).unwrap();
        assert_eq!((pool.frame_len(), pool.available()), (2_048, 255));
        let mut batches: Vec<_> = (0..4).map(|_| Batch::new(&eal)).collect();
        let filled: Vec<_> = batches.iter_mut().map(|batch| batch.fill_up(&pool)).collect();
        // All or none: 63 are left.
        assert_eq!(filled, [true, true, true, false]);
        assert_eq!((batches[0].len(), batches[3].len(), pool.available()), (64, 0, 63));
        let [first, .., last] = &mut batches[..] else { unreachable!() };
        assert!(first.is_full());
        assert!(last.is_empty() && last.last_mut(0).is_none() && !last.move_last(first));
        assert!(first.last_mut(2_049).is_none() && first.last_mut(usize::MAX).is_none());
        first.last_mut(2_048).unwrap().fill(0xab);
        first.set_last_len(2_048);
        assert!(first.move_last(last));
        let frames: Vec<_> = last.frames().map(|(bytes, _)| bytes.to_vec()).collect();
        assert_eq!(frames, [vec![0xab; 2_048]]);
        batches.clear();
        assert_eq!(pool.available(), 255);
    });
}
