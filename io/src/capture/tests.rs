use super::*;
use crate::loopback::Loopback;

/// A writer that can be looked at, and fills up.
#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: Option<usize>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.bytes.lock().unwrap();
        if self.room.is_some_and(|room| written.len() + bytes.len() > room) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"));
        }
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const HEADER: [u8; 24] =
    [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 101, 0, 0, 0];

fn at(text: &str) -> Address {
    address::from_socket(text.parse().unwrap())
}

fn captured(from: Address, to: Address, packet: &[u8]) -> Vec<u8> {
    let disk = Disk::default();
    let pcap = Pcap::new(disk.clone(), || Duration::new(0x0102_0304, 5)).unwrap();
    pcap.record(from, to, packet);
    assert_eq!(pcap.finish().unwrap(), 1);
    let bytes = disk.bytes.lock().unwrap().clone();
    assert_eq!(bytes[..24], HEADER);
    bytes[24..].to_vec()
}

#[test]
fn an_ipv4_packet_byte_for_byte() {
    let record = captured(at("127.0.0.1:258"), at("127.0.0.2:7946"), b"abc");
    #[rustfmt::skip]
    assert_eq!(record, [
        // seconds, nanoseconds, captured length, length
        4, 3, 2, 1,  5, 0, 0, 0,  31, 0, 0, 0,  31, 0, 0, 0,
        // IPv4
        0x45, 0, 0, 31,  0, 0, 0x40, 0,  64, 17, 0x3c, 0xcb,  127, 0, 0, 1,  127, 0, 0, 2,
        // UDP
        1, 2, 0x1f, 0x0a,  0, 11, 0x1d, 0x66,
        b'a', b'b', b'c',
    ]);
}

#[test]
fn an_ipv6_packet_byte_for_byte() {
    let record = captured(at("[::1]:258"), at("[::2]:7946"), b"abcd");
    #[rustfmt::skip]
    assert_eq!(record, [
        4, 3, 2, 1,  5, 0, 0, 0,  52, 0, 0, 0,  52, 0, 0, 0,
        // IPv6
        0x60, 0, 0, 0,  0, 12, 17, 64,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
        // UDP
        1, 2, 0x1f, 0x0a,  0, 12, 0x1b, 0x01,
        b'a', b'b', b'c', b'd',
    ]);
}

#[test]
fn every_checksum_verifies() {
    // The sum over what it covers, itself included, is zero.
    for len in 0..20 {
        let packet: Vec<u8> = (0..len).map(|i: u8| i.wrapping_mul(37)).collect();
        let record = captured(at("10.1.2.3:4"), at("10.250.251.252:65535"), &packet);
        let ip = &record[16..];
        assert_eq!(checksum(&[&ip[..20]]), 0);
        assert_eq!(checksum(&[&ip[12..20], &[0, UDP], &ip[24..26], &ip[20..]]), 0);
    }
}

#[test]
fn ends_are_of_one_family_whatever_is_known() {
    let (none, v4, v6) = (Address::default(), at("10.0.0.1:1"), at("[::1]:1"));
    for (from, to, len) in [(none, none, 20), (none, v6, 40), (v6, none, 40), (v4, v6, 20), (v6, v4, 40)] {
        assert_eq!(captured(from, to, b"").len(), 16 + len + 8);
    }
}

#[test]
fn both_directions_or_one() {
    for (directions, expected) in [(Directions::Sent, 1), (Directions::Both, 2)] {
        let network = Loopback::new();
        let disk = Disk::default();
        let pcap = Pcap::new(disk.clone(), || Duration::ZERO).unwrap();
        let mut left = CaptureDevice::new(network.device(), pcap.clone(), directions);
        let mut right = CaptureDevice::new(network.device(), pcap.clone(), directions);
        let mut to = Some(right.local());
        let _ = left.send(|_| Some((to.take()?, 100))).unwrap();
        let mut seen = 0;
        let _ = right.receive(|_, packet| seen += packet.len()).unwrap();
        assert_eq!((seen, pcap.finish().unwrap()), (100, expected));
        assert_eq!(disk.bytes.lock().unwrap().len(), 24 + expected as usize * (16 + 28 + 100));
    }
}

#[test]
fn a_full_disk_ends_the_capture_and_is_told() {
    let disk = Disk { room: Some(BUFFER), ..Disk::default() };
    let pcap = Pcap::new(disk.clone(), || Duration::ZERO).unwrap();
    for _ in 0..1_000 {
        pcap.record(at("10.0.0.1:1"), at("10.0.0.2:2"), &[0; 1_000]);
    }
    let message = pcap.finish().unwrap_err().to_string();
    assert!(message.contains("the disk is full") && message.contains("packets are missing"), "{message}");
    assert!(disk.bytes.lock().unwrap().len() <= BUFFER);
}
