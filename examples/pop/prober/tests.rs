//! Checks of servers good and bad, over real connections on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::thread::{self, JoinHandle};

use super::*;
use crate::fleet::{Fleet, Mood};
use crate::origins::{Origin, generated};

/// Long enough for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Result<u16, Failure>;

fn prober(timeout: Duration) -> Prober {
    Prober::new(64, timeout, Instant::now()).unwrap()
}

/// Waits until all checks have ended.
fn drain(prober: &mut Prober) -> Vec<(OriginId, Outcome)> {
    let mut ended = Vec::new();
    while prober.in_flight() > 0 {
        prober.wait(None, |origin, outcome| ended.push((origin, outcome))).unwrap();
    }
    ended
}

/// Checks one origin alone.
fn check(prober: &mut Prober, to: SocketAddr) -> Outcome {
    prober.start(7, to, "a.example", "/health");
    let ended = drain(prober);
    let [(7, outcome)] = ended[..] else { panic!("{ended:?}") };
    outcome
}

/// A server of one connection, and what it does with it.
fn server(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

fn read_request(stream: &mut std::net::TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// What a check finds at a server that reads the request, says `pieces` one by one, and closes.
fn found(pieces: &[&'static [u8]]) -> Answer {
    let pieces = pieces.to_vec();
    let (address, server) = server(move |mut stream| {
        stream.set_nodelay(true).unwrap();
        read_request(&mut stream);
        // The check may have ended, and with it the connection.
        pieces.iter().for_each(|piece| drop(stream.write_all(piece)));
    });
    let outcome = check(&mut prober(PATIENCE), address);
    server.join().unwrap();
    outcome.answer
}

#[test]
fn the_request_is_one_that_any_server_understands() {
    let (address, server) = server(|mut stream| {
        let request = read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!(
            request,
            "GET /health HTTP/1.1\r\nHost: a.example\r\nUser-Agent: popmap-pop\r\nConnection: close\r\n\r\n"
        );
    });
    let epoch = Instant::now();
    let mut prober = Prober::new(1, PATIENCE, epoch).unwrap();
    let outcome = check(&mut prober, address);
    server.join().unwrap();
    assert_eq!(outcome.answer, Ok(204));
    let elapsed = epoch.elapsed();
    assert!(outcome.latency > Duration::ZERO && outcome.latency < elapsed);
    assert!(u128::from(outcome.ended.0) <= elapsed.as_nanos());
    assert!(u128::from(outcome.ended.0) >= outcome.latency.as_nanos());
}

#[test]
fn an_answer_is_told_from_what_is_none() {
    let answers: [(&[&[u8]], Answer); 14] = [
        (&[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], Ok(200)),
        (&[b"HTTP/1.0 503 Service Unavailable\r\n\r\n"], Ok(503)),
        (&[b"HTTP/1.1 301\r\nLocation: /\r\n\r\n"], Ok(301)),
        (&[b"H", b"TTP/1.1 2", b"00 OK\r", b"\nA: b\r\n\r", b"\n"], Ok(200)),
        (&[b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 ", b"200 OK\r\n\r\n"], Ok(200)),
        (&[b"HTTP/1.1 101 Switching Protocols\r\n\r\n"], Ok(101)),
        (&[], Err(Failure::Closed)),
        (&[b"HTTP/1.1 200 OK\r\nA: b\r\n"], Err(Failure::Closed)),
        (&[b"HTTP/1.1 100 Continue\r\n\r\n"], Err(Failure::Closed)),
        (&[b"SSH-2.0-OpenSSH_9.9\r\n"], Err(Failure::NotHttp)),
        (&[b"HTTP/2.0 200 OK\r\n\r\n"], Err(Failure::NotHttp)),
        (&[b"HTTP/1.1 OK\r\n\r\n"], Err(Failure::NotHttp)),
        (&[b"HTTP/1.1 200 OK\r\nA: ", &[b'a'; 4_096], &[b'a'; 4_096]], Err(Failure::NotHttp)),
        (&[b"\xff\xfe\x00"], Err(Failure::NotHttp)),
    ];
    for (pieces, answer) in answers {
        let shown: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
        assert_eq!(found(pieces), answer, "{shown:?}");
    }
}

#[test]
fn a_connection_that_is_reset_is_closed() {
    let (address, server) = server(|stream| {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(check(&mut prober(PATIENCE), address).answer, Err(Failure::Closed));
    server.join().unwrap();
}

#[test]
fn nobody_there_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(check(&mut prober(PATIENCE), address).answer, Err(Failure::Refused));
}

#[test]
fn an_address_without_a_way_is_unreachable() {
    // A connection to a broadcast address is refused by this machine.
    let address = (Ipv4Addr::BROADCAST, 80).into();
    assert_eq!(check(&mut prober(PATIENCE), address).answer, Err(Failure::Unreachable));
}

#[test]
fn a_server_that_hangs_is_given_up_in_time() {
    // The system accepts for it; it never answers.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let timeout = Duration::from_millis(50);
    let mut prober = prober(timeout);
    let outcome = check(&mut prober, listener.local_addr().unwrap());
    assert_eq!(outcome.answer, Err(Failure::TimedOut));
    assert!(outcome.latency >= timeout);
    assert!(prober.has_room());
}

#[test]
fn a_connection_that_is_not_made_is_given_up_in_time() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    // Room for one, which is taken by another: who else connects is not answered.
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = std::net::TcpStream::connect(address).unwrap();
    let outcome = check(&mut prober(Duration::from_millis(50)), address);
    assert_eq!(outcome.answer, Err(Failure::TimedOut));
}

#[test]
fn an_answer_that_is_there_counts_however_late_we_look() {
    let (address, server) = server(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        // Until the prober closes.
        let _ = stream.read(&mut [0]);
    });
    let mut prober = prober(Duration::ZERO);
    prober.start(1, address, "a.example", "/");
    let deadline = Instant::now() + PATIENCE;
    while prober.checks.all[0].as_ref().unwrap().stream.peek(&mut [0]).is_err() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    let mut ended = Vec::new();
    prober.checks.expire(&mut |id, outcome: Outcome| ended.push((id, outcome.answer)));
    assert_eq!(ended, [(1, Ok(200))]);
    server.join().unwrap();
}

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

    fn start(&self, prober: &mut Prober, id: OriginId) {
        let origin = &self.origins[id as usize];
        prober.start(id, origin.target.address(self.fleet.port()), &origin.name, &origin.path);
    }
}

#[test]
fn the_fleet_is_found_in_every_mood() {
    let scene = Scene::new(4);
    let moods = [
        (Mood::Well, Ok(200), PATIENCE),
        (Mood::Failing503, Ok(503), PATIENCE),
        (Mood::HangingUp, Err(Failure::Closed), PATIENCE),
        (Mood::Silent, Err(Failure::TimedOut), Duration::from_millis(50)),
    ];
    for (id, (mood, answer, timeout)) in (0..).zip(moods) {
        scene.fleet.set_mood(id, mood);
        let mut prober = prober(timeout);
        scene.start(&mut prober, id);
        let ended: Vec<_> = drain(&mut prober).iter().map(|&(id, outcome)| (id, outcome.answer)).collect();
        assert_eq!(ended, [(id, answer)]);
    }
}

#[test]
fn many_are_in_flight_at_once_and_none_is_taken_for_another() {
    let scene = Scene::new(3_000);
    (0..3_000).filter(|id| id % 3 == 0).for_each(|id| scene.fleet.set_mood(id, Mood::Failing503));
    let mut prober = prober(PATIENCE);
    let mut next = 0..3_000;
    let mut answers = vec![None; 3_000];
    loop {
        while prober.has_room()
            && let Some(id) = next.next()
        {
            scene.start(&mut prober, id);
        }
        if prober.in_flight() == 0 {
            break;
        }
        prober
            .wait(None, |id, outcome| {
                assert_eq!(answers[id as usize].replace(outcome.answer), None, "{id} ended twice");
            })
            .unwrap();
    }
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, Some(Ok(if id % 3 == 0 { 503 } else { 200 })), "{id}");
    }
    assert_eq!(scene.fleet.hits(), [1; 3_000]);
}

#[test]
fn a_hung_check_does_not_hold_up_those_behind_it() {
    let scene = Scene::new(50);
    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut prober = prober(PATIENCE);
    prober.start(99, hung.local_addr().unwrap(), "a.example", "/");
    let mut ended = Vec::new();
    for _ in 0..3 {
        (0..50).for_each(|id| scene.start(&mut prober, id));
        while prober.in_flight() > 1 {
            prober.wait(None, |id, outcome| ended.push((id, outcome.answer))).unwrap();
        }
    }
    ended.sort_by_key(|&(id, _)| id);
    let expected: Vec<(OriginId, Answer)> = (0..50).flat_map(|id| [(id, Ok(200)); 3]).collect();
    assert_eq!(ended, expected);
}

#[test]
fn a_wake_ends_a_wait() {
    let mut prober = prober(PATIENCE);
    let waker = prober.waker();
    let begin = Instant::now();
    // Before the wait, and then most likely during it.
    waker.wake().unwrap();
    prober.wait(Some(PATIENCE), |_, _| panic!("nothing was started")).unwrap();
    let other = thread::spawn(move || waker.wake().unwrap());
    prober.wait(Some(PATIENCE), |_, _| panic!("nothing was started")).unwrap();
    other.join().unwrap();
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    let mut prober = prober(PATIENCE);
    let begin = Instant::now();
    prober.wait(Some(Duration::from_millis(20)), |_, _| panic!("nothing was started")).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(20));
}

#[test]
fn failures_are_told_from_ours() {
    let errors = [
        (Errno::MFILE, Failure::NoSocket),
        (Errno::NFILE, Failure::NoSocket),
        (Errno::NOBUFS, Failure::NoSocket),
        (Errno::ADDRNOTAVAIL, Failure::NoSocket),
        (Errno::AGAIN, Failure::NoSocket),
        (Errno::TIMEDOUT, Failure::TimedOut),
        (Errno::CONNREFUSED, Failure::Refused),
        (Errno::CONNRESET, Failure::Closed),
        (Errno::PIPE, Failure::Closed),
        (Errno::NETUNREACH, Failure::Unreachable),
        (Errno::HOSTUNREACH, Failure::Unreachable),
    ];
    for (error, failure) in errors {
        assert_eq!(Failure::of(&error.into()), failure, "{error}");
        assert_eq!(failure.is_about_us(), failure == Failure::NoSocket);
    }
    assert_eq!(Failure::Refused.to_string(), "connection refused");
}
