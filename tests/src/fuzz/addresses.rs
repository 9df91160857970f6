//! Addresses: 24 bytes that stand for a socket, a station or nothing, and the texts of both.
//!
//! The first byte chooses between bytes and text.

use std::net::SocketAddr;

use popmap_core::Address;
use popmap_io::address::{self, Mac};

/// Does what the bytes say.
///
/// # Panics
/// When something does not hold.
pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    if mode & 1 == 0 {
        let mut address = Address::default();
        let len = bytes.len().min(24);
        address.0[..len].copy_from_slice(&bytes[..len]);
        encoded(address);
    } else if let Ok(text) = str::from_utf8(bytes) {
        written(text);
    }
}

/// Each address has one encoding, which is what was given if it is one.
fn encoded(address: Address) {
    let (socket, mac) = (address::to_socket(address), address::to_mac(address));
    let shown = address::display(address).to_string();
    match (socket, mac) {
        (Some(socket), None) => {
            assert_eq!(address::from_socket(socket), address);
            assert_eq!(shown, socket.to_string());
            let advertised = address::advertised(address);
            assert_eq!(advertised == Address::default(), socket.ip().is_unspecified());
            assert!(advertised == address || advertised == Address::default());
        }
        (None, Some(mac)) => {
            assert_eq!(address::from_mac(mac), address);
            assert_eq!(shown.parse(), Ok(mac));
            assert_eq!(address::advertised(address), address);
        }
        (None, None) if address == Address::default() => assert_eq!(shown, "unknown"),
        (None, None) => {
            let digits = address.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            assert!(digits.eq(shown.bytes().map(|digit| match digit {
                b'0'..=b'9' => digit - b'0',
                _ => digit - b'a' + 10,
            })));
        }
        (Some(_), Some(_)) => panic!("{address:?} is of two kinds"),
    }
}

fn written(text: &str) {
    let parsed = text.parse::<Mac>();
    assert_eq!(parsed.ok().map(|mac| mac.0), judge(text.as_bytes()), "{text:?}");
    match parsed {
        Ok(mac) => {
            assert!(mac.to_string().eq_ignore_ascii_case(text));
            assert_eq!(address::to_mac(address::from_mac(mac)), Some(mac));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let address = address::from_socket(socket);
        let back = address::to_socket(address).expect("what was made of a socket's address");
        assert_eq!((back.ip(), back.port()), (socket.ip().to_canonical(), socket.port()));
        encoded(address);
    }
}

/// Six pairs of hexadecimal digits with colons between them.
fn judge(text: &[u8]) -> Option<[u8; 6]> {
    if text.len() != 17 || text.iter().skip(2).step_by(3).any(|&byte| byte != b':') {
        return None;
    }
    let mut mac = [0; 6];
    for (byte, pair) in mac.iter_mut().zip(text.chunks(3)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(mac)
}
