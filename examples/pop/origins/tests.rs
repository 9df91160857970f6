//! Origins made up and read: what each line is taken for, and what is said of each that is wrong.

use std::collections::HashSet;
use std::io::Cursor;

use super::*;

const ADDRESS: &str = "accepted is an IP address such as 192.0.2.7 or 192.0.2.7:8080; names are not resolved";
const NAME: &str = "accepted are 1 to 253 of A-Z, a-z, 0-9, '.', '-' and '_'";
const NO_HOST: &str = "accepted is the address of one host, not an unspecified, multicast or broadcast one";

/// A file that is gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("popmap-origins-{}-{test}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn list(bytes: impl AsRef<[u8]>) -> List {
    let mut list = List::default();
    assert!(list.read(Cursor::new(bytes).take(FILE_MAX)).unwrap() == Extent::Whole);
    assert_eq!(list.errors.len() as u64, list.bad.min(20));
    list
}

fn good(bytes: impl AsRef<[u8]>) -> Vec<Origin> {
    let list = list(bytes);
    assert_eq!(list.errors, []);
    list.origins
}

fn other(address: &str) -> Target {
    Target::Other(address.parse().unwrap())
}

#[test]
fn a_million_generated_origins_have_names_and_addresses_of_their_own() {
    let origins = generated(ORIGINS_MAX);
    let names: HashSet<&str> = origins.iter().map(|origin| &*origin.name).collect();
    let addresses: HashSet<Ipv4Addr> = origins
        .iter()
        .map(|origin| match origin.target {
            Target::Fleet(address) => address,
            Target::Other(address) => panic!("{address}"),
        })
        .collect();
    assert_eq!((names.len(), addresses.len()), (ORIGINS_MAX, ORIGINS_MAX));
    let is_usual = |address: &Ipv4Addr| {
        let [net, high, _, host] = address.octets();
        net == 127 && (64..128).contains(&high) && (1..=254).contains(&host)
    };
    assert!(addresses.iter().all(is_usual));
    let one = &origins[123];
    assert_eq!((&*one.name, &*one.path), ("origin-000123.example.net", "/health"));
    assert_eq!(one.key, Key::from_name(b"origin-000123.example.net"));
}

#[test]
fn each_form_of_an_address_is_taken_for_what_it_is() {
    let forms = [
        ("127.0.0.1", Target::Fleet(Ipv4Addr::LOCALHOST)),
        ("127.255.1.2", Target::Fleet(Ipv4Addr::new(127, 255, 1, 2))),
        ("::ffff:127.0.0.3", Target::Fleet(Ipv4Addr::new(127, 0, 0, 3))),
        ("127.0.0.1:8080", other("127.0.0.1:8080")),
        ("192.0.2.7", other("192.0.2.7:80")),
        ("192.0.2.7:65535", other("192.0.2.7:65535")),
        ("::1", other("[::1]:80")),
        ("2001:db8::7", other("[2001:db8::7]:80")),
        ("[2001:db8::7]:8080", other("[2001:db8::7]:8080")),
    ];
    for (address, target) in forms {
        let origins = good(format!("a.example,{address}"));
        assert_eq!(origins, [Origin::new("a.example", target, "/health")], "{address}");
    }
}

#[test]
fn what_says_nothing_is_skipped() {
    let first = Origin::new("a", other("192.0.2.7:80"), "/health");
    let second = Origin::new("B_2-x.example", other("192.0.2.7:80"), "/up?full=1");
    let texts = [
        "a,192.0.2.7\nB_2-x.example,192.0.2.7,/up?full=1",
        "\u{feff}name,address\r\na,192.0.2.7\r\nB_2-x.example,192.0.2.7,/up?full=1\r\n",
        "\u{feff}# a,b,c,d\n\n  # \"\n \t\n name , address,path\n a\t, 192.0.2.7 ,\nB_2-x.example,192.0.2.7,/up?full=1\n\n",
    ];
    for text in texts {
        assert_eq!(good(text), [first.clone(), second.clone()], "{text:?}");
    }
}

#[test]
fn a_bad_line_is_told_with_its_field_value_and_what_is_accepted() {
    let long_name = "n".repeat(254);
    let long_line = format!("a,192.0.2.7,/{}", "p".repeat(4_096));
    let shortened = |text: &str| format!("{}...", &text[..48]);
    let fields = "accepted is name,address or name,address,path";
    let quoted = format!("quoted fields are not supported; {fields}");
    let path = "accepted is '/' and printable ASCII after it, without spaces";
    let lines = [
        (
            &*long_line,
            Problem::TooLong,
            "text",
            &*shortened(&long_line),
            "accepted are lines of at most 4096 bytes",
        ),
        ("\"a\",192.0.2.7", Problem::Quoted, "text", "\\\"a\\\",192.0.2.7", &*quoted),
        ("a", Problem::Fields, "text", "a", fields),
        ("a,192.0.2.7,/,x", Problem::Fields, "text", "a,192.0.2.7,/,x", fields),
        // Column names are what the first line may say, and no other.
        ("name,address", Problem::Address, "address", "address", ADDRESS),
        (",192.0.2.7", Problem::Name, "name", "", NAME),
        ("a b,192.0.2.7", Problem::Name, "name", "a b", NAME),
        ("a\tb,192.0.2.7", Problem::Name, "name", "a\\tb", NAME),
        ("\u{e9},192.0.2.7", Problem::Name, "name", "\u{e9}", NAME),
        (&*format!("{long_name},192.0.2.7"), Problem::Name, "name", &*shortened(&long_name), NAME),
        (
            "ONCE,192.0.2.7",
            Problem::SameName { first: 1 },
            "name",
            "ONCE",
            "also on line 1; accepted is each name once",
        ),
        ("a,foo", Problem::Address, "address", "foo", ADDRESS),
        ("a,foo.example:80", Problem::Address, "address", "foo.example:80", ADDRESS),
        ("a,192.0.2.7:65536", Problem::Address, "address", "192.0.2.7:65536", ADDRESS),
        ("a,192.0.2.256", Problem::Address, "address", "192.0.2.256", ADDRESS),
        ("a,\u{1b}[2J", Problem::Address, "address", "\\u{1b}[2J", ADDRESS),
        ("a,", Problem::Address, "address", "", ADDRESS),
        ("a,192.0.2.7:0", Problem::Port, "address", "192.0.2.7:0", "accepted is a port from 1 to 65535"),
        ("a,[::1]:0", Problem::Port, "address", "[::1]:0", "accepted is a port from 1 to 65535"),
        ("a,0.0.0.0", Problem::NoHost, "address", "0.0.0.0", NO_HOST),
        ("a,[::]:80", Problem::NoHost, "address", "[::]:80", NO_HOST),
        ("a,224.0.0.1:80", Problem::NoHost, "address", "224.0.0.1:80", NO_HOST),
        ("a,ff02::1", Problem::NoHost, "address", "ff02::1", NO_HOST),
        ("a,::ffff:224.0.0.1", Problem::NoHost, "address", "::ffff:224.0.0.1", NO_HOST),
        ("a,255.255.255.255", Problem::NoHost, "address", "255.255.255.255", NO_HOST),
        ("a,127.255.255.255", Problem::NoHost, "address", "127.255.255.255", NO_HOST),
        (
            "a,127.0.0.9",
            Problem::SameAddress { first: 1 },
            "address",
            "127.0.0.9",
            "also on line 1; accepted is each address of the built-in fleet once",
        ),
        ("a,192.0.2.7,up", Problem::Path, "path", "up", path),
        ("a,192.0.2.7,/a b", Problem::Path, "path", "/a b", path),
        ("a,192.0.2.7,/\u{e9}", Problem::Path, "path", "/\u{e9}", path),
    ];
    for (text, problem, field, value, accepted) in lines {
        let list = list(format!("once,127.0.0.9\r\n# {field}\n{text}\nlast,127.0.0.10\n"));
        assert_eq!(list.errors, [LineError { line: 3, problem, value: value.into() }], "{text}");
        assert_eq!(list.errors[0].to_string(), format!("line 3: {field} \"{value}\": {accepted}"));
        assert_eq!(list.origins.len(), 2, "a bad line hides no other: {text}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_shown_escaped() {
    let list = list(b"a,192.0.2.7\n\xffb,192.0.2.7\n");
    let error = LineError { line: 2, problem: Problem::NotUtf8, value: "\\xffb,192.0.2.7".into() };
    assert_eq!(list.errors, [error]);
    assert_eq!(list.errors[0].to_string(), r#"line 2: text "\xffb,192.0.2.7": accepted is UTF-8"#);
}

#[test]
fn the_longest_line_is_read_and_one_byte_more_is_not() {
    let line = |bytes: usize| format!("a,192.0.2.7,/{}", "p".repeat(bytes - "a,192.0.2.7,/".len()));
    for end in ["", "\n", "\r\n"] {
        assert_eq!(good(line(4_096) + end).len(), 1);
        for bytes in [4_097, 4_098, 4_099, 20_000] {
            let list = list(line(bytes) + end + "b,192.0.2.7");
            let glued = end.is_empty();
            assert_eq!((list.bad, list.errors[0].problem), (1, Problem::TooLong), "{bytes} bytes");
            assert_eq!(list.origins.len(), usize::from(!glued), "{bytes} bytes: the line after it");
        }
    }
}

#[test]
fn a_million_origins_are_read_and_no_more() {
    let mut text: String = (0..ORIGINS_MAX).map(|i| format!("n{i},192.0.2.7\n")).collect();
    assert_eq!(good(&text).len(), ORIGINS_MAX);
    text.push_str("\nmore,192.0.2.7\nbad\n");
    let list = list(&text);
    let error = LineError { line: 1_000_002, problem: Problem::TooMany, value: "more,192.0.2.7".into() };
    assert_eq!((list.errors, list.bad), (vec![error.clone()], 1));
    let told = r#"line 1000002: text "more,192.0.2.7": accepted are at most 1000000 origins"#;
    assert_eq!(error.to_string(), told);
}

#[test]
fn twenty_bad_lines_are_shown_and_the_others_counted() {
    let file = Scratch::new("twenty", "bad\n".repeat(23).as_bytes());
    let error = read(&file.0).unwrap_err();
    assert!(matches!(&error, FileError::Lines { first, all: 23, .. } if first.len() == 20));
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("{}: 23 bad lines\n  line 1: text \"bad\": ", file.0.display())),
        "{text}"
    );
    assert!(text.ends_with("\n  and 3 more"), "{text}");
    assert_eq!(text.lines().count(), 22);
}

#[test]
fn a_file_is_read() {
    let file = Scratch::new("read", b"name,address\na.example,127.0.0.1\n");
    let origins = read(&file.0).unwrap();
    assert_eq!(origins, [Origin::new("a.example", Target::Fleet(Ipv4Addr::LOCALHOST), "/health")]);
}

#[test]
fn a_file_without_origins_is_told() {
    for (test, text) in [("none", ""), ("blank", "\n\n"), ("header", "# all gone\nname,address\n")] {
        let file = Scratch::new(test, text.as_bytes());
        let error = read(&file.0).unwrap_err();
        assert!(matches!(&error, FileError::Empty { path } if *path == file.0));
        let told = "no origins; accepted is a line for each, name,address or name,address,path";
        assert_eq!(error.to_string(), format!("{}: {told}", file.0.display()));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let directory = std::env::temp_dir();
    for path in [directory.join("popmap-no-such-file"), directory] {
        let error = read(&path).unwrap_err();
        assert!(matches!(&error, FileError::Unreadable { path: told, .. } if *told == path));
        assert!(error.to_string().starts_with(&format!("{}: cannot be read: ", path.display())), "{error}");
    }
}

#[test]
fn a_file_that_does_not_end_is_told() {
    for byte in [b'x', b'\n'] {
        let mut list = List::default();
        let endless = BufReader::new(io::repeat(byte)).take(100_000);
        assert!(list.read(endless).unwrap() == Extent::TooLong);
    }
    let error = FileError::TooLong { path: "endless".into() };
    assert_eq!(error.to_string(), "endless: longer than 4098000000 bytes, which no list of origins is");
}
