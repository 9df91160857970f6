//! Tests of the UDP device over loopback; what loopback never does is done to it by hand.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// The system refuses a series that has more packets than one may have, and from then on gets none.
#[test]
fn a_refused_series_is_sent_singly_and_counted() {
    let (mut left, mut right) = (device(Ipv4Addr::LOCALHOST), device(Ipv4Addr::LOCALHOST));
    let packets: Vec<_> = (0..15).map(|n| vec![n; 100]).collect();
    let counted = |device: &UdpDevice| (device.udp_stats().sent, device.udp_stats().sent_singly);
    if !left.udp_stats().can_segment {
        // Then it is so from the start.
        send(&mut left, right.local(), &packets);
        return assert_eq!(counted(&left), (0, 14));
    }
    send(&mut left, right.local(), &packets[..5]);
    assert_eq!(counted(&left), (1, 0));
    for (n, packet) in packets[5..10].iter().enumerate() {
        left.filled[n * 100..][..100].copy_from_slice(packet);
        left.append(right.local, n * 100, 100);
    }
    let blocked = left.flush_by(|socket, state, transmit| {
        let too_many = Transmit { contents: &[0; 1_000], segment_size: Some(1), src_ip: None, ..*transmit };
        let is_series = transmit.segment_size.is_some();
        state.try_send(socket.into(), if is_series { &too_many } else { transmit })
    });
    assert!(!blocked.unwrap() && !left.udp_stats().can_segment);
    assert_eq!(counted(&left), (1, 4), "the first of them had its call anyway");
    send(&mut left, right.local(), &packets[10..]);
    assert_eq!(counted(&left), (1, 8));
    let received: Vec<_> = receive(&mut right, 15).into_iter().map(|(_, packet)| packet).collect();
    assert!(received == packets);
    assert_eq!((left.stats().sent, left.stats().lost()), (15, 0));
    let series = right.udp_stats();
    assert_eq!(series.received, u64::from(series.can_coalesce), "what left as one came as one");
}

#[test]
fn longer_datagrams_are_dropped_and_empty_ones_handed_over() {
    let mut device = device(Ipv4Addr::LOCALHOST);
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for len in [1_401, 0, 9_000, 1_400] {
        other.send_to(&vec![7; len], device.local_socket()).unwrap();
    }
    let received: Vec<_> = receive(&mut device, 2).into_iter().map(|(_, packet)| packet.len()).collect();
    assert_eq!((received.as_slice(), device.stats().oversize), (&[0, 1_400][..], 2));
}

/// A burst on its way that a full socket's buffer stops twice.
#[test]
fn what_the_system_cannot_take_yet_is_kept_and_sent_in_order() {
    let (mut left, mut right) = (device(Ipv4Addr::LOCALHOST), device(Ipv4Addr::LOCALHOST));
    let other = device(Ipv4Addr::LOCALHOST);
    for n in 0..6 {
        left.filled[n] = n as u8;
        left.append(if n == 2 { other.local } else { right.local }, n, 1);
    }
    let runs = left.runs.len();
    let mut tries = 0;
    let mut refuse = |at: usize, left: &mut UdpDevice| {
        left.flush_by(|socket, state, transmit| {
            tries += 1;
            if tries == at { Err(Errno::AGAIN.into()) } else { state.try_send(socket.into(), transmit) }
        })
    };
    assert!(refuse(2, &mut left).unwrap() && refuse(3, &mut left).unwrap());
    assert_eq!((left.runs.len() - left.next_run, left.stats().blocked), (runs - 1, 2));
    // What the next burst fills comes behind it.
    let mut packet = Some(6);
    let burst = left.send(|frame| {
        frame[0] = packet.take()?;
        Some((right.local(), 1))
    });
    assert_eq!(burst.unwrap(), Burst { frames: 1, ..Burst::default() });
    let received: Vec<_> = receive(&mut right, 6).into_iter().map(|(_, packet)| packet[0]).collect();
    assert_eq!(received, [0, 1, 3, 4, 5, 6]);
    assert_eq!((left.stats().sent, left.stats().lost()), (7, 0));
}

/// A timer or a wake ended the wait: one system call less. Whoever never waits always looks.
#[test]
fn after_a_wait_that_found_nothing_to_receive_the_next_call_does_not_look() {
    let (mut left, mut right) = (device(Ipv4Addr::LOCALHOST), device(Ipv4Addr::LOCALHOST));
    let frames = |right: &mut UdpDevice| right.receive(|_, _| ()).unwrap().frames;
    right.wait(Some(Duration::ZERO)).unwrap();
    send(&mut left, right.local(), &[vec![1; 10]]);
    assert_eq!([frames(&mut right), frames(&mut right)], [0, 1]);
    send(&mut left, right.local(), &[vec![1; 10]]);
    right.wait(Some(Duration::ZERO)).unwrap();
    assert_eq!([frames(&mut right), frames(&mut right)], [1, 0]);
    right.waker().wake();
    right.wait(None).unwrap();
    send(&mut left, right.local(), &[vec![1; 10]]);
    right.wait(None).unwrap();
    assert_eq!(frames(&mut right), 1, "the last wait counts");
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

/// Every counter of packets that were lost or dropped here, by name. One that is new does not compile, and wants a row
/// below.
fn dropped(stats: DeviceStats) -> [(&'static str, u64); 9] {
    let DeviceStats {
        received: _,
        oversize,
        // A socket does not tell of these.
        ignored: _,
        overruns: _,
        link_losses: _,
        link_returns: _,
        receive_errors,
        sent: _,
        blocked: _,
        no_route,
        refused,
        unreachable,
        no_buffers,
        forbidden,
        too_long,
        send_errors,
    } = stats;
    [
        ("oversize", oversize),
        ("receive_errors", receive_errors),
        ("no_route", no_route),
        ("refused", refused),
        ("unreachable", unreachable),
        ("no_buffers", no_buffers),
        ("forbidden", forbidden),
        ("too_long", too_long),
        ("send_errors", send_errors),
    ]
}

/// Sends a packet, and has the system say that.
fn told(device: &mut UdpDevice, error: Errno) {
    device.append(device.local, 0, 10);
    assert!(!device.flush_by(|_, _, _| Err(error.into())).unwrap());
}

/// The system's word that nobody is there reaches a socket that is connected.
fn connect_to_nobody(device: &mut UdpDevice) -> Address {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    device.socket.connect(nobody).unwrap();
    let nobody = address::from_socket(nobody);
    send(device, nobody, &[vec![1; 10]]);
    assert_eq!((device.stats().sent, device.stats().lost()), (1, 0), "nothing is known yet");
    nobody
}

#[test]
fn every_drop_raises_one_counter_and_is_no_end() {
    type Drop = (&'static str, fn(&mut UdpDevice));
    let drops: [Drop; 9] = [
        ("oversize", |device| {
            let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            other.send_to(&[7; 1_401], device.local_socket()).unwrap();
            assert_eq!(receive_none(device), 0);
        }),
        ("receive_errors", |device| {
            connect_to_nobody(device);
            assert_eq!(receive_none(device), 0);
        }),
        ("no_route", |device| send(device, Address::default(), &[vec![1; 10]])),
        ("refused", |device| {
            let nobody = connect_to_nobody(device);
            send(device, nobody, &[vec![1; 10]]);
        }),
        ("unreachable", |device| told(device, Errno::HOSTUNREACH)),
        ("no_buffers", |device| told(device, Errno::NOBUFS)),
        // Broadcasts want an option that is not set.
        ("forbidden", |device| {
            send(device, address::from_socket("127.255.255.255:9".parse().unwrap()), &[vec![1; 10]]);
        }),
        ("too_long", |device| told(device, Errno::MSGSIZE)),
        ("send_errors", |device| told(device, Errno::INVAL)),
    ];
    for ((name, act), (expected, _)) in drops.into_iter().zip(dropped(DeviceStats::default())) {
        assert_eq!(name, expected, "in the order of the counters");
        let mut device = device(Ipv4Addr::LOCALHOST);
        act(&mut device);
        for (counter, count) in dropped(device.stats()) {
            assert_eq!(count, u64::from(counter == name), "{counter} after {name}");
        }
        let sending = !matches!(name, "oversize" | "receive_errors");
        assert_eq!(device.stats().lost(), u64::from(sending), "{name}");
        // It goes on as if nothing had been.
        assert!(!device.send(|_| None).unwrap().blocked);
    }
}

/// Waits for something to receive, and takes it; returns how many packets it was.
fn receive_none(device: &mut UdpDevice) -> usize {
    device.wait(Some(LONG)).unwrap();
    device.receive(|_, _| ()).unwrap().frames
}

#[test]
fn only_a_lost_socket_is_an_end() {
    let mut stats = DeviceStats::default();
    let errors =
        [Errno::HOSTDOWN, Errno::NETUNREACH, Errno::NETDOWN, Errno::NOMEM, Errno::PERM, Errno::ACCESS];
    for error in errors.map(io::Error::from) {
        assert!(!is_broken(&error), "{error}");
        count_lost(&mut stats, &error);
    }
    assert_eq!((stats.unreachable, stats.no_buffers, stats.forbidden, stats.lost()), (3, 1, 2, 6));
    for error in [Errno::BADF, Errno::NOTSOCK] {
        assert!(is_broken(&error.into()));
        let mut device = device(Ipv4Addr::LOCALHOST);
        device.append(device.local, 0, 10);
        assert!(device.flush_by(|_, _, _| Err(error.into())).is_err());
        assert_eq!(device.stats().lost(), 0);
    }
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

/// A wake at the very moment in which the wait before it ends: were it lost, no later one would be heard either.
#[test]
fn no_wake_is_lost_between_two_waits() {
    let mut device = device(Ipv4Addr::LOCALHOST);
    let (over, waker, start) = (AtomicBool::new(false), device.waker(), Instant::now());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                waker.wake_by_ref();
            }
        });
        let lost = (0..20_000).any(|_| {
            device.wait(Some(LONG)).unwrap();
            start.elapsed() >= LONG
        });
        over.store(true, Ordering::Relaxed);
        assert!(!lost);
    });
}
