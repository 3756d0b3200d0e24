//! The story the product was founded on, and the semantics of mirroring around it: one worker.

mod scenes;
mod support;

use support::switch::Placement;

play! {
    mirroring on Placement::OneWorker;
    with_mirroring_none_a_monitor_sees_nothing,
    with_one_source_a_monitor_sees_requests_and_replies_once,
    mirroring_begins_and_ends_at_once_on_running_traffic,
    s4_5_with_both_as_sources_a_monitor_sees_each_once,
    s4_3_two_destinations_see_all_each,
    s4_5_a_destination_that_is_the_receiver_gets_each_once,
    s4_10_a_frame_never_returns_to_the_monitor_that_sent_it,
    s4_9_a_destination_stays_an_ordinary_port,
    a_receive_only_destination_sees_all_and_sends_nothing,
    s4_1_sessions_do_not_see_each_other,
    s4_7_a_trunk_destination_sees_the_vlan_and_one_outside_sees_nothing,
    s4_7_an_access_destination_sees_frames_of_a_trunk_without_their_tag,
    r8_c120_in_an_exact_session_all_get_identical_bytes_of_a_racing_source,
}
