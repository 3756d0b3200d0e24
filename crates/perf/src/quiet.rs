//! Whether the machine was the same all the time: a window in which it was not tells nothing of a switch.

use crate::floor::Floor;
use crate::proc::as_f64;
use crate::window::Window;

/// A floor that moves by more than this share means another machine.
const FLOOR_MAY_MOVE: f64 = 0.10;

/// Time that other machines may have, in percent.
const MAY_BE_STOLEN: f64 = 1.0;

/// Times a second that the worker may be taken off its core: several times what the kernel's own threads do.
const MAY_BE_INTERRUPTED: f64 = 500.0;

/// Who took time from a switch in its window.
pub(crate) fn disturbance(window: &Window) -> Option<String> {
    let Window { contestant, stolen_percent: stolen, .. } = window;
    if *stolen > MAY_BE_STOLEN {
        return Some(format!("{stolen:.1} % of the time was stolen from {contestant}"));
    }
    let rate = as_f64(window.involuntary_switches) / window.seconds.max(0.01);
    (rate > MAY_BE_INTERRUPTED)
        .then(|| format!("{contestant} was interrupted {rate:.0} times a second"))
}

/// How one of the floors before and behind a window moved from `reference`, that from when its round began.
pub(crate) fn moved_around(reference: Option<Floor>, around: [Option<Floor>; 2]) -> Option<String> {
    around.into_iter().find_map(|floor| moved(reference, floor))
}

/// Says from where to where the floor moved, if it did by so much that this is another machine.
pub(crate) fn moved(from: Option<Floor>, to: Option<Floor>) -> Option<String> {
    let (from, to) = (from?.floor_ns, to?.floor_ns);
    ((to / from - 1.0).abs() > FLOOR_MAY_MOVE)
        .then(|| format!("the floor moved from {from:.1} to {to:.1} ns"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::window;

    fn floor(floor_ns: f64) -> Option<Floor> {
        Some(Floor { floor_ns, generator_ns: 40.0, round_trip_ns: 400.0 })
    }

    #[test]
    fn a_window_does_not_count_when_the_floor_is_another_one_than_when_its_round_began() {
        let around = [floor(41.0), floor(43.0)];
        assert_eq!(moved_around(floor(40.0), around), None);
        let moved = moved_around(floor(40.0), [floor(40.0), floor(46.0)]).unwrap();
        assert!(moved.contains("from 40.0 to 46.0"), "{moved}");
        // What changes from one window to the next adds up.
        assert!(moved_around(floor(38.0), around).is_some());
        assert_eq!(moved_around(None, [None, None]), None);
    }

    #[test]
    fn a_window_does_not_count_when_others_had_the_time() {
        assert_eq!(disturbance(&window(0, "helio", 1.0)), None);
        let stolen = Window { stolen_percent: 1.5, ..window(0, "helio", 1.0) };
        assert!(disturbance(&stolen).unwrap().contains("stolen"));
        let interrupted = Window { involuntary_switches: 90, ..window(0, "helio", 1.0) };
        assert!(disturbance(&interrupted).unwrap().contains("900 times"));
    }
}
