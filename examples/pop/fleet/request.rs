//! What a client asks for.
//!
//! Knows HTTP/1.1 requests. Must not know what is answered when they are in order.

use std::mem::MaybeUninit;

use httparse::{Error, ParserConfig, Status};

/// Bytes of a request at most, and headers in it.
pub const REQUEST_MAX: usize = 8_192;
const HEADERS_MAX: usize = 64;

/// What was read of a request.
pub enum Request {
    /// Some of it; the rest is yet to come.
    Partial,
    /// All of it, and it is for the origin. To a HEAD request the answer has no body.
    Whole { head: bool },
    /// Something else.
    Refused { status: u16, head: bool },
}

impl Request {
    /// Reads a request to the origin called `name`, or to nobody.
    pub fn parse(bytes: &[u8], name: Option<&str>) -> Self {
        let refused = |status, head| Self::Refused { status, head };
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut headers) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) if bytes.len() < REQUEST_MAX => return Self::Partial,
            Ok(Status::Partial) | Err(Error::TooManyHeaders) => return refused(431, false),
            Err(_) => return refused(400, false),
        }
        let head = match request.method {
            Some("GET") => false,
            Some("HEAD") => true,
            _ => return refused(405, false),
        };
        let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
        match (hosts.next(), hosts.next()) {
            (Some(host), None) if name.is_some_and(|name| is_host(host.value, name)) => Self::Whole { head },
            (Some(_), None) => refused(421, head),
            _ => refused(400, head),
        }
    }
}

/// Whether a Host header means `name`, at whatever port.
fn is_host(value: &[u8], name: &str) -> bool {
    let host = match value.iter().rposition(|&byte| byte == b':') {
        Some(colon) if value[colon + 1..].iter().all(u8::is_ascii_digit) => &value[..colon],
        _ => value,
    };
    host.eq_ignore_ascii_case(name.as_bytes())
}
