//! Which messages of a front-end are handed on, in what order, and which are answered or refused at the gate. Pure.

use std::collections::BTreeMap;

use vhost::vhost_user::message::{FrontendReq, VhostUserProtocolFeatures, VhostUserVirtioFeatures};

use super::message::{FLAG_REPLY, Message};
use super::regions::{Change, MAX_REGIONS, Regions, are_whole_pages};
use crate::features;

/// What happens to a message.
#[derive(Debug)]
pub(super) enum Verdict {
    /// These are handed on, in order.
    Pass(Vec<Judged>),
    /// It is done, and this is said about it.
    Answer(Option<Message>),
    /// The session ends, for this reason.
    Refuse(String),
}

/// A message to be handed on.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) message: Message,
    /// The back-end will answer it.
    pub(super) is_answered: bool,
}

/// What the gate remembers of a session.
#[derive(Debug)]
pub(super) struct Rules {
    rings: u32,
    /// What the front-end acknowledged, once it did.
    features: Option<u64>,
    /// Messages may ask for an answer.
    reply_ack: bool,
    /// Rings that were enabled (1) or disabled (0) before features were set.
    early: BTreeMap<u32, u32>,
    regions: Regions,
}

impl Rules {
    pub(super) fn new(rings: u32) -> Self {
        Self {
            rings,
            features: None,
            reply_ack: false,
            early: BTreeMap::new(),
            regions: Regions::default(),
        }
    }

    pub(super) fn judge(&mut self, mut message: Message) -> Verdict {
        let id = message.id;
        if message.flags & FLAG_REPLY != 0 {
            return refuse(format!("message {id} marked as a reply"));
        }
        let Ok(request) = FrontendReq::try_from(id) else {
            return refuse(format!("message {id}, which is not known"));
        };
        if let Some(ring) = named_ring(request, &message).filter(|ring| *ring >= self.rings) {
            return self.too_many_pairs(ring);
        }
        match request {
            FrontendReq::SET_FEATURES => return self.set_features(message),
            FrontendReq::SET_PROTOCOL_FEATURES => return self.set_protocol_features(message),
            FrontendReq::SET_VRING_ENABLE => return self.set_vring_enable(message),
            // Deprecated; to be ignored, or to disable all rings. vhost-user, "VHOST_USER_RESET_OWNER".
            FrontendReq::RESET_OWNER => return self.done(&message),
            FrontendReq::SET_MEM_TABLE | FrontendReq::ADD_MEM_REG
                if !are_whole_pages(&message.payload, &message.fds) =>
            {
                return refuse("a memory region that is not made of whole huge pages".to_owned());
            }
            FrontendReq::SET_MEM_TABLE => {
                self.regions.replaced();
                sort_regions(&mut message);
            }
            FrontendReq::ADD_MEM_REG => match self.regions.added(&message.payload, &message.fds) {
                Change::Real => {}
                Change::Counted => return self.done(&message),
                Change::TooMany => {
                    return refuse(format!("more than {MAX_REGIONS} memory regions"));
                }
            },
            FrontendReq::REM_MEM_REG => {
                if self.regions.removed(&message.payload) == Change::Counted {
                    return self.done(&message);
                }
            }
            FrontendReq::GET_MAX_MEM_SLOTS => return max_mem_slots(&message),
            FrontendReq::GET_FEATURES
            | FrontendReq::SET_OWNER
            | FrontendReq::SET_VRING_NUM
            | FrontendReq::SET_VRING_ADDR
            | FrontendReq::SET_VRING_BASE
            | FrontendReq::GET_VRING_BASE
            | FrontendReq::SET_VRING_KICK
            | FrontendReq::SET_VRING_CALL
            | FrontendReq::SET_VRING_ERR
            | FrontendReq::GET_PROTOCOL_FEATURES
            | FrontendReq::GET_QUEUE_NUM => {}
            other => return refuse(format!("message {other:?}, which is not supported")),
        }
        let is_answered = self.wants_answer(&message) || has_own_reply(request);
        Verdict::Pass(vec![Judged { message, is_answered }])
    }

    /// Ends the session of a front-end that has more queue pairs than the port. It was told how many rings there are, and
    /// those that take that for pairs are found out by the first ring too many.
    fn too_many_pairs(&self, ring: u32) -> Verdict {
        let (needed, pairs) = (ring / 2 + 1, self.rings / 2);
        refuse(format!(
            "a message for ring {ring}, which takes {needed} queue pairs, and the port has {pairs}; write the same number for both"
        ))
    }

    fn wants_answer(&self, message: &Message) -> bool {
        self.reply_ack && message.needs_reply()
    }

    fn done(&self, message: &Message) -> Verdict {
        Verdict::Answer(self.wants_answer(message).then(|| Message::done(message.id)))
    }

    /// Features come first for the back-end, then what was said about rings before.
    fn set_features(&mut self, message: Message) -> Verdict {
        self.features = message.number();
        let is_answered = self.wants_answer(&message);
        let mut passed = vec![Judged { message, is_answered }];
        let early = std::mem::take(&mut self.early);
        if self.switches_rings() {
            passed.extend(early.into_iter().map(|(ring, enable)| Judged {
                message: Message {
                    id: u32::from(FrontendReq::SET_VRING_ENABLE),
                    flags: 1,
                    payload: [ring.to_ne_bytes(), enable.to_ne_bytes()].concat(),
                    fds: Vec::new(),
                },
                is_answered: false,
            }));
        }
        Verdict::Pass(passed)
    }

    /// Whether rings are enabled by messages. Without protocol features they are enabled from their start.
    fn switches_rings(&self) -> bool {
        let bit = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        self.features.is_some_and(|features| features & bit != 0)
    }

    fn set_protocol_features(&mut self, message: Message) -> Verdict {
        let offered = features::protocol().bits();
        let chosen = message.number().unwrap_or(0);
        if chosen & !offered != 0 {
            return refuse(format!("protocol features {chosen:#x}, and {offered:#x} are offered"));
        }
        self.reply_ack = chosen & VhostUserProtocolFeatures::REPLY_ACK.bits() != 0;
        let is_answered = self.wants_answer(&message);
        Verdict::Pass(vec![Judged { message, is_answered }])
    }

    fn set_vring_enable(&mut self, message: Message) -> Verdict {
        let (ring, enable) = (message.word(0), message.word(1));
        let (Some(ring), Some(enable @ 0..=1), 8) = (ring, enable, message.payload.len()) else {
            return refuse("a message SET_VRING_ENABLE that is malformed".to_owned());
        };
        if self.features.is_none() {
            self.early.insert(ring, enable);
            return self.done(&message);
        }
        if !self.switches_rings() && enable == 1 {
            return self.done(&message);
        }
        let is_answered = self.wants_answer(&message);
        Verdict::Pass(vec![Judged { message, is_answered }])
    }
}

fn refuse(what: String) -> Verdict {
    Verdict::Refuse(what)
}

/// Whether the back-end answers without being asked to.
fn has_own_reply(request: FrontendReq) -> bool {
    matches!(
        request,
        FrontendReq::GET_FEATURES
            | FrontendReq::GET_VRING_BASE
            | FrontendReq::GET_PROTOCOL_FEATURES
            | FrontendReq::GET_QUEUE_NUM
    )
}

/// The answer to GET_MAX_MEM_SLOTS.
fn max_mem_slots(message: &Message) -> Verdict {
    if !message.payload.is_empty() || !message.fds.is_empty() {
        return refuse("a message GET_MAX_MEM_SLOTS that is malformed".to_owned());
    }
    Verdict::Answer(Some(Message::number_reply(message.id, MAX_REGIONS as u64)))
}

/// The ring that a message is about, if it is whole. vhost-user, "A vring state description", "A vring address description"
/// and "A vring descriptor index".
fn named_ring(request: FrontendReq, message: &Message) -> Option<u32> {
    let bytes = message.payload.len();
    match request {
        FrontendReq::SET_VRING_NUM
        | FrontendReq::SET_VRING_BASE
        | FrontendReq::GET_VRING_BASE
        | FrontendReq::SET_VRING_ENABLE => message.word(0).filter(|_| bytes == RING_STATE_BYTES),
        FrontendReq::SET_VRING_ADDR => message.word(0).filter(|_| bytes == RING_ADDRESS_BYTES),
        FrontendReq::SET_VRING_KICK | FrontendReq::SET_VRING_CALL | FrontendReq::SET_VRING_ERR => {
            message.number().and_then(|number| u32::try_from(number & RING_OF_DESCRIPTOR).ok())
        }
        _ => None,
    }
}

/// Number and value of a ring; number, flags and four addresses of one.
const RING_STATE_BYTES: usize = 8;
const RING_ADDRESS_BYTES: usize = 40;
/// Bits of the ring's number beside a descriptor.
const RING_OF_DESCRIPTOR: u64 = 0xff;

/// Count and padding before the regions of SET_MEM_TABLE, and the bytes of one region: guest address first.
const TABLE_HEADER_BYTES: usize = 8;
const REGION_BYTES: usize = 32;

/// Brings the regions of a memory table into the order of their guest addresses, which the back-end needs, and their
/// descriptors with them. What is not a table is left as it is, and refused there.
fn sort_regions(message: &mut Message) {
    let Some((header, regions)) = message.payload.split_at_checked(TABLE_HEADER_BYTES) else {
        return;
    };
    let (regions, rest) = regions.as_chunks::<REGION_BYTES>();
    if !rest.is_empty() || regions.len() != message.fds.len() {
        return;
    }
    let guest_addr = |region: &[u8; REGION_BYTES]| {
        region.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    let fds = std::mem::take(&mut message.fds);
    let mut both: Vec<_> = regions.iter().copied().zip(fds).collect();
    both.sort_by_key(|(region, _)| guest_addr(region));
    let mut payload = header.to_vec();
    for (region, fd) in both {
        payload.extend_from_slice(&region);
        message.fds.push(fd);
    }
    message.payload = payload;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::message::FLAG_NEED_REPLY;
    use std::os::fd::AsRawFd;

    const ACK: u64 = 1 << 3;
    const WITH_PROTOCOL: u64 = 1 << 30;

    fn message(request: FrontendReq, payload: impl Into<Vec<u8>>) -> Message {
        let payload = payload.into();
        Message { id: request as u32, flags: 1 | FLAG_NEED_REPLY, payload, fds: Vec::new() }
    }

    fn enable(ring: u32, value: u32) -> Message {
        message(FrontendReq::SET_VRING_ENABLE, [ring.to_ne_bytes(), value.to_ne_bytes()].concat())
    }

    fn acknowledging() -> Rules {
        let mut rules = Rules::new(4);
        rules.judge(message(FrontendReq::SET_PROTOCOL_FEATURES, ACK.to_ne_bytes()));
        rules
    }

    fn passed(verdict: Verdict) -> Vec<(u32, Vec<u8>, bool)> {
        let Verdict::Pass(messages) = verdict else { panic!("{verdict:?}") };
        let facts = |j: Judged| (j.message.id, j.message.payload, j.is_answered);
        messages.into_iter().map(facts).collect()
    }

    #[test]
    fn rings_enabled_before_features_are_set_are_enabled_afterwards() {
        let mut rules = acknowledging();
        for (ring, value) in [(1, 1), (0, 1), (1, 0)] {
            let verdict = rules.judge(enable(ring, value));
            let Verdict::Answer(Some(answer)) = verdict else { panic!("{verdict:?}") };
            assert_eq!((answer.id, answer.number()), (18, Some(0)));
        }
        let set = rules.judge(message(FrontendReq::SET_FEATURES, WITH_PROTOCOL.to_ne_bytes()));
        let expected = [
            (2, WITH_PROTOCOL.to_ne_bytes().to_vec(), true),
            (18, vec![0, 0, 0, 0, 1, 0, 0, 0], false),
            (18, vec![1, 0, 0, 0, 0, 0, 0, 0], false),
        ];
        assert_eq!(passed(set), expected);
        assert_eq!(passed(rules.judge(enable(2, 1))).len(), 1);
    }

    #[test]
    fn c052_without_protocol_features_rings_need_no_message() {
        let mut rules = acknowledging();
        rules.judge(enable(0, 1));
        let set = rules.judge(message(FrontendReq::SET_FEATURES, 0_u64.to_ne_bytes()));
        assert_eq!(passed(set).len(), 1);
        assert!(matches!(rules.judge(enable(0, 1)), Verdict::Answer(Some(_))));
    }

    #[test]
    fn c048_nobody_is_answered_who_did_not_agree_on_answers() {
        let mut rules = Rules::new(4);
        assert!(matches!(rules.judge(enable(0, 1)), Verdict::Answer(None)));
        let owner = rules.judge(message(FrontendReq::SET_OWNER, []));
        assert_eq!(passed(owner), [(3, vec![], false)]);
        let features = rules.judge(message(FrontendReq::GET_FEATURES, []));
        assert_eq!(passed(features), [(1, vec![], true)]);
    }

    #[test]
    fn c051_protocol_features_that_were_not_offered_are_refused() {
        for bit in 0..64 {
            let chosen = message(FrontendReq::SET_PROTOCOL_FEATURES, (1_u64 << bit).to_ne_bytes());
            let refused = matches!(Rules::new(4).judge(chosen), Verdict::Refuse(_));
            assert_eq!(refused, ![0, 3, 15].contains(&bit), "bit {bit}");
        }
    }

    #[test]
    fn c041_only_messages_that_are_supported_pass() {
        let supported = [1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 36, 37, 38];
        for id in (0..64).chain([u32::MAX]) {
            let message = Message { id, flags: 1, payload: vec![], fds: vec![] };
            let refused = matches!(Rules::new(4).judge(message), Verdict::Refuse(_));
            assert_eq!(refused, !supported.contains(&id), "message {id}");
        }
    }

    #[test]
    fn c055_a_ring_that_is_not_there_cannot_be_enabled() {
        for (ring, value) in [(4, 1), (u32::MAX, 1), (0, 2)] {
            assert!(matches!(acknowledging().judge(enable(ring, value)), Verdict::Refuse(_)));
        }
    }

    #[test]
    fn c055_each_message_for_a_ring_too_many_says_how_many_pairs_that_takes() {
        let about = |request, ring: u32| {
            let state = [ring.to_ne_bytes(), 1_u32.to_ne_bytes()].concat();
            let payload = match request {
                FrontendReq::SET_VRING_ADDR => [state, vec![0; 32]].concat(),
                // Without a descriptor.
                FrontendReq::SET_VRING_KICK
                | FrontendReq::SET_VRING_CALL
                | FrontendReq::SET_VRING_ERR => (u64::from(ring) | 1 << 8).to_ne_bytes().to_vec(),
                _ => state,
            };
            acknowledging().judge(message(request, payload))
        };
        for request in [
            FrontendReq::SET_VRING_NUM,
            FrontendReq::SET_VRING_ADDR,
            FrontendReq::SET_VRING_BASE,
            FrontendReq::GET_VRING_BASE,
            FrontendReq::SET_VRING_KICK,
            FrontendReq::SET_VRING_CALL,
            FrontendReq::SET_VRING_ERR,
            FrontendReq::SET_VRING_ENABLE,
        ] {
            let last = about(request, 3);
            assert!(matches!(last, Verdict::Pass(_) | Verdict::Answer(_)), "{request:?}: {last:?}");
            for (ring, needed) in [(4, 3), (5, 3), (255, 128)] {
                let Verdict::Refuse(why) = about(request, ring) else { panic!("{request:?}") };
                let pairs = format!("takes {needed} queue pairs, and the port has 2;");
                assert!(why.contains(&pairs), "{request:?}: {why}");
            }
        }
    }

    #[test]
    fn c061_regions_are_sorted_with_their_descriptors() {
        let fds: Vec<_> = (0..3).map(|_| crate::event_fd::make().unwrap()).collect();
        let names: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut payload = vec![3, 0, 0, 0, 0, 0, 0, 0];
        for (address, mark) in [(0x2000_u64, 7_u64), (0, 8), (0x1000, 9)] {
            for number in [address, 0x1000, 0, mark] {
                payload.extend(number.to_ne_bytes());
            }
        }
        let mut table = message(FrontendReq::SET_MEM_TABLE, payload);
        table.fds = fds;
        sort_regions(&mut table);
        let marks: Vec<_> = table.payload[8..].chunks(32).map(|region| region[24]).collect();
        assert_eq!(marks, [8, 9, 7]);
        let sorted: Vec<_> = table.fds.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(sorted, [names[1], names[2], names[0]]);
    }
}
