//! AF_XDP beside and against a kernel's own network stack.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};

use popmap_io::{UdpConfig, UdpDevice, address};
use socket2::{Domain, Protocol, Socket, Type};

use super::*;

fn kernel_device(local: &str) -> UdpDevice {
    UdpDevice::bind(local.parse().unwrap(), &UdpConfig::DEFAULT.insecure(true)).unwrap()
}

#[test]
fn a_udp_socket_of_the_kernels_is_a_peer() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            netns::ip("addr add 10.7.0.2/24 dev right");
            netns::ip("addr add fd07::2/64 dev right nodad");
            for (ours, kernels) in [("10.7.0.1:7946", "10.7.0.2:7947"), ("[fd07::1]:7946", "[fd07::2]:7947")]
            {
                for mode in MODES {
                    let (mut left, mut right) = (bind_in(mode, "left", &udp(ours)), kernel_device(kernels));
                    meet(&mut left, &mut right);
                    exchange(&mut left, &mut right);
                }
            }
        });
    });
}

/// A kernel that is given a series of packets leaves it to the interface to cut it apart: a driver with a program on the
/// other side does, and without one nobody does.
#[test]
fn a_series_from_the_kernel_arrives_as_packets() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            netns::ip("addr add 10.7.0.2/24 dev right");
            let series = |mode| {
                let (mut left, mut right) =
                    (bind_in(mode, "left", &udp("10.7.0.1:7946")), kernel_device("10.7.0.2:7947"));
                meet(&mut left, &mut right);
                let (to, mut count) = (left.local(), 0);
                let fill = |frame: &mut [u8]| {
                    count += 1;
                    frame[..1_400].fill(count);
                    (count <= 40).then_some((to, 1_400))
                };
                let _ = right.send(fill).unwrap();
                let mut packets = Vec::new();
                wait_for("all arrive, or are counted", || {
                    packets.extend(take(&mut left));
                    packets.len() == 40 || left.stats().overruns > 0
                });
                packets.into_iter().zip(1..).for_each(|((_, packet), n)| assert_eq!(packet, [n; 1_400]));
                left.stats().overruns
            };
            assert_eq!(series(XdpMode::DriverCopy), 0);
            assert!(series(XdpMode::Generic) > 0);
            if ethtool("-K right tx-udp-segmentation off") {
                assert_eq!(series(XdpMode::Generic), 0);
            }
        });
    });
}

#[test]
fn whole_checksums_are_verified() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            netns::ip("addr add 10.7.0.2/24 dev right");
            if ethtool("-K right tx off") {
                let verifying = EncapConfig::udp("10.7.0.1:7946".parse().unwrap(), 24).insecure(true);
                let (mut left, mut right) = (bind("left", &verifying), kernel_device("10.7.0.2:7947"));
                meet(&mut left, &mut right);
                exchange(&mut left, &mut right);
            }
        });
    });
}

/// A kernel spreads what it sends over the queues of a veth by flow.
#[test]
fn packets_on_every_queue_arrive() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 4);
            netns::ip("addr add 10.7.0.2/24 dev right");
            let sockets: Vec<_> = (0..64).map(|_| UdpSocket::bind("10.7.0.2:0").unwrap()).collect();
            let mut seen = BTreeSet::new();
            let hear = |device: &mut XdpDevice, seen: &mut BTreeSet<u16>| {
                for socket in &sockets {
                    // Not before our address is resolved, and then it is no error.
                    let _ = socket.send_to(b"here", "10.7.0.1:7946");
                }
                thread::sleep(Duration::from_millis(1));
                let sources = take(device).into_iter().filter_map(|(from, _)| address::to_socket(from));
                seen.extend(sources.map(|from| from.port()));
            };
            let mut all = bind("left", &udp("10.7.0.1:7946"));
            assert_eq!(all.queues(), 4);
            wait_for("one of each socket arrives", || {
                hear(&mut all, &mut seen);
                seen.len() == sockets.len()
            });
            drop(all);
            // One queue alone sees a part of them, and the rest is the kernel's.
            let config = XdpConfig { queue: Some(1), ..XdpConfig::DEFAULT };
            let mut one = XdpDevice::bind("left", &udp("10.7.0.1:7946"), &config).unwrap();
            assert_eq!(one.queues(), 1);
            seen.clear();
            (0..20).for_each(|_| hear(&mut one, &mut seen));
            assert!(seen.len() < sockets.len(), "{}", seen.len());
        });
    });
}

const HERE: &str = "10.9.0.1:7946";
const THERE: &str = "10.9.0.2:7007";

#[test]
fn the_rest_of_the_host_works_on() {
    netns::inside(|| {
        if plays("echo") {
            return echo();
        }
        allowed(|| {
            veth("left", "right", 2);
            let mut child = play("echo", &["unshare", "--net"]);
            let said = BufReader::new(child.stdout.take().unwrap());
            assert!(said.lines().any(|line| line.unwrap().ends_with("ready")));
            netns::ip(&format!("link set right netns {}", child.id()));
            netns::ip("addr add 10.9.0.1/24 dev left");
            for mode in MODES {
                for encap in [bare(), udp("10.9.0.11:7946")] {
                    let mut device = bind_in(mode, "left", &encap);
                    wait_for("a carrier", || {
                        let _ = device.receive(|_, _| ()).unwrap();
                        device.link().is_ok()
                    });
                    // The kernels find each other anew, past the program.
                    netns::ip("neigh flush dev left");
                    ping(Ipv4Addr::new(10, 9, 0, 2));
                    udp_and_tcp();
                    assert!(take(&mut device).is_empty(), "none of that is ours");
                    if matches!(encap.framing, Framing::Udp(_)) {
                        is_echoed_to(&mut device);
                    }
                }
            }
            child.kill().unwrap();
            child.wait().unwrap();
        });
    });
}

/// The host's own address, and on it our port.
fn udp_and_tcp() {
    let socket = UdpSocket::bind(HERE).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    wait_for("UDP comes back", || {
        socket.send_to(b"there and back", THERE).unwrap();
        socket.recv(&mut [0; 64]).is_ok()
    });
    let mut stream = TcpStream::connect(THERE).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let sent = vec![7; 1_000_000];
    let mut reading = stream.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut back = vec![0; 1_000_000];
        reading.read_exact(&mut back).unwrap();
        back
    });
    stream.write_all(&sent).unwrap();
    assert!(reader.join().unwrap() == sent);
}

/// What is the device's is not the kernel's.
fn is_echoed_to(device: &mut XdpDevice) {
    let echo = address::from_socket(THERE.parse().unwrap());
    let mut echoed = Vec::new();
    wait_for("the device is echoed to", || {
        send(device, echo, b"mine");
        thread::sleep(Duration::from_millis(1));
        echoed.extend(take(device));
        !echoed.is_empty()
    });
    assert_eq!(echoed[0], (echo, b"mine".to_vec()));
}

/// In a namespace of its own, sends back whatever comes over UDP and TCP.
fn echo() {
    println!("ready");
    wait_for("the other end of the wire is here", || {
        thread::sleep(Duration::from_millis(5));
        Command::new("ip").args(["link", "set", "right", "up"]).status().unwrap().success()
    });
    netns::ip("addr add 10.9.0.2/24 dev right");
    let address: SocketAddr = THERE.parse().unwrap();
    let listener = TcpListener::bind(address).unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..len], from);
        }
    });
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        thread::spawn(move || {
            let mut back = stream.try_clone().unwrap();
            let _ = io::copy(&mut stream, &mut back);
        });
    }
}

/// Waits for the answer to an ICMP echo request.
fn ping(to: Ipv4Addr) {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    // Type 8, its checksum, identifier and number 0x0101.
    let request = [8, 0, 0xf5, 0xfd, 1, 1, 1, 1];
    wait_for("the ping is answered", || {
        let _ = socket.send_to(&request, &SocketAddrV4::new(to, 0).into());
        let mut answer = [0; 128];
        // Behind the IP header: type 0.
        matches!(socket.read(&mut answer), Ok(len) if len >= 28 && answer[20] == 0)
    });
}
