//! Outer headers: frames of any bytes that are read as mirror streams, and copies of any settings that are built and read.
//!
//! A copy that was found lies in its frame and is found again with any head that holds its outer headers; what was built is
//! what is read, and the parts of a copy are the frame in order, each no longer than its path takes. What was sent in fragments
//! is put together from them, and no fragments take more than their table has.

mod fragments;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use helio_encap::{
    Addresses, CopyFields, Cos, Decapsulated, Direction, DontFragment, Dscp, Encapsulation,
    ErspanSession, GreSequence, HardwareId, MAX_FRAGMENTS, MAX_OUTER_BYTES, NoFit, OuterHeader,
    OuterTag, Oversize, Path, Plan, Refusal, SnapLen, SourceIndex, Stream, SubHeaderChoice,
    Template, Timestamp, Truncation, UdpChecksum, Underlay, VXLAN_PORT, Vni, parse,
};
use helio_types::{MacAddr, VlanId};

use crate::Outcome;
use crate::input::Input;

/// Runs one input: a frame or, by the second bit, a stream of fragments when it begins with an even byte, else a copy to be
/// built.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let mut outcome = Outcome::default();
    match input.u8() & 3 {
        0 => outcome.count(&read(&mut input)),
        2 => outcome = fragments::stream(&mut input),
        _ => outcome.count(&build(&mut input)),
    }
    outcome
}

/// Reads a frame with all its bytes in the head, and with fewer.
fn read(input: &mut Input<'_>) -> Result<Decapsulated, Refusal> {
    let more = u32::from(input.u16());
    let head = input.bytes(2048);
    let frame_bytes = u32::try_from(head.len()).unwrap() + more;
    let judged = parse(head, frame_bytes, VXLAN_PORT);
    fragments::assert_fragment(head, frame_bytes, &judged);
    for cut in 0..head.len() {
        let with_less = parse(&head[..cut], frame_bytes, VXLAN_PORT);
        assert!(with_less == judged || with_less == Err(Refusal::HeaderLong), "at {cut}");
        let is_enough = judged.is_ok_and(|copy| cut >= copy.inner_start as usize);
        assert!(!is_enough || with_less == judged, "more is needed than the outer headers");
    }
    match judged {
        Ok(copy) => {
            let (start, bytes) = (copy.inner_start, copy.inner_bytes);
            assert!(bytes >= 14 && start.checked_add(bytes).unwrap() <= frame_bytes);
            assert_eq!(copy.remote_session().session, copy.stream.session());
            // What follows the datagram does not matter, and none of it may be missing.
            assert_eq!(parse(head, frame_bytes + 1, VXLAN_PORT), judged);
            let all = head.get(..(start + bytes) as usize);
            let short = all.map(|all| parse(&all[..all.len() - 1], start + bytes - 1, VXLAN_PORT));
            assert!(short.is_none_or(|short| short.is_err()));
        }
        // Only what lies beyond the head cannot be judged, and only what lies beyond the frame is missing.
        Err(Refusal::HeaderLong) => assert!(more > 0),
        Err(reason) => assert!(Refusal::ALL.contains(&reason)),
    }
    judged
}

/// Settings of a session, and what it makes of one frame.
fn build(input: &mut Input<'_>) -> Result<Plan, NoFit> {
    let underlay = underlay(input);
    let encapsulation = encapsulation(input);
    let copy = copy(input);
    let path = path(input);
    let snap = u32::from(input.u16());
    let frame_bytes = u32::from(input.u16()) + u32::from(input.u8());
    let snap_len = SnapLen::new(snap).unwrap_or(SnapLen::WHOLE);
    let template = Template::new(&underlay, encapsulation);
    let plan = template.plan(frame_bytes, snap_len, path)?;
    let wanted = frame_bytes.min(snap_len.bytes());
    assert!(plan.inner_bytes() <= wanted && (1..=MAX_FRAGMENTS).contains(&plan.count()));
    assert_eq!(plan.truncation() == Truncation::Cut, plan.inner_bytes() < frame_bytes);
    assert!(plan.inner_bytes() == wanted || path.oversize == Oversize::Truncate);
    assert!(plan.count() == 1 || path.oversize == Oversize::Fragment);
    let mut header = OuterHeader::new();
    let mut next = 0;
    let mut fragments = Vec::new();
    for part in plan.parts() {
        assert_eq!(part.inner_start(), next);
        next += part.inner_bytes();
        template.fill(&copy, &part, &mut header);
        let bytes = header.bytes().len();
        assert!(bytes <= MAX_OUTER_BYTES);
        let wire_bytes = u32::try_from(bytes).unwrap() + part.inner_bytes();
        let ethernet_bytes = if underlay.tag.is_some() { 18 } else { 14 };
        assert!(wire_bytes <= u32::from(path.mtu_bytes) + ethernet_bytes);
        let read = parse(header.bytes(), wire_bytes, port(encapsulation));
        if plan.count() > 1 {
            assert_eq!(read, Err(Refusal::Fragment));
            fragments.push((header.bytes().to_vec(), wire_bytes));
        } else if part.inner_bytes() < 14 {
            assert_eq!(read, Err(Refusal::InnerRunt));
        } else {
            let read = read.unwrap();
            assert_eq!(bytes, template.outer_bytes());
            assert_eq!((read.inner_start as usize, read.inner_bytes), (bytes, plan.inner_bytes()));
            assert_told(encapsulation, &copy, &plan, &read.stream);
        }
    }
    assert_eq!(next, plan.inner_bytes());
    if fragments.len() > 1 && plan.inner_bytes() >= 14 {
        let first = usize::from(input.u8());
        let read = fragments::join(&fragments, first, port(encapsulation));
        assert_eq!(read.inner_bytes, plan.inner_bytes());
        assert_told(encapsulation, &copy, &plan, &read.stream);
    }
    Ok(plan)
}

fn underlay(input: &mut Input<'_>) -> Underlay {
    let (kind, hop_limit) = (input.u8(), input.u8());
    let vlan = VlanId::new(input.u16() & 0xfff).unwrap_or_default();
    let tag = OuterTag { vlan, cos: Cos::of_low_bits(kind >> 2) };
    let mut v6 = || IpAddr::V6(Ipv6Addr::from_bits(u128::from(input.u64()) << 50));
    let (source, destination) = match kind & 1 {
        0 => (v6(), v6()),
        _ => {
            let mut v4 = || IpAddr::V4(Ipv4Addr::from_bits(input.u32()));
            (v4(), v4())
        }
    };
    Underlay {
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        tag: (kind & 2 != 0).then_some(tag),
        addresses: Addresses::new(source, destination).unwrap(),
        dscp: Dscp::of_low_bits(hop_limit),
        hop_limit: NonZeroU8::new(hop_limit).unwrap_or(NonZeroU8::MIN),
        dont_fragment: if kind & 0x80 == 0 { DontFragment::Set } else { DontFragment::Clear },
    }
}

fn encapsulation(input: &mut Input<'_>) -> Encapsulation {
    let (kind, number) = (input.u8(), input.u32());
    let [high, low, ..] = number.to_be_bytes();
    let session = ErspanSession::of_low_bits(u16::from_be_bytes([high, low]));
    let is_set = kind & 0x80 != 0;
    match kind % 5 {
        0 => Encapsulation::ErspanI,
        1 => Encapsulation::ErspanII { session },
        2 => Encapsulation::ErspanIII {
            session,
            security_group: u16::from_be_bytes([high, low]),
            hardware: HardwareId::of_low_bits(low),
            sub_header: if is_set { SubHeaderChoice::SourceIndex } else { SubHeaderChoice::Absent },
        },
        3 => Encapsulation::Gre {
            key: (kind & 0x40 != 0).then_some(number),
            sequence: if is_set { GreSequence::Present } else { GreSequence::Absent },
        },
        _ => Encapsulation::Vxlan {
            vni: Vni::of_low_bits(number),
            port: u16::from_be_bytes([high, low]),
            checksum: if is_set { UdpChecksum::Complete } else { UdpChecksum::Zero },
        },
    }
}

fn copy(input: &mut Input<'_>) -> CopyFields {
    let flags = input.u8();
    CopyFields {
        sequence: input.u32(),
        identification: input.u32(),
        vlan: VlanId::new(input.u16() & 0xfff).unwrap_or_default(),
        cos: Cos::of_low_bits(flags),
        truncation: if flags & 0x40 == 0 { Truncation::Whole } else { Truncation::Cut },
        direction: if flags & 0x80 == 0 { Direction::Ingress } else { Direction::Egress },
        source: SourceIndex::of_low_bits(input.u32()),
        timestamp: Timestamp(input.u64()),
        flow_hash: input.u32(),
        inner_sum: input.u16(),
        ..CopyFields::default()
    }
}

fn path(input: &mut Input<'_>) -> Path {
    let oversize = match input.u8() % 3 {
        0 => Oversize::Truncate,
        1 => Oversize::Fragment,
        _ => Oversize::Drop,
    };
    Path { mtu_bytes: input.u16(), oversize }
}

fn port(encapsulation: Encapsulation) -> u16 {
    match encapsulation {
        Encapsulation::Vxlan { port, .. } => port,
        _ => VXLAN_PORT,
    }
}

/// What the headers tell is what was to be told.
fn assert_told(encapsulation: Encapsulation, copy: &CopyFields, plan: &Plan, stream: &Stream) {
    let number = encapsulation.is_numbered().then_some(copy.sequence);
    assert_eq!(stream.sequence(), number);
    let truncation = plan.truncation().or(copy.truncation);
    assert!(stream.truncation().is_none_or(|told| told == truncation));
    assert!(stream.direction().is_none_or(|direction| direction == copy.direction));
    let session = match encapsulation {
        Encapsulation::ErspanI => None,
        Encapsulation::ErspanII { session } | Encapsulation::ErspanIII { session, .. } => {
            Some(u32::from(session.get()))
        }
        Encapsulation::Gre { key, .. } => key,
        Encapsulation::Vxlan { vni, .. } => Some(vni.get()),
    };
    assert_eq!(stream.session(), session);
    match stream {
        Stream::ErspanII { header, .. } => {
            assert_eq!((header.vlan, header.cos), (copy.vlan.into(), copy.cos));
            assert_eq!(header.index, copy.source);
        }
        Stream::ErspanIII { header, .. } => {
            assert_eq!((header.vlan, header.cos), (copy.vlan.into(), copy.cos));
            let sub_header = header.sub_header;
            assert!(sub_header.is_none_or(|sub| sub.source() == Some(copy.source.get())));
            assert_eq!(header.full_timestamp(), sub_header.map(|_| copy.timestamp));
        }
        Stream::ErspanI | Stream::Gre { .. } | Stream::Vxlan { .. } => {}
    }
}
