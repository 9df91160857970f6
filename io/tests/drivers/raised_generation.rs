//! A generation that is raised while a server runs (R4.1, R4.5): it is on disk before anybody hears of it, or a restart
//! could begin below what the others know.

use std::io;
use std::path::PathBuf;

use popmap_core::{Address, Event, Life, Reject};
use popmap_io::{
    Burst, Device, Driver, DriverConfig, GenerationFile, Loopback, LoopbackDevice, News, delegate_device,
};

use super::{config, key, start, wait_for};

/// A device that looks up, for each packet that leaves, whether the generation that it names is on disk.
struct Witness {
    device: LoopbackDevice,
    file: GenerationFile,
    /// The greatest generation that left.
    told: u32,
}

impl Device for Witness {
    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        let Self { device, file, told } = self;
        device.send(|frame| {
            let filled = fill(frame)?;
            let generation = u32::from_le_bytes(frame[16..20].try_into().unwrap());
            let saved = file.read().unwrap();
            assert!(saved >= Some(generation), "{generation} leaves, and {saved:?} is on disk");
            *told = generation.max(*told);
            Some(filled)
        })
    }

    delegate_device!(device: receive, wait, waker, payload, local, stats);
}

/// A folder for one test, gone behind it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("popmap-io-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a server in slot 0 that keeps its generation in `folder`, and has it write.
fn server(folder: &Folder, network: &Loopback) -> (Driver<'static, Witness, 8>, GenerationFile) {
    let file = GenerationFile::new(folder.0.join("generation"));
    let config = DriverConfig { generation: Some(file.clone()), ..config(0, 2, &[]) };
    let device = Witness { device: network.device(), file: file.clone(), told: 0 };
    let mut driver = start(&config, device).unwrap();
    driver.poll(|_| ()).unwrap();
    driver.put(key(1), &[1; 8]).unwrap();
    (driver, file)
}

/// Starts another server in slot 0 by mistake: with the same generation and a lesser life, so that it is for the first to
/// raise its generation.
fn twin(of: Life, network: &Loopback, seed: Address) -> Driver<'static, LoopbackDevice, 8> {
    let mut config = config(0, 2, &[seed]);
    config.node.life = Life { id: 1, ..of };
    start(&config, network.device()).unwrap()
}

#[test]
fn a_raised_generation_is_on_disk_before_a_packet_names_it() {
    let (folder, network) = (Folder::new("raised"), Loopback::new());
    let (mut driver, file) = server(&folder, &network);
    let first = driver.node().map().life();
    assert_eq!(file.read().unwrap(), Some(first.generation));
    let mut twin = twin(first, &network, driver.device().local());
    let mut raised = Vec::new();
    wait_for("a packet of the raised generation left", || {
        twin.poll(|_| ()).unwrap();
        let tell = |news| match news {
            News::Map(Event::GenerationRaised { generation }) => raised.push(generation),
            News::GenerationNotSaved(error) => panic!("{error}"),
            _ => {}
        };
        driver.poll(tell).unwrap();
        driver.device().told > first.generation
    });
    let life = driver.node().map().life();
    assert_eq!(raised.last(), Some(&life.generation));
    assert!(file.read().unwrap() >= Some(life.generation));
    // Whoever starts next in this slot is above it.
    let (next, _) = server(&folder, &network);
    assert!(next.node().map().life().generation > life.generation);
}

/// Events are bounded, and an embedder may take them first: what is saved does not hang on them.
#[test]
fn it_is_saved_though_the_event_that_tells_is_lost() {
    let (folder, network) = (Folder::new("raised-unheard"), Loopback::new());
    let (mut driver, file) = server(&folder, &network);
    let first = driver.node().map().life();
    let mut wire = network.device();
    let mut twin = twin(first, &network, wire.local());
    let mut outcome = None;
    wait_for("the twin speaks", || {
        twin.poll(|_| ()).unwrap();
        let now = driver.clock().now();
        let heard = |from, packet: &[u8]| outcome = Some(driver.node_mut().handle_packet(now, from, packet));
        wire.receive(heard).unwrap().frames > 0
    });
    assert_eq!(outcome, Some(Err(Reject::SlotConflict)));
    assert!(std::iter::from_fn(|| driver.node_mut().poll_event()).count() > 1);
    driver.poll(|_| ()).unwrap();
    let life = driver.node().map().life();
    assert!(life.generation > first.generation && file.read().unwrap() >= Some(life.generation));
    assert_eq!(driver.device().told, life.generation);
}
