//! Frames of all kinds, the same at each run.

use fastrand::Rng;

/// `count` frames.
pub(crate) fn frames(count: usize) -> Vec<Vec<u8>> {
    let mut rng = Rng::with_seed(14);
    (0..count).map(|_| frame(&mut rng)).collect()
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// One in `n`.
fn rarely(rng: &mut Rng, n: u32) -> bool {
    rng.u32(..n) == 0
}

fn bytes(rng: &mut Rng, count: usize) -> Vec<u8> {
    (0..count).map(|_| rng.u8(..)).collect()
}

fn frame(rng: &mut Rng) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(mac(rng));
    frame.extend(mac(rng));
    for _ in 0..pick(rng, &[0, 0, 0, 0, 0, 1, 1, 1, 2, 2]) {
        frame.extend(pick(rng, &[[0x81, 0], [0x81, 0], [0x81, 0], [0x88, 0xa8], [0x91, 0]]));
        let vlan = pick(rng, &[0_u16, 1, 10, 10, 20, 100, 4094]);
        frame.extend((vlan | u16::from(rng.u8(..8)) << 13).to_be_bytes());
    }
    let (kind, payload) = match rng.u8(..20) {
        0 => (0x0806, arp(rng)),
        1 => (pick(rng, &[0x8035, 0x88cc, 0x8847, 0x8864, 0x88b5]), some_bytes(rng)),
        2 => llc(rng),
        3..=11 => (0x0800, ipv4(rng)),
        _ => (0x86dd, ipv6(rng)),
    };
    frame.extend(u16::to_be_bytes(kind));
    frame.extend(payload);
    if rarely(rng, 10) {
        frame.truncate(rng.usize(..=frame.len()));
    } else if frame.len() < 60 && rng.bool() {
        frame.resize(60, 0);
    }
    frame
}

fn mac(rng: &mut Rng) -> [u8; 6] {
    match rng.u8(..12) {
        0 => [0xff; 6],
        1 => [1, 0, 0x5e, 0, 0, 1],
        2 => [0x33, 0x33, 0, 0, 0, 1],
        _ => [2, 0, 0, 0, 0, rng.u8(1..5)],
    }
}

fn some_bytes(rng: &mut Rng) -> Vec<u8> {
    let most = pick(rng, &[10, 40, 200, 200, 1400]);
    let count = rng.usize(..most);
    bytes(rng, count)
}

fn arp(rng: &mut Rng) -> Vec<u8> {
    let operation = rng.u8(1..3);
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, operation];
    for _ in 0..2 {
        arp.extend(mac(rng));
        arp.extend(address4(rng));
    }
    arp
}

/// A length in the place of a type, and a header of IEEE 802.2.
fn llc(rng: &mut Rng) -> (u16, Vec<u8>) {
    let sap = pick(rng, &[0x42, 0xaa, 0xe0]);
    let payload = [vec![sap, sap, 3], bytes(rng, 35)].concat();
    (38, payload)
}

fn address4(rng: &mut Rng) -> [u8; 4] {
    match rng.u8(..10) {
        0 => [255; 4],
        1 => [224, 0, 0, rng.u8(1..4)],
        2..=4 => [192, 168, 1, rng.u8(..)],
        _ => [10, 0, 0, rng.u8(1..9)],
    }
}

fn address6(rng: &mut Rng) -> [u8; 16] {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&pick(rng, &[[0xfd, 0], [0xfd, 0], [0xfe, 0x80], [0xff, 2]]));
    address[7] = pick(rng, &[0, 0, 0, 1]);
    address[15] = rng.u8(1..9);
    address
}

fn ipv4(rng: &mut Rng) -> Vec<u8> {
    let protocol = pick(rng, &[6, 6, 6, 17, 17, 1, 2, 132, 50, 51, 47]);
    let payload = transport(rng, protocol);
    let option_words = pick(rng, &[0, 0, 0, 1, 2, 10]);
    let header_bytes = 20 + 4 * option_words;
    let total = u16::try_from(header_bytes + payload.len()).unwrap();
    let fragment: u16 = match rng.u8(..8) {
        0 => 0x2000,
        1 => 0x2000 | rng.u16(1..0x1fff),
        2 => rng.u16(1..0x1fff),
        _ => pick(rng, &[0, 0x4000]),
    };
    let mut ip = vec![0x40 | u8::try_from(header_bytes / 4).unwrap(), rng.u8(..)];
    ip.extend(total.to_be_bytes());
    ip.extend(bytes(rng, 2));
    ip.extend(fragment.to_be_bytes());
    ip.extend([pick(rng, &[1, 4, 64, 128, 255]), protocol]);
    ip.extend(bytes(rng, 2));
    ip.extend(address4(rng));
    ip.extend(address4(rng));
    ip.extend(bytes(rng, 4 * option_words));
    ip.extend(payload);
    ip
}

fn ipv6(rng: &mut Rng) -> Vec<u8> {
    let protocol = pick(rng, &[6, 6, 6, 17, 17, 58, 58, 132, 50]);
    let mut next = protocol;
    let mut payload = transport(rng, protocol);
    for _ in 0..pick(rng, &[0, 0, 0, 1, 1, 2, 3]) {
        // Hop-by-hop, routing, fragment and destination options, in any order.
        let kind = pick(rng, &[0, 43, 44, 60]);
        let words = if kind == 44 { 0 } else { rng.u8(..3) };
        let header = [vec![next, words], bytes(rng, 6 + 8 * usize::from(words))].concat();
        payload.splice(0..0, header);
        next = kind;
    }
    let mut ip = vec![0x60 | rng.u8(..16), rng.u8(..), rng.u8(..), rng.u8(..)];
    ip.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    ip.extend([next, pick(rng, &[1, 64, 255])]);
    ip.extend(address6(rng));
    ip.extend(address6(rng));
    ip.extend(payload);
    ip
}

fn transport(rng: &mut Rng, protocol: u8) -> Vec<u8> {
    let mut data = some_bytes(rng);
    if rarely(rng, 6) {
        data.splice(0..0, *b"GET / HTTP/1.1");
    }
    let header = match protocol {
        6 => tcp(rng),
        17 => {
            let length = u16::try_from(8 + data.len()).unwrap();
            [ports(rng), length.to_be_bytes().to_vec(), bytes(rng, 2)].concat()
        }
        132 => [ports(rng), bytes(rng, 8)].concat(),
        1 => {
            let code = if rng.bool() { 0 } else { 4 };
            [vec![pick(rng, &[0, 3, 8, 11]), code], bytes(rng, 6)].concat()
        }
        58 => [vec![pick(rng, &[1, 128, 129, 135, 136]), 0], bytes(rng, 6)].concat(),
        _ => bytes(rng, 8),
    };
    [header, data].concat()
}

fn ports(rng: &mut Rng) -> Vec<u8> {
    let mut port = || match rng.u8(..3) {
        0 => rng.u16(..),
        _ => pick(rng, &[22_u16, 53, 53, 80, 80, 443, 1433, 8080]),
    };
    [port().to_be_bytes(), port().to_be_bytes()].concat()
}

fn tcp(rng: &mut Rng) -> Vec<u8> {
    let option_words = pick(rng, &[0, 0, 3, 10]);
    let flags = pick(rng, &[0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0xff]);
    let offset = u8::try_from(5 + option_words).unwrap() << 4;
    let numbers = bytes(rng, 8);
    let behind = bytes(rng, 6 + 4 * option_words);
    [ports(rng), numbers, vec![offset, flags], behind].concat()
}
