//! The figures testpmd prints, read from its text.
//!
//! Directions are the guest's: what it sent entered the switch.

use std::collections::BTreeMap;

use crate::error::LabError;

/// Counters of one port's driver since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames taken from the receive rings.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames the driver missed.
    pub missed_frames: u64,
    /// Frames received with an error.
    pub error_frames: u64,
    /// Frames for which there was no buffer.
    pub no_buffer_frames: u64,
    /// Frames put into the transmit rings.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// Counters of one port between `start` and `stop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Frames the forwarding loop received.
    pub received_frames: u64,
    /// Frames it put into a transmit ring.
    pub sent_frames: u64,
    /// Frames it made or received and found no room for in a transmit ring.
    pub unsent_frames: u64,
}

/// Reads the answer to `show port stats all`, ports in order.
pub(crate) fn port_stats(text: &str) -> Result<Vec<PortStats>, LabError> {
    let blocks = blocks(text, "NIC statistics for port");
    let read = |block: &BTreeMap<String, u64>| {
        Some(PortStats {
            received_frames: *block.get("RX-packets")?,
            received_bytes: *block.get("RX-bytes")?,
            missed_frames: *block.get("RX-missed")?,
            error_frames: *block.get("RX-errors")?,
            no_buffer_frames: *block.get("RX-nombuf")?,
            sent_frames: *block.get("TX-packets")?,
            sent_bytes: *block.get("TX-bytes")?,
        })
    };
    all(&blocks, read, text)
}

/// Reads the answer to `stop`, ports in order.
pub(crate) fn forward_stats(text: &str) -> Result<Vec<ForwardStats>, LabError> {
    let ports = text.split_once("Accumulated forward statistics").map_or(text, |(ports, _)| ports);
    let blocks = blocks(ports, "Forward statistics for port");
    let read = |block: &BTreeMap<String, u64>| {
        Some(ForwardStats {
            received_frames: *block.get("RX-packets")?,
            sent_frames: *block.get("TX-packets")?,
            unsent_frames: *block.get("TX-dropped")?,
        })
    };
    all(&blocks, read, text)
}

/// One table of `NAME: NUMBER` pairs for each part of the text that begins with `heading`.
fn blocks(text: &str, heading: &str) -> Vec<BTreeMap<String, u64>> {
    text.split(heading).skip(1).map(pairs).collect()
}

fn pairs(block: &str) -> BTreeMap<String, u64> {
    let words: Vec<&str> = block.split_whitespace().collect();
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs
        .filter_map(|(name, number)| {
            let name = name.strip_suffix(':')?;
            Some((name.to_owned(), number.parse().ok()?))
        })
        .collect()
}

fn all<T>(
    blocks: &[BTreeMap<String, u64>],
    read: impl Fn(&BTreeMap<String, u64>) -> Option<T>,
    text: &str,
) -> Result<Vec<T>, LabError> {
    let unreadable =
        || LabError::Unreadable { what: "testpmd's statistics", text: text.to_owned() };
    let stats: Option<Vec<T>> = blocks.iter().map(read).collect();
    stats.filter(|stats| !stats.is_empty()).ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "
  ######################## NIC statistics for port 0  ########################
  RX-packets: 12604528   RX-missed: 1          RX-bytes:  1562961472
  RX-errors: 2
  RX-nombuf:  3         
  TX-packets: 12605560   TX-errors: 0          TX-bytes:  1563089440

  Throughput (since last show)
  Rx-pps:            0          Rx-bps:            0
  Tx-pps:            0          Tx-bps:            0
  ############################################################################

  ######################## NIC statistics for port 1  ########################
  RX-packets: 5          RX-missed: 0          RX-bytes:  300
  RX-errors: 0
  RX-nombuf:  0         
  TX-packets: 6          TX-errors: 0          TX-bytes:  360
";

    const STOPPED: &str = "Telling cores to stop...

  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 8              RX-dropped: 0             RX-total: 8
  TX-packets: 0              TX-dropped: 2             TX-total: 2
  ----------------------------------------------------------------------------

  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 9              RX-dropped: 0             RX-total: 9
  TX-packets: 9              TX-dropped: 9             TX-total: 9
";

    #[test]
    fn the_counters_of_each_port_are_read() {
        let stats = port_stats(SHOWN).unwrap();
        assert_eq!(stats.len(), 2);
        assert_eq!(stats[0].received_frames, 12_604_528);
        assert_eq!((stats[0].missed_frames, stats[0].error_frames), (1, 2));
        assert_eq!(stats[0].no_buffer_frames, 3);
        assert_eq!((stats[1].sent_frames, stats[1].sent_bytes), (6, 360));
    }

    #[test]
    fn the_sum_of_all_ports_is_not_taken_for_a_port() {
        let expected = ForwardStats { received_frames: 8, sent_frames: 0, unsent_frames: 2 };
        assert_eq!(forward_stats(STOPPED).unwrap(), vec![expected]);
    }

    #[test]
    fn a_text_without_statistics_is_an_error() {
        assert!(matches!(port_stats("Invalid port 0"), Err(LabError::Unreadable { .. })));
    }
}
