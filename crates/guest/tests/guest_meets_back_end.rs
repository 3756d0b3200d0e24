//! A whole guest against a back-end that is written here: frames come back intact in every form, the driver's
//! life goes its ways, and what a back-end does wrong is noticed.

#[cfg(test)]
mod loop_back;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;
    use std::time::Duration;

    use helio_guest::features::{self, protocol};
    use helio_guest::{
        ChainForm, ChainLayout, Connection, Faults, Flow, Guest, GuestConfig, GuestError, Ledger,
        Listener, MemoryLayout, MessageId, NetHeader, Numbered, ReceiveLayout, Refill, SetupOrder,
    };

    use crate::loop_back::{self, Behaviour, Report};

    const PATIENCE: Duration = Duration::from_secs(30);
    const MOMENT: Duration = Duration::from_millis(50);
    const OFFERED: u64 = features::PLAIN | features::IN_ORDER | features::PROTOCOL_FEATURES;
    /// What a guest of these tests wants, unless it is about features.
    const V1: u64 = features::VERSION_1;

    fn config(features: u64) -> GuestConfig {
        GuestConfig { features, ring_size: 64, ..GuestConfig::default() }
    }

    /// A guest that is negotiated, not started, and its back-end.
    fn guest_with(
        config: GuestConfig,
        protocol: u64,
        behaviour: Behaviour,
    ) -> (Guest, JoinHandle<Report>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let back_end = loop_back::spawn(theirs, OFFERED, protocol, behaviour);
        (Guest::new(Connection::new(ours), config).unwrap(), back_end)
    }

    fn started(config: GuestConfig, behaviour: Behaviour) -> (Guest, JoinHandle<Report>) {
        let (mut guest, back_end) = guest_with(config, protocol::USUAL, behaviour);
        guest.start().unwrap();
        (guest, back_end)
    }

    /// Sends `count` frames in bursts, and receives until all came back.
    fn exchange(
        guest: &mut Guest,
        source: &mut Numbered,
        layout: ChainLayout<'_>,
        count: u64,
    ) -> Ledger {
        let (mut ledger, mut frame) = (Ledger::new(), Vec::new());
        let mut missing = count;
        while missing > 0 {
            let burst = missing.min(10);
            for _ in 0..burst {
                let header = source.write_next(&mut frame);
                guest.send_with(&header, &frame, layout).unwrap();
            }
            guest.kick();
            for received in guest.wait_received(usize::try_from(burst).unwrap(), PATIENCE).unwrap()
            {
                ledger.record(&received.frame);
            }
            guest.reclaim();
            missing -= burst;
        }
        ledger
    }

    fn assert_exchanges(
        guest: &mut Guest,
        frame_bytes: usize,
        layout: ChainLayout<'_>,
        count: u64,
    ) {
        let mut source = Numbered::new(Flow { frame_bytes, ..Flow::default() });
        let ledger = exchange(guest, &mut source, layout, count);
        assert!(ledger.from(1).is_complete(count), "{ledger:?}");
        assert_eq!(guest.faults(), Faults::default());
    }

    /// One frame to a back-end that does something wrong; what the guest noticed.
    fn faults_of(behaviour: Behaviour) -> Faults {
        let (mut guest, _back_end) = started(config(V1 | features::MRG_RXBUF), behaviour);
        guest.send(&[7; 60]).unwrap();
        guest.kick();
        guest.receive_for(MOMENT).unwrap();
        guest.reclaim();
        guest.faults()
    }

    #[test]
    fn frames_come_back_intact_under_every_set_of_features() {
        let parts =
            [features::MRG_RXBUF, features::INDIRECT_DESC, features::EVENT_IDX, features::IN_ORDER];
        for set in 0..16 {
            let chosen = parts.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
            let wanted = chosen.fold(V1, |sum, (_, feature)| sum | feature);
            let (mut guest, _back_end) = started(config(wanted), Behaviour::Honest);
            assert_eq!(guest.features(), wanted | features::PROTOCOL_FEATURES);
            assert_exchanges(&mut guest, 300, ChainLayout::WHOLE, 200);
        }
    }

    #[test]
    fn frames_come_back_intact_in_every_layout_of_descriptors() {
        for form in [ChainForm::Direct, ChainForm::Indirect] {
            for cuts in [&[][..], &[12], &[1; 12], &[0, 12, 0], &[5, 7, 100]] {
                let layout = ReceiveLayout { cuts: cuts.to_vec(), form };
                let config = GuestConfig {
                    receive_layout: layout,
                    ring_size: 256,
                    ..config(V1 | features::INDIRECT_DESC)
                };
                let (mut guest, _back_end) = started(config, Behaviour::Honest);
                assert_exchanges(&mut guest, 300, ChainLayout { cuts, form }, 50);
            }
        }
    }

    #[test]
    fn a_long_frame_comes_back_in_many_mergeable_buffers() {
        let config = GuestConfig {
            rx_buffer_bytes: 300,
            tx_buffer_bytes: 66_000,
            ring_size: 4096,
            ..config(V1 | features::MRG_RXBUF)
        };
        let (mut guest, _back_end) = started(config, Behaviour::Honest);
        assert_exchanges(&mut guest, 9014, ChainLayout::WHOLE, 50);
        assert_exchanges(&mut guest, 65_549, ChainLayout::WHOLE, 5);
    }

    #[test]
    fn the_rings_go_on_past_index_65535() {
        for event_idx in [0, features::EVENT_IDX] {
            let (mut guest, _back_end) = started(config(V1 | event_idx), Behaviour::Honest);
            assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 70_000);
        }
    }

    #[test]
    fn a_legacy_guest_has_a_shorter_header() {
        let (mut guest, _back_end) = started(config(0), Behaviour::Honest);
        assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 100);
    }

    #[test]
    fn a_net_header_comes_back_as_it_was_sent() {
        let (mut guest, _back_end) = started(config(V1), Behaviour::Honest);
        let header = NetHeader { hdr_len: 42, gso_size: 7, ..NetHeader::default() };
        guest.send_on(0, &header, &[1; 60]).unwrap();
        guest.kick();
        let received = guest.wait_received(1, PATIENCE).unwrap();
        assert_eq!(received[0].header, NetHeader { num_buffers: 1, ..header });
        assert_eq!(received[0].frame, [1; 60]);
    }

    #[test]
    fn a_frame_stays_on_its_queue_pair() {
        let config = GuestConfig { queue_pairs: 4, active_pairs: 4, ..config(V1 | features::MQ) };
        let (mut guest, _back_end) = started(config, Behaviour::Honest);
        for pair in 0..4_u8 {
            guest.send_on(pair.into(), &NetHeader::default(), &[pair; 60]).unwrap();
            guest.kick();
            let received = guest.wait_received(1, PATIENCE).unwrap();
            assert_eq!((received[0].pair, received[0].frame[0]), (pair.into(), pair));
        }
    }

    #[test]
    fn a_pair_that_is_not_active_carries_nothing_until_it_is() {
        let config = GuestConfig { queue_pairs: 2, active_pairs: 1, ..config(V1 | features::MQ) };
        let (mut guest, _back_end) = started(config, Behaviour::Honest);
        guest.send_on(1, &NetHeader::default(), &[1; 60]).unwrap();
        guest.kick();
        assert_eq!(guest.receive_for(MOMENT).unwrap(), []);
        guest.set_active_pairs(2).unwrap();
        assert_eq!(guest.wait_received(1, PATIENCE).unwrap()[0].pair, 1);
        guest.set_active_pairs(1).unwrap();
        guest.send_on(1, &NetHeader::default(), &[1; 60]).unwrap();
        guest.kick();
        assert_eq!(guest.receive_for(MOMENT).unwrap(), []);
        assert!(guest.set_active_pairs(3).is_err());
    }

    #[test]
    fn after_a_stop_the_rings_go_on_where_they_were() {
        let (mut guest, _back_end) = started(config(features::PLAIN), Behaviour::Honest);
        let mut source = Numbered::new(Flow::default());
        for round in 1..=3_u16 {
            exchange(&mut guest, &mut source, ChainLayout::WHOLE, 100);
            assert_eq!(guest.stop().unwrap(), [100 * round; 2]);
            guest.start().unwrap();
        }
        assert_eq!(guest.faults(), Faults::default());
    }

    #[test]
    fn after_a_restart_the_rings_begin_at_zero() {
        let (mut guest, back_end) = started(config(features::PLAIN), Behaviour::Honest);
        assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 100);
        guest.restart().unwrap();
        assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 30);
        assert_eq!(guest.stop().unwrap(), [30, 30]);
        drop(guest);
        assert_eq!(back_end.join().unwrap().frames, 130);
    }

    #[test]
    fn after_the_back_end_was_lost_what_it_did_not_complete_is_sent_again() {
        let (mut guest, lost) = started(config(features::PLAIN), Behaviour::Dying);
        let mut source = Numbered::new(Flow::default());
        let (mut ledger, mut frame) = (Ledger::new(), Vec::new());
        for _ in 0..10 {
            for _ in 0..10 {
                source.write_next(&mut frame);
                guest.send(&frame).unwrap();
            }
            guest.kick();
            for received in guest.wait_received(10, PATIENCE).unwrap() {
                ledger.record(&received.frame);
            }
        }
        assert_eq!(lost.join().unwrap().frames, 100);
        assert!(guest.session().connection().wait_closed(PATIENCE) && guest.is_disconnected());

        let (ours, theirs) = UnixStream::pair().unwrap();
        let _next = loop_back::spawn(theirs, OFFERED, protocol::USUAL, Behaviour::Honest);
        guest.resume(Connection::new(ours)).unwrap();
        for received in guest.wait_received(10, PATIENCE).unwrap() {
            ledger.record(&received.frame);
        }
        guest.wait_all_sent(PATIENCE).unwrap();
        let tally = ledger.from(1);
        assert_eq!((tally.received, tally.duplicates), (100, 10));
        assert_eq!(guest.faults(), Faults::default());
    }

    #[test]
    fn a_back_end_with_other_features_is_not_resumed_on() {
        let (mut guest, _back_end) = started(config(features::PLAIN), Behaviour::Honest);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let other = OFFERED & !features::EVENT_IDX;
        let _next = loop_back::spawn(theirs, other, protocol::USUAL, Behaviour::Honest);
        assert!(matches!(guest.resume(Connection::new(ours)), Err(GuestError::Config(_))));
    }

    #[test]
    fn the_messages_come_in_the_order_of_qemu_or_of_virtio_user() {
        let no_slots = protocol::MQ | protocol::REPLY_ACK;
        let ring = [8, 10, 9, 14, 12, 13];
        let start = [1, 15, 16, 17, 3, 13, 13];
        let qemu = [&start[..], &[18, 18, 2, 5], &ring, &ring].concat();
        let user = [&start[..], &[2, 5], &ring, &ring, &[18, 18]].concat();
        for (setup_order, expected) in [(SetupOrder::Qemu, qemu), (SetupOrder::VirtioUser, user)] {
            let config = GuestConfig { setup_order, ..config(V1) };
            let (mut guest, back_end) = guest_with(config, no_slots, Behaviour::Honest);
            guest.start().unwrap();
            drop(guest);
            assert_eq!(back_end.join().unwrap().messages, expected);
        }
    }

    #[test]
    fn memory_is_shared_by_table_or_by_slot_and_buffers_lie_across_its_files() {
        for (protocol, share) in [(protocol::REPLY_ACK, 5), (protocol::USUAL, 37)] {
            let memory = MemoryLayout::adjacent(8, 10 * 4096);
            let config = GuestConfig { memory, rx_buffer_bytes: 1600, ..config(V1) };
            let (mut guest, back_end) = guest_with(config, protocol, Behaviour::Honest);
            guest.start().unwrap();
            assert_exchanges(&mut guest, 1514, ChainLayout::WHOLE, 500);
            guest.stop().unwrap();
            drop(guest);
            let report = back_end.join().unwrap();
            assert_eq!(report.regions, 8);
            assert!(report.messages.contains(&share));
        }
    }

    #[test]
    fn memory_that_is_too_small_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let _back_end = loop_back::spawn(theirs, OFFERED, 0, Behaviour::Honest);
        let config = GuestConfig { memory: MemoryLayout::adjacent(1, 4096), ..config(V1) };
        let refused = Guest::new(Connection::new(ours), config);
        assert!(matches!(refused, Err(GuestError::MemoryExhausted { .. })), "{refused:?}");
    }

    #[test]
    fn a_guest_works_in_both_socket_roles() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port.sock");
        let listener = Listener::bind(&path).unwrap();
        let theirs = UnixStream::connect(&path).unwrap();
        let _back_end = loop_back::spawn(theirs, OFFERED, protocol::USUAL, Behaviour::Honest);
        let mut guest = listener.accept(config(V1), PATIENCE).unwrap();
        guest.start().unwrap();
        assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 20);
        assert!(matches!(listener.accept(config(V1), MOMENT), Err(GuestError::Timeout { .. })));
        drop(listener);
        assert!(!path.exists());

        let back_end = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let accepting = std::thread::spawn(move || {
            let (theirs, _address) = back_end.accept().unwrap();
            loop_back::spawn(theirs, OFFERED, protocol::USUAL, Behaviour::Honest)
        });
        let mut guest = Guest::connect(&path, config(V1)).unwrap();
        guest.start().unwrap();
        assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 20);
        let _running = accepting.join().unwrap();
    }

    #[test]
    fn one_thread_plays_many_guests() {
        let mut guests: Vec<_> =
            (0..5).map(|_| started(config(features::PLAIN), Behaviour::Honest)).collect();
        let mut sources = vec![Numbered::new(Flow::default()); 5];
        let mut ledgers = vec![Ledger::new(); 5];
        let mut frame = Vec::new();
        while ledgers.iter().any(|ledger| ledger.received() < 300) {
            for (((guest, _), source), ledger) in
                guests.iter_mut().zip(&mut sources).zip(&mut ledgers)
            {
                if source.next() < 300 && source.next() - ledger.received() < 32 {
                    source.write_next(&mut frame);
                    guest.send(&frame).unwrap();
                    guest.kick();
                }
                guest.poll_once(|_, _, frame| {
                    ledger.record(frame).unwrap();
                });
            }
            std::thread::yield_now();
        }
        assert!(ledgers.iter().all(|ledger| ledger.from(1).is_complete(300)));
        assert!(guests.iter().all(|(guest, _)| guest.faults().total() == 0));
    }

    #[test]
    fn without_receive_buffers_nothing_comes_and_then_as_many_as_are_posted() {
        let config = GuestConfig { refill: Refill::ByHand, ..config(V1) };
        let (mut guest, _back_end) = started(config, Behaviour::Honest);
        for _ in 0..5 {
            guest.send(&[1; 60]).unwrap();
        }
        guest.kick();
        assert_eq!(guest.receive_for(MOMENT).unwrap().len(), 0);
        assert_eq!(guest.post_receive(3), 3);
        assert_eq!(guest.wait_received(3, PATIENCE).unwrap().len(), 3);
        assert_eq!(guest.receive_for(MOMENT).unwrap().len(), 0);
        assert_eq!(guest.post_receive(1000), 64);
        assert_eq!(guest.wait_received(2, PATIENCE).unwrap().len(), 2);
    }

    #[test]
    fn a_back_end_may_complete_many_chains_with_one_entry_when_in_order() {
        let (mut guest, _back_end) = started(config(V1 | features::IN_ORDER), Behaviour::Grouping);
        assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 1000);
        guest.wait_all_sent(PATIENCE).unwrap();
    }

    #[test]
    fn a_full_transmitq_refuses_and_a_frame_over_the_buffer_too() {
        let (mut guest, _back_end) = guest_with(config(V1), protocol::USUAL, Behaviour::Honest);
        for _ in 0..64 {
            guest.send(&[1; 60]).unwrap();
        }
        assert_eq!(guest.send(&[1; 60]), Err(helio_guest::SendError::RingFull));
        let (mut guest, _back_end) = guest_with(config(V1), protocol::USUAL, Behaviour::Honest);
        assert_eq!(guest.send(&[1; 4000]), Err(helio_guest::SendError::TooLong));
        assert!(guest.send(&[1; 2048]).is_ok());
    }

    #[test]
    fn kicks_are_fewer_than_frames_when_they_come_in_bursts() {
        let (mut guest, back_end) = started(config(features::PLAIN), Behaviour::Honest);
        assert_exchanges(&mut guest, 60, ChainLayout::WHOLE, 1000);
        drop(guest);
        let kicks = back_end.join().unwrap().kicks;
        assert!(kicks < 500, "{kicks} kicks for 100 bursts");
    }

    #[test]
    fn a_refusal_is_told_with_its_code() {
        let (mut guest, _back_end) =
            guest_with(config(V1), protocol::USUAL, Behaviour::RefusingFeatures);
        let refused = guest.start();
        assert!(matches!(refused, Err(GuestError::Refused { code: 1, .. })), "{refused:?}");
    }

    /// Waits for a frame that is given back while the guest is asleep, so that only a call can wake it.
    fn wait_asleep(behaviour: Behaviour) -> Result<usize, GuestError> {
        let (mut guest, _back_end) = started(config(V1), behaviour);
        // The kicks of the start are worked off before the second of two messages is answered.
        for _ in 0..2 {
            guest.session().set_event(MessageId::SetVringErr, 0, None).unwrap();
        }
        guest.send(&[1; 60]).unwrap();
        let queue = guest.driver_mut().transmit_queue(0).unwrap();
        assert!(queue.ring_mut().publish(), "the back-end sleeps until it is kicked");
        let kick = queue.events().kick.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(MOMENT);
                kick.signal();
            });
            guest.wait_received(1, 10 * MOMENT).map(|frames| frames.len())
        })
    }

    #[test]
    fn a_back_end_that_does_not_call_lets_the_guest_wait_in_vain() {
        assert!(matches!(wait_asleep(Behaviour::Honest), Ok(1)));
        assert!(matches!(wait_asleep(Behaviour::Silent), Err(GuestError::Timeout { .. })));
    }

    #[test]
    fn what_a_back_end_does_wrong_is_counted_by_kind() {
        let none = Faults::default();
        assert_eq!(faults_of(Behaviour::Honest), none);
        assert_eq!(faults_of(Behaviour::LongLen), Faults { len_beyond_buffer: 1, ..none });
        assert_eq!(faults_of(Behaviour::TransmitLen), Faults { transmit_len: 1, ..none });
        assert_eq!(faults_of(Behaviour::Offload), Faults { offload: 1, ..none });
        let unmerged = faults_of(Behaviour::Unmerged);
        assert_eq!(unmerged, Faults { merge_incomplete: 1, buffer_not_full: 1, ..none });
        assert_eq!(faults_of(Behaviour::WrongHead), Faults { unknown_head: 1, ..none });
    }

    #[test]
    fn frames_that_were_changed_or_doubled_are_found_out() {
        for behaviour in [Behaviour::Corrupting, Behaviour::Doubling] {
            let (mut guest, _back_end) = started(config(V1 | features::MRG_RXBUF), behaviour);
            let (mut ledger, mut frame) = (Ledger::new(), Vec::new());
            let mut source = Numbered::new(Flow { frame_bytes: 1500, ..Flow::default() });
            source.write_next(&mut frame);
            guest.send(&frame).unwrap();
            guest.kick();
            for received in guest.receive_for(MOMENT).unwrap() {
                ledger.record(&received.frame);
            }
            let expected = if behaviour == Behaviour::Doubling { (0, 1) } else { (1, 0) };
            assert_eq!((ledger.corrupt(), ledger.duplicates()), expected);
        }
    }
}
