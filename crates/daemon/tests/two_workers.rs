//! The same scenes with ports on two workers, so that frames and copies travel between them.

mod scenes;
mod support;

mod ports_alternate {
    use crate::play;
    use crate::support::switch::Placement;

    play! {
        mirroring on Placement::Alternating;
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

    play! {
        monitors on Placement::Alternating;
        r7_c107_a_monitor_that_posts_no_buffer_costs_the_pair_nothing,
        c107_a_monitor_that_stands_still_costs_the_pair_nothing_and_recovers,
        c122_a_monitor_that_dies_again_and_again_costs_the_pair_nothing,
        c105_a_receiver_that_stands_still_costs_other_flows_nothing,
        c108_completions_come_back_while_all_receivers_stand_still,
        a_healthy_monitor_gets_all_that_is_counted_as_delivered,
    }
}

mod monitors_apart {
    use crate::play;
    use crate::support::switch::Placement;

    play! {
        mirroring on Placement::PairApart;
        with_one_source_a_monitor_sees_requests_and_replies_once,
        s4_3_two_destinations_see_all_each,
        r8_c120_in_an_exact_session_all_get_identical_bytes_of_a_racing_source,
    }

    play! {
        monitors on Placement::PairApart;
        r7_c107_a_monitor_that_posts_no_buffer_costs_the_pair_nothing,
        c106_a_monitor_that_posts_one_buffer_now_and_then_gets_one_frame_each,
        c107_a_monitor_that_stands_still_costs_the_pair_nothing_and_recovers,
        c122_a_monitor_that_dies_again_and_again_costs_the_pair_nothing,
        c105_a_receiver_that_stands_still_costs_other_flows_nothing,
        c108_completions_come_back_while_all_receivers_stand_still,
        a_healthy_monitor_gets_all_that_is_counted_as_delivered,
    }
}
