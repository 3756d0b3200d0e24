//! A guest that sends and receives in bursts against a back-end that is written here: frames come back intact in
//! every form, it can stop and go on, and what a back-end does wrong is noticed.

#[cfg(test)]
#[allow(dead_code, reason = "the other tests of this crate use the rest of it")]
mod loop_back;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;
    use std::time::{Duration, Instant};

    use helio_guest::features::{self, protocol};
    use helio_guest::{
        BurstConfig, BurstGuest, BurstQueues, Connection, Cutting, HeaderPlace, NetHeader,
        Rewriting, SetupOrder,
    };

    use crate::loop_back::{self, Behaviour, Report};

    const PATIENCE: Duration = Duration::from_secs(30);
    const OFFERED: u64 = features::PLAIN | features::PROTOCOL_FEATURES;

    fn config() -> BurstConfig {
        BurstConfig { ring_size: 64, ..BurstConfig::default() }
    }

    fn started(config: BurstConfig, behaviour: Behaviour) -> (BurstGuest, JoinHandle<Report>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let back_end = loop_back::spawn(theirs, OFFERED, protocol::USUAL, behaviour);
        let mut guest = BurstGuest::new(Connection::new(ours), config).unwrap();
        guest.start().unwrap();
        (guest, back_end)
    }

    /// What frame `number` looks like; its length goes up and down.
    fn frame(number: u64, max: usize) -> Vec<u8> {
        let len = 60 + usize::try_from(number * 37).unwrap() % (max - 59);
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend((8..len).map(|at| u8::try_from((at as u64 * 7 + number) % 251).unwrap()));
        bytes
    }

    /// Sends `count` frames in bursts and reads all of them when they come back.
    fn exchange(guest: &mut BurstGuest, count: u64) {
        let max = guest.config().max_frame_bytes as usize;
        let (mut sent, mut received) = (0, 0);
        let deadline = Instant::now() + PATIENCE;
        while received < count {
            let room = guest.sender().room().min(20);
            let room = room.min(u16::try_from(count - sent).unwrap_or(u16::MAX));
            guest.sender().offer(room, |slot| {
                let bytes = frame(sent, max);
                slot.write(0, &bytes);
                sent += 1;
                u32::try_from(bytes.len()).unwrap()
            });
            guest.sender().publish();
            guest.receiver().receive(|view| {
                let mut bytes = vec![0; view.len()];
                assert!(view.read(0, &mut bytes));
                assert_eq!(bytes, frame(received, max), "frame {received}");
                assert!(!view.read(1, &mut bytes), "one byte too far");
                received += 1;
            });
            assert!(Instant::now() < deadline, "{received} of {count} came back");
        }
    }

    fn assert_honest(guest: BurstGuest, back_end: JoinHandle<Report>, frames: u64) {
        assert_eq!(guest.faults().total(), 0, "{:?}", guest.faults());
        drop(guest);
        assert_eq!(back_end.join().unwrap().frames, frames);
    }

    #[test]
    fn frames_come_back_intact_in_every_form() {
        let v1 = features::VERSION_1;
        let cuttings = [
            (v1, Cutting::Whole),
            (0, Cutting::Whole),
            (v1 | features::EVENT_IDX, Cutting::Linked(500)),
            (v1 | features::INDIRECT_DESC, Cutting::Indirect(100)),
            (v1 | features::MRG_RXBUF, Cutting::Linked(1)),
        ];
        for (features, cutting) in cuttings {
            let max_frame_bytes = if cutting == Cutting::Linked(1) { 60 } else { 1514 };
            for (header_place, rewriting) in [
                (HeaderPlace::LineBefore, Rewriting::Changes),
                (HeaderPlace::SameLine, Rewriting::Always),
            ] {
                let config = BurstConfig {
                    features,
                    cutting,
                    header_place,
                    rewriting,
                    max_frame_bytes,
                    ..config()
                };
                let (mut guest, back_end) = started(config, Behaviour::Honest);
                exchange(&mut guest, 1000);
                assert_honest(guest, back_end, 1000);
            }
        }
    }

    #[test]
    fn a_frame_in_many_merged_buffers_is_read_as_one() {
        let config = BurstConfig {
            features: features::VERSION_1 | features::MRG_RXBUF,
            rx_buffer_bytes: 300,
            max_frame_bytes: 9000,
            ring_size: 256,
            ..config()
        };
        let (mut guest, back_end) = started(config, Behaviour::Honest);
        exchange(&mut guest, 500);
        assert_honest(guest, back_end, 500);
    }

    #[test]
    fn the_net_header_of_every_frame_is_the_one_that_was_configured() {
        let net_header = NetHeader { hdr_len: 54, gso_size: 1448, ..NetHeader::default() };
        let config = BurstConfig { net_header, setup_order: SetupOrder::VirtioUser, ..config() };
        let (mut guest, back_end) = started(config, Behaviour::Honest);
        guest.sender().offer(3, |_slot| 60);
        guest.sender().publish();
        let mut seen = 0;
        let deadline = Instant::now() + PATIENCE;
        while seen < 3 && Instant::now() < deadline {
            guest.receiver().receive(|view| {
                let header = view.net_header();
                assert_eq!((header.hdr_len, header.gso_size), (54, 1448));
                seen += 1;
            });
        }
        assert_eq!(seen, 3);
        assert_honest(guest, back_end, 3);
    }

    #[test]
    fn a_guest_that_stopped_begins_anew() {
        let (mut guest, back_end) = started(config(), Behaviour::Honest);
        exchange(&mut guest, 100);
        guest.stop().unwrap();
        assert_eq!(guest.sender().room(), guest.sender().capacity());
        guest.start().unwrap();
        exchange(&mut guest, 100);
        assert_honest(guest, back_end, 200);
    }

    #[test]
    fn one_used_entry_completes_several_chains_when_they_are_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let offered = OFFERED | features::IN_ORDER;
        let back_end = loop_back::spawn(theirs, offered, protocol::USUAL, Behaviour::Grouping);
        let features = features::VERSION_1 | features::IN_ORDER;
        let config = BurstConfig { features, ..config() };
        let mut guest = BurstGuest::new(Connection::new(ours), config).unwrap();
        assert_eq!(guest.features() & features, features);
        guest.start().unwrap();
        exchange(&mut guest, 1000);
        while guest.sender().room() < guest.sender().capacity() {
            std::thread::yield_now();
        }
        assert_honest(guest, back_end, 1000);
    }

    /// The queues of a guest whose back-end is the test itself: eight buffers of 100 bytes.
    fn in_order_queues() -> BurstQueues {
        let config = BurstConfig {
            features: features::VERSION_1 | features::IN_ORDER | features::MRG_RXBUF,
            rx_buffer_bytes: 100,
            ring_size: 8,
            ..config()
        };
        BurstQueues::new(&config).unwrap()
    }

    #[test]
    fn a_frame_in_merged_buffers_may_be_completed_by_one_used_entry() {
        let mut queues = in_order_queues();
        let area = queues.receiver.area().clone();
        let mut used = 0_u16;
        // Seven buffers a round: the groups begin at every place of the ring.
        for round in 0..20_u8 {
            for (buffers, last) in [(3_u16, 30_u32), (1, 70), (3, 100)] {
                let first = area.descriptor(area.avail_entry(used & 7)).addr;
                let memory = area.memory().window(first, 12 + 88).unwrap();
                let mut header = [0; 12];
                header[10..].copy_from_slice(&buffers.to_le_bytes());
                memory.write(0, &header);
                memory.write(12, &[round; 88]);
                let head = area.avail_entry((used + buffers - 1) & 7);
                area.set_used_entry(used & 7, u32::from(head), last);
                used = used.wrapping_add(buffers);
                area.set_used_idx(used);
            }
            let mut lens = Vec::new();
            queues.receiver.receive(|view| {
                assert_eq!(view.word(0), Some([round; 8]));
                lens.push(view.len());
            });
            assert_eq!(lens, [230 - 12, 70 - 12, 300 - 12], "round {round}");
            assert_eq!(queues.receiver.faults().total(), 0);
        }
    }

    #[test]
    fn a_used_entry_cannot_complete_more_chains_than_the_used_index_tells() {
        let mut queues = in_order_queues();
        let area = queues.receiver.area().clone();
        area.set_used_entry(0, u32::from(area.avail_entry(2)), 50);
        area.set_used_idx(2);
        assert_eq!(queues.receiver.receive(|_view| {}), 0);
        assert_ne!(queues.receiver.faults().total(), 0);

        let area = queues.sender.area().clone();
        queues.sender.offer(4, |_slot| 60);
        queues.sender.publish();
        area.set_used_entry(0, u32::from(area.avail_entry(2)), 0);
        area.set_used_idx(2);
        assert_eq!((queues.sender.room(), queues.sender.faults().unknown_head), (4, 1));
    }

    #[test]
    fn every_queue_pair_sends_and_receives() {
        let config = BurstConfig { queue_pairs: 4, ..config() };
        let (mut guest, back_end) = started(config, Behaviour::Honest);
        for (number, pair) in (1..).zip(guest.pairs()) {
            pair.sender.offer(10 * number, |slot| {
                slot.write(0, &[u8::try_from(number).unwrap(); 60]);
                60
            });
            pair.sender.publish();
        }
        let mut counts = [0; 4];
        let deadline = Instant::now() + PATIENCE;
        while counts.iter().sum::<u64>() < 100 && Instant::now() < deadline {
            for (number, pair) in guest.pairs().enumerate() {
                counts[number] += pair.receiver.receive(|view| {
                    assert_eq!(view.word(0), Some([u8::try_from(number).unwrap() + 1; 8]));
                });
            }
        }
        assert_eq!(counts, [10, 20, 30, 40]);
        assert!(guest.pair(3).is_some() && guest.pair(4).is_none());
        guest.stop().unwrap();
        guest.start().unwrap();
        exchange(&mut guest, 100);
        assert_honest(guest, back_end, 200);
    }

    #[test]
    fn more_queue_pairs_than_the_back_end_has_are_refused() {
        for (queue_pairs, offered, protocol) in [
            (2, OFFERED & !features::MQ, protocol::USUAL),
            (2, OFFERED, protocol::USUAL & !protocol::MQ),
            (5, OFFERED, protocol::USUAL),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let back_end = loop_back::spawn(theirs, offered, protocol, Behaviour::Honest);
            let config = BurstConfig { queue_pairs, ..config() };
            assert!(BurstGuest::new(Connection::new(ours), config).is_err(), "{queue_pairs}");
            back_end.join().unwrap();
        }
    }

    #[test]
    fn no_more_frames_are_offered_than_the_ring_holds() {
        let (mut guest, back_end) = started(config(), Behaviour::Honest);
        assert_eq!(guest.sender().offer(1000, |_slot| 60), 64);
        assert_eq!(guest.sender().offer(1, |_slot| 60), 0);
        drop(guest);
        assert_eq!(back_end.join().unwrap().frames, 0, "they were never published");
    }

    #[test]
    fn broken_rules_are_counted_and_end_the_ring() {
        for behaviour in [Behaviour::WrongHead, Behaviour::LongLen, Behaviour::TransmitLen] {
            let (mut guest, back_end) = started(config(), behaviour);
            guest.sender().offer(10, |_slot| 60);
            guest.sender().publish();
            let deadline = Instant::now() + PATIENCE;
            while guest.faults().total() == 0 && Instant::now() < deadline {
                guest.receiver().receive(|_view| {});
                guest.sender().room();
            }
            let faults = guest.faults();
            let counted = match behaviour {
                Behaviour::WrongHead => faults.unknown_head,
                Behaviour::LongLen => faults.len_beyond_buffer,
                _ => faults.transmit_len,
            };
            assert!(counted > 0, "{behaviour:?}: {faults:?}");
            drop(guest);
            back_end.join().unwrap();
        }
    }
}
