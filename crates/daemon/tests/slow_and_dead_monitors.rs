//! Guests that take nothing, stand still or die harm nobody but themselves: one worker.

mod scenes;
mod support;

use support::switch::Placement;

play! {
    monitors on Placement::OneWorker;
    r7_c107_a_monitor_that_posts_no_buffer_costs_the_pair_nothing,
    c106_a_monitor_that_posts_one_buffer_now_and_then_gets_one_frame_each,
    c107_a_monitor_that_stands_still_costs_the_pair_nothing_and_recovers,
    c122_a_monitor_that_dies_again_and_again_costs_the_pair_nothing,
    c105_a_receiver_that_stands_still_costs_other_flows_nothing,
    c108_completions_come_back_while_all_receivers_stand_still,
    a_healthy_monitor_gets_all_that_is_counted_as_delivered,
}
