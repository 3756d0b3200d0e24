//! Fragments of copies: those of one that was built, in any order, and those that a hostile sender thinks of.

use helio_encap::{
    Buffers, Decapsulated, Fragment, MAX_FRAGMENTS, MOST_DATAGRAMS, Reassembly, Refusal, WAIT_NS,
    parse_assembled,
};
use helio_offload::sum_words;

use crate::Outcome;
use crate::input::Input;

/// Buffers, of which none may be taken twice at a time or given back unasked.
#[derive(Debug, Default)]
pub(super) struct InUse([bool; MOST_DATAGRAMS]);

impl InUse {
    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|used| **used).count()
    }
}

impl Buffers for InUse {
    fn take(&mut self) -> Option<u16> {
        let free = self.0.iter().position(|used| !used)?;
        self.0[free] = true;
        u16::try_from(free).ok()
    }

    fn give_back(&mut self, buffer: u16) {
        assert!(std::mem::take(&mut self.0[usize::from(buffer)]), "it was not in use");
    }
}

/// What a frame says of itself as a fragment, beside what it says as a copy.
pub(super) fn assert_fragment(
    head: &[u8],
    frame_bytes: u32,
    judged: &Result<Decapsulated, Refusal>,
) {
    match (Fragment::read(head, frame_bytes), judged) {
        (Ok(Some(it)), Err(Refusal::Fragment)) => {
            assert!(it.data_bytes() > 0 && it.data_start() as usize <= head.len());
            assert!(it.data_start() + it.data_bytes() <= frame_bytes);
            assert!(it.start() + it.data_bytes() <= 65_535);
        }
        (Err(Refusal::FragmentLength | Refusal::Protocol), Err(Refusal::Fragment)) => {}
        (Ok(None), judged) => assert_ne!(*judged, Err(Refusal::Fragment)),
        (Err(reason), judged) => assert_eq!(*judged, Err(reason)),
        (found, judged) => panic!("{found:?} beside {judged:?}"),
    }
}

/// The headers of all parts of a copy are put together, beginning with the one at `first`. What is read then.
pub(super) fn join(parts: &[(Vec<u8>, u32)], first: usize, vxlan_port: u16) -> Decapsulated {
    let (mut table, mut buffers) = (Reassembly::new(), InUse::default());
    let mut shim = Vec::new();
    for at in 0..parts.len() {
        let (head, wire_bytes) = &parts[(first + at) % parts.len()];
        let fragment = Fragment::read(head, *wire_bytes).unwrap().unwrap();
        let buffer = table.keep(&fragment, 0, &mut buffers).unwrap();
        if fragment.start() == 0 {
            shim = head[fragment.data_start() as usize..].to_vec();
        }
        let whole = table.written(buffer);
        assert_eq!(whole.is_some(), at + 1 == parts.len());
        if let Some(whole) = whole {
            return parse_assembled(&shim, &whole, vxlan_port).unwrap();
        }
    }
    panic!("there are no parts")
}

/// The head of a fragment of one of few datagrams, and the length of its frame.
fn hostile(input: &mut Input<'_>) -> (Vec<u8>, u32) {
    let (kind, start, bytes) = (input.u8(), input.u8(), u16::from(input.u8()));
    let (is_v6, more, id) = (kind & 1 == 1, kind >> 1 & 1, kind >> 2 & 0x1f);
    let bytes = if kind & 0x80 == 0 { bytes * 8 } else { bytes };
    let mut head = vec![2; 12];
    if is_v6 {
        let [l0, l1] = (bytes + 8).to_be_bytes();
        let [o0, o1] = (u16::from(start) << 3 | u16::from(more)).to_be_bytes();
        head.extend([0x86, 0xdd, 0x60, 0, 0, 0, l0, l1, 44, 64]);
        head.extend([0xfd; 32]);
        head.extend([47, 0, o0, o1, 0, 0, 0, id]);
    } else {
        let [l0, l1] = (bytes + 20).to_be_bytes();
        let mut ip =
            [0x45, 0, l0, l1, 0, id, more << 5, start, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let [s0, s1] = (!sum_words(&ip)).to_be_bytes();
        (ip[10], ip[11]) = (s0, s1);
        head.extend([8, 0]);
        head.extend(ip);
    }
    let frame_bytes = u32::try_from(head.len()).unwrap() + u32::from(bytes);
    (head, frame_bytes)
}

/// Fragments of datagrams that meet, with time between them.
pub(super) fn stream(input: &mut Input<'_>) -> Outcome {
    let (mut table, mut buffers) = (Reassembly::new(), InUse::default());
    let mut outcome = Outcome::default();
    let (mut now_ns, mut came) = (0, 0);
    while !input.is_empty() && came < 500 {
        now_ns += u64::from(input.u8()) * (WAIT_NS / 500);
        let (head, frame_bytes) = hostile(input);
        table.give_up_old(now_ns, &mut buffers);
        let Ok(Some(fragment)) = Fragment::read(&head, frame_bytes) else { continue };
        came += 1;
        let kept = table.keep(&fragment, now_ns, &mut buffers);
        outcome.count(&kept.ok_or(()));
        if let Some(buffer) = kept
            && let Some(whole) = table.written(buffer)
        {
            assert!(whole.payload_bytes() >= fragment.start() + fragment.data_bytes());
            buffers.give_back(buffer);
        }
        let counts = table.counts();
        let refused: u64 = table.refused().iter().sum();
        assert_eq!(counts.joined + counts.waiting + refused, came);
        assert!(counts.waiting <= u64::from(MAX_FRAGMENTS) * buffers.count() as u64);
    }
    table.give_up_old(now_ns + WAIT_NS, &mut buffers);
    assert_eq!((table.counts().waiting, buffers.count()), (0, 0));
    outcome
}
