//! A device whose link comes and goes: the driver says so, and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use popmap_core::{Config, Life, Node, Shape, Slot};
use popmap_io::{
    Device, DeviceStats, Driver, DriverConfig, Loopback, LoopbackDevice, News, Storage, delegate_device,
};

/// A device that says of its link what the test says.
struct Cable {
    device: LoopbackDevice,
    changes: Arc<AtomicU64>,
}

impl Device for Cable {
    delegate_device!(device: receive, send, wait, waker, payload, local);

    fn stats(&self) -> DeviceStats {
        let changes = self.changes.load(Ordering::SeqCst);
        let mut stats = self.device.stats();
        (stats.link_losses, stats.link_returns) = (changes.div_ceil(2), changes / 2);
        stats
    }
}

#[test]
fn a_lost_link_is_told_and_so_is_its_return() {
    let changes = Arc::new(AtomicU64::new(0));
    let device = Cable { device: Loopback::new().device(), changes: Arc::clone(&changes) };
    let node = Config::new(7, Slot::at(0), Life::NONE, 100, Shape { schema: 1, value_len: 8 });
    let storage = Storage::new(Node::<2>::words(&node)).leak();
    let mut driver = Driver::<_, 2>::start(&DriverConfig::new(node), storage, device).unwrap();
    let mut polled = |changed: u64| {
        changes.fetch_add(changed, Ordering::SeqCst);
        let (mut told, until) = (Vec::new(), driver.handle().snapshot().device.link_losses);
        // Two more snapshots: one may have been due before the change.
        for _ in 0..2 {
            let at = driver.handle().snapshot().at;
            while driver.handle().snapshot().at == at {
                let _ = driver
                    .poll(|news| {
                        if let News::Link { up } = news {
                            told.push(up);
                        }
                    })
                    .unwrap();
            }
        }
        (told, driver.handle().snapshot().device.link_losses - until)
    };
    assert_eq!(polled(0), (vec![], 0), "nothing has happened");
    assert_eq!(polled(1), (vec![false], 1));
    assert_eq!(polled(0), (vec![], 0), "told once");
    assert_eq!(polled(1), (vec![true], 0));
    assert_eq!(polled(2), (vec![true], 1), "lost and back in between");
}
