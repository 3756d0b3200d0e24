//! The names of virtio feature bits, as VIRTIO 1.2 has them in sections 5.1.3 and 6, without their prefixes.

const NAMES: [(u8, &str); 19] = [
    (0, "csum"),
    (1, "guest_csum"),
    (7, "guest_tso4"),
    (8, "guest_tso6"),
    (9, "guest_ecn"),
    (11, "host_tso4"),
    (12, "host_tso6"),
    (13, "host_ecn"),
    (15, "mrg_rxbuf"),
    (16, "status"),
    (17, "ctrl_vq"),
    (21, "guest_announce"),
    (22, "mq"),
    (27, "any_layout"),
    (28, "indirect_desc"),
    (29, "event_idx"),
    (30, "protocol_features"),
    (32, "version_1"),
    (35, "in_order"),
];

/// The names of the bits in `features`, lowest first; a bit without a name by its number.
pub(crate) fn feature_names(features: u64) -> Vec<String> {
    let bits = (0..64).filter(|bit| features >> bit & 1 == 1);
    bits.map(|bit| match NAMES.iter().find(|(known, _)| *known == bit) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("bit_{bit}"),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_feature_has_a_name() {
        let names = feature_names(helio_vhost_user::OFFERED_FEATURES);
        assert!(names.iter().all(|name| !name.starts_with("bit_")), "{names:?}");
        assert_eq!(names.first().map(String::as_str), Some("csum"));
    }

    #[test]
    fn an_unknown_bit_is_shown_by_its_number() {
        assert_eq!(feature_names(1 << 63), ["bit_63"]);
    }
}
