//! The fleet over real connections on loopback: what it answers, to whom, and what it counts.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::*;
use crate::origins::Target;
use crate::origins::generated;

/// Long enough for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    origins: Arc<[Origin]>,
    fleet: Fleet,
}

impl Scene {
    fn new(origins: usize) -> Self {
        let origins: Arc<[Origin]> = generated(origins).into();
        let fleet = Fleet::start(Arc::clone(&origins), Instant::now()).unwrap();
        Self { origins, fleet }
    }

    fn connect(&self, origin: OriginId) -> TcpStream {
        let address = self.origins[origin as usize].target.address(self.fleet.port());
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends what a client may send, and returns all that comes back until the connection is closed.
    fn send(&self, origin: OriginId, request: &[u8]) -> String {
        let mut stream = self.connect(origin);
        stream.write_all(request).unwrap();
        all(&mut stream)
    }

    fn ask(&self, origin: OriginId, host: &str) -> String {
        self.send(origin, format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
    }

    fn ask_properly(&self, origin: OriginId) -> String {
        self.ask(origin, &self.origins[origin as usize].name)
    }
}

/// Returns all that comes until the connection is closed or reset.
fn all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(text).unwrap(),
    }
}

const WELL: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nOK\n";

#[test]
fn a_well_origin_answers() {
    let scene = Scene::new(1);
    assert_eq!(scene.ask(0, "origin-000000.example.net"), WELL);
    assert_eq!(scene.ask(0, "ORIGIN-000000.example.net:8080"), WELL);
    let head = scene.send(0, b"HEAD / HTTP/1.1\r\nhost: origin-000000.example.net\r\n\r\n");
    assert_eq!(head, WELL.strip_suffix("OK\n").unwrap());
}

#[test]
fn two_origins_are_told_apart_by_their_addresses() {
    let scene = Scene::new(2);
    scene.fleet.set_mood(1, Mood::Failing503);
    assert_eq!(scene.ask_properly(0), WELL);
    assert!(scene.ask_properly(1).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    assert!(scene.ask(0, "origin-000001.example.net").starts_with("HTTP/1.1 421 "));
    assert_eq!(scene.fleet.hits(), [1, 1]);
}

#[test]
fn each_mood_shows_and_is_counted() {
    let scene = Scene::new(1);
    assert!(scene.ask_properly(0).starts_with("HTTP/1.1 200 "));
    scene.fleet.set_mood(0, Mood::Failing503);
    assert!(scene.ask_properly(0).starts_with("HTTP/1.1 503 "));
    scene.fleet.set_mood(0, Mood::HangingUp);
    assert_eq!(scene.ask_properly(0), "");
    scene.fleet.set_mood(0, Mood::Silent);
    let mut silent = scene.connect(0);
    silent.write_all(b"GET / HTTP/1.1\r\nHost: origin-000000.example.net\r\n\r\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while scene.fleet.hits()[0] < 4 {
        assert!(Instant::now() < deadline, "{:?}", scene.fleet.hits());
        thread::yield_now();
    }
    // It was read, and others are answered, but this one is not: it is closed when it is stale.
    scene.fleet.set_mood(0, Mood::Well);
    assert!(scene.ask_properly(0).starts_with("HTTP/1.1 200 "));
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    silent.set_nonblocking(false).unwrap();
    assert_eq!(all(&mut silent), "");
    assert_eq!(scene.fleet.hits(), [5]);
}

#[test]
fn hits_are_timed_from_the_epoch() {
    let epoch = Instant::now();
    let scene = Scene::new(2);
    let told = scene.fleet.last_hit_ns(0);
    scene.ask_properly(0);
    let until = epoch.elapsed().as_nanos() as u64;
    let at = scene.fleet.last_hit_ns(0);
    assert!(told == 0 && (1..=until).contains(&at), "{at} of {until}");
    assert_eq!(scene.fleet.last_hit_ns(1), 0);
}

#[test]
fn what_is_not_a_request_to_that_origin_is_refused_and_not_counted() {
    let scene = Scene::new(1);
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(8_192));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    let requests: [(&[u8], &str); 14] = [
        (b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", "421"),
        (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", "421"),
        (b"GET / HTTP/1.1\r\nHost: origin-000000.example.net:x\r\n\r\n", "421"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nHost: origin-000000.example.net\r\nContent-Length: 0\r\n\r\n", "405"),
        (b"PRI * HTTP/2.0\r\n\r\n", "400"),
        (b"GET\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "400"),
        (b"\xff\x00\xff", "400"),
        (&[0; 4_096], "400"),
        (long.as_bytes(), "431"),
        (many.as_bytes(), "431"),
    ];
    for (request, status) in requests {
        let answer = scene.send(0, request);
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
    }
    assert_eq!(scene.fleet.hits(), [0]);
    assert_eq!(scene.ask_properly(0), WELL, "it goes on");
}

#[test]
fn an_address_that_is_no_origins_is_told_so() {
    let scene = Scene::new(1);
    let nobody = Target::Fleet(Ipv4Addr::new(127, 9, 9, 9));
    let mut stream = TcpStream::connect_timeout(&nobody.address(scene.fleet.port()), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: origin-000000.example.net\r\n\r\n").unwrap();
    assert!(all(&mut stream).starts_with("HTTP/1.1 421 "));
}

#[test]
fn a_request_may_come_in_pieces_and_stay_away() {
    let scene = Scene::new(1);
    let _idle = scene.connect(0);
    let mut gone = scene.connect(0);
    gone.write_all(b"GET / HT").unwrap();
    gone.shutdown(Shutdown::Both).unwrap();
    let mut stream = scene.connect(0);
    stream.set_nodelay(true).unwrap();
    for piece in "GET / HTTP/1.1\r\nHost: origin-000000.example.net\r\n\r\n".as_bytes().chunks(20) {
        stream.write_all(piece).unwrap();
        // Another request has the fleet look at what has come so far.
        assert_eq!(scene.ask_properly(0), WELL);
    }
    assert_eq!(all(&mut stream), WELL);
}

#[test]
fn somebody_elses_address_is_left_as_it_is() {
    let scene = Scene::new(1);
    let other: SocketAddr = "192.0.2.7:80".parse().unwrap();
    assert_eq!(Target::Other(other).address(scene.fleet.port()), other);
    let own = Target::Fleet(Ipv4Addr::new(127, 0, 0, 2));
    assert_eq!(own.address(scene.fleet.port()).ip(), Ipv4Addr::new(127, 0, 0, 2));
}

#[test]
fn a_fleet_that_is_dropped_is_gone() {
    let scene = Scene::new(1);
    assert_eq!(scene.ask_properly(0), WELL);
    let mut open = scene.connect(0);
    let (address, shared) = (open.peer_addr().unwrap(), Arc::downgrade(&scene.fleet.shared));
    drop(scene);
    assert_eq!(all(&mut open), "");
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(shared.upgrade().is_none(), "the thread has let go of it");
}
