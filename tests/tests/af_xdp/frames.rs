//! Frames that are damaged, foreign or for somebody else.

use popmap_io::address;
use popmap_io::encap::Ignored;

use super::*;

const OURS: [u8; 2] = [0x88, 0xb5];
const FOREIGN: [u8; 2] = [0x88, 0xb6];

/// A frame of `len` bytes to everyone, with these behind the EtherType.
fn framed(len: usize, ethertype: [u8; 2], behind: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; len];
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame[12..14].copy_from_slice(&ethertype);
    frame[14..14 + behind.len()].copy_from_slice(behind);
    frame
}

fn ignored(device: &XdpDevice) -> Vec<(Ignored, u64)> {
    device.encap_stats().ignored().filter(|&(_, count)| count > 0).collect()
}

#[test]
fn what_is_wrong_with_a_frame_is_counted() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            for mode in MODES {
                let mut left = bind_in(mode, "left", &bare());
                let mut wire = packet_device("right");
                let mac = address::to_mac(left.local()).unwrap();
                let good = framed(60, OURS, b"PM\x01\0\0\x05hello");
                let (mut own, mut group) = (good.clone(), good.clone());
                own[6..12].copy_from_slice(&mac.0);
                group[6] |= 1;
                for (frame, expected) in [
                    // Nothing behind the header, and less than is said.
                    (framed(14, OURS, b""), Ignored::Truncated),
                    (framed(60, OURS, b"PM\x01\0\0\x64"), Ignored::Truncated),
                    (framed(1_470, OURS, b"PM\x01\0\x05\x7a"), Ignored::Oversize),
                    (framed(300, OURS, b"PM\x01\0\0\x05"), Ignored::Trailing),
                    (framed(60, OURS, b"PM\x02\0\0\x05"), Ignored::OtherProtocol),
                    (own, Ignored::Own),
                    (group, Ignored::SourceMac),
                ] {
                    let count = |device: &XdpDevice| device.encap_stats().ignored[expected.index()];
                    let before = count(&left);
                    wire.inject(&frame).unwrap();
                    wait_for("it is counted", || {
                        assert!(take(&mut left).is_empty());
                        count(&left) == before + 1
                    });
                }
                let stats = left.stats();
                assert_eq!((stats.received, stats.oversize, stats.ignored), (0, 1, 6));
                wire.inject(&good).unwrap();
                assert_eq!(take_some(&mut left, 1)[0].1, b"hello");
            }
        });
    });
}

#[test]
fn what_is_not_ours_is_passed_to_the_kernel() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 1);
            for mode in MODES {
                let mut left = bind_in(mode, "left", &bare());
                let mut wire = packet_device("right");
                // Packet sockets hear what the kernel was passed.
                let other = Framing::Ethernet { ethertype: 0x88b6 };
                let bind =
                    |encap: &EncapConfig| PacketDevice::bind("left", encap, &PacketConfig::DEFAULT).unwrap();
                let mut foreign = bind(&EncapConfig::new(other).insecure(true));
                let mut tagged = bind(&EncapConfig { vlan: Some(42), ..bare() });
                let mut ours = bind(&bare());
                wire.inject(&framed(60, FOREIGN, b"PM\x01\0\0\x07foreign")).unwrap();
                assert_eq!(take_some(&mut foreign, 1)[0].1, b"foreign");
                wire.inject(&framed(64, [0x81, 0], b"\0\x2a\x88\xb5PM\x01\0\0\x06tagged")).unwrap();
                assert_eq!(take_some(&mut tagged, 1)[0].1, b"tagged");
                let mut elsewhere = framed(60, OURS, b"PM\x01\0\0\x05");
                elsewhere[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x99]);
                let heard = ours.stats().ignored;
                wire.inject(&elsewhere).unwrap();
                wait_for("it is passed", || take(&mut ours).is_empty() && ours.stats().ignored > heard);
                assert!(take(&mut left).is_empty() && ignored(&left).is_empty());
                // And what is ours is not.
                wire.inject(&framed(60, OURS, b"PM\x01\0\0\x04ours")).unwrap();
                assert_eq!(take_some(&mut left, 1)[0].1, b"ours");
                assert!(take(&mut ours).is_empty());
            }
        });
    });
}
