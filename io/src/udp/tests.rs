use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn device(ip: impl Into<std::net::IpAddr>) -> UdpDevice {
    UdpDevice::bind(SocketAddr::new(ip.into(), 0), &UdpConfig::DEFAULT).unwrap()
}

/// Sends `packets` in one burst each as long as they last.
fn send(device: &mut UdpDevice, to: Address, packets: &[Vec<u8>]) {
    let mut packets = packets.iter();
    let fill = |frame: &mut [u8]| {
        let packet = packets.next()?;
        frame[..packet.len()].copy_from_slice(packet);
        Some((to, packet.len()))
    };
    let mut fill = fill;
    while device.send(&mut fill).unwrap().more {}
}

fn receive(device: &mut UdpDevice, count: usize) -> Vec<(Address, Vec<u8>)> {
    let (mut packets, start) = (Vec::new(), Instant::now());
    while packets.len() < count && start.elapsed() < LONG {
        if device.receive(|from, packet| packets.push((from, packet.to_vec()))).unwrap().frames == 0 {
            device.wait(Some(Duration::from_millis(100))).unwrap();
        }
    }
    packets
}

fn exchange(mut left: UdpDevice, mut right: UdpDevice) {
    // Equal lengths, a shorter last one, a longer one, another length: several runs in two bursts.
    let lengths = [1_400, 1_400, 1_400, 700, 1_400, 1, 1_200, 1_200].into_iter().cycle().take(100);
    let packets: Vec<_> = lengths.enumerate().map(|(i, len)| vec![i as u8; len]).collect();
    send(&mut left, right.local(), &packets);
    let received = receive(&mut right, packets.len());
    let (from, received): (Vec<_>, Vec<_>) = received.into_iter().unzip();
    assert!(from.iter().all(|from| *from == left.local()));
    assert_eq!(received, packets);
    assert_eq!((left.stats().sent, left.stats().lost()), (100, 0));
    assert_eq!(right.stats().received, 100);
}

#[test]
fn packets_keep_their_lengths_order_and_source() {
    exchange(device(Ipv4Addr::LOCALHOST), device(Ipv4Addr::LOCALHOST));
}

#[test]
fn the_same_over_ipv6() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("SKIPPED: this host has no ::1");
        return;
    }
    exchange(device(Ipv6Addr::LOCALHOST), device(Ipv6Addr::LOCALHOST));
}

#[test]
fn a_run_is_refused_by_nobody_when_sent_singly() {
    let (mut left, mut right) = (device(Ipv4Addr::LOCALHOST), device(Ipv4Addr::LOCALHOST));
    for i in 0..3 {
        left.filled[i * 10..][..10].fill(i as u8);
    }
    left.runs.push(Run { to: right.local, start: 0, end: 25, segment: 10, singly: true });
    assert!(!left.flush().unwrap());
    let received: Vec<_> = receive(&mut right, 3).into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(received, [vec![0; 10], vec![1; 10], vec![2; 5]]);
}

#[test]
fn longer_and_empty_datagrams_are_dropped() {
    let mut device = device(Ipv4Addr::LOCALHOST);
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for len in [1_401, 0, 9_000, 1_400] {
        other.send_to(&vec![7; len], device.local_socket()).unwrap();
    }
    let received = receive(&mut device, 1);
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].1.len(), device.stats().oversize), (1_400, 2));
}

#[test]
fn anything_but_loopback_is_refused_by_name() {
    for text in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[2001:db8::1]:0"] {
        let address: SocketAddr = text.parse().unwrap();
        let error = UdpDevice::bind(address, &UdpConfig::DEFAULT).unwrap_err();
        assert!(matches!(error, BindError::NotLoopback(refused) if refused == address), "{error:?}");
        let message = error.to_string();
        assert!(message.starts_with("insecure: ") && message.contains(text), "{message}");
    }
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    UdpDevice::bind(any, &UdpConfig::DEFAULT.insecure(true)).unwrap();
}

#[test]
fn a_taken_address_and_a_bad_payload_are_named() {
    let first = device(Ipv4Addr::LOCALHOST);
    let error = UdpDevice::bind(first.local_socket(), &UdpConfig::DEFAULT).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("binding failed") && message.contains(&first.local_socket().to_string()),
        "{message}"
    );
    let error = UdpDevice::bind(first.local_socket(), &UdpConfig::DEFAULT.payload(9_000)).unwrap_err();
    assert_eq!(error.to_string(), "payload: 9000 bytes; 1200 to 8952 are possible");
}

#[test]
fn packets_to_nowhere_are_counted() {
    let mut device = device(Ipv4Addr::LOCALHOST);
    let elsewhere =
        ["192.0.2.1:5", "[::1]:5", "127.0.0.1:0"].map(|text| address::from_socket(text.parse().unwrap()));
    for to in elsewhere.into_iter().chain([Address::default(), Address([9; 24])]) {
        send(&mut device, to, &[vec![1; 10]]);
    }
    assert_eq!((device.stats().no_route, device.stats().sent), (5, 0));
}

#[test]
fn what_the_system_says_is_counted_by_kind_and_only_a_lost_socket_is_an_end() {
    let mut stats = DeviceStats::default();
    let errors = [
        Errno::CONNREFUSED,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::NOBUFS,
        Errno::PERM,
        Errno::MSGSIZE,
        Errno::INVAL,
    ];
    for error in errors.map(io::Error::from) {
        assert!(!is_broken(&error), "{error}");
        count_lost(&mut stats, &error);
    }
    assert_eq!((stats.refused, stats.unreachable, stats.no_buffers), (1, 2, 1));
    assert_eq!((stats.forbidden, stats.too_long, stats.send_errors, stats.lost()), (1, 1, 1, 7));
    assert!(is_broken(&Errno::BADF.into()));
}

#[test]
fn a_wake_ends_a_wait_now_and_later() {
    let mut device = device(Ipv4Addr::LOCALHOST);
    let waker = device.waker();
    // Before the wait, and twice: ends one wait.
    waker.wake_by_ref();
    waker.wake_by_ref();
    device.wait(None).unwrap();
    // Many times over, from another thread; each wait would be forever.
    let (go, gone) = mpsc::channel();
    let other = thread::spawn(move || gone.iter().for_each(|()| waker.wake_by_ref()));
    for _ in 0..1_000 {
        go.send(()).unwrap();
        device.wait(None).unwrap();
    }
    drop(go);
    other.join().unwrap();
}
