//! Numbers with limits, and the sentence that states the limits.

use std::ops::RangeInclusive;

/// `value` as a `T` when it lies in `range`; otherwise the sentence that says what to write.
///
/// A range that does not fit `T` would be refused like a value outside of it.
pub(crate) fn within<T: TryFrom<u64>>(
    key: &str,
    value: u64,
    range: RangeInclusive<u64>,
) -> Result<T, String> {
    let inside = range.contains(&value).then(|| T::try_from(value).ok()).flatten();
    inside.ok_or_else(|| {
        format!(
            "{key} = {value} is out of range; write a number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_the_range_and_their_neighbours_do_not() {
        assert_eq!(within::<u16>("mtu", 68, 68..=65_535), Ok(68));
        assert_eq!(within::<u16>("mtu", 65_535, 68..=65_535), Ok(65_535));
        assert!(within::<u16>("mtu", 67, 68..=65_535).is_err());
        let refused = within::<u16>("mtu", 65_536, 68..=65_535);
        assert_eq!(
            refused,
            Err("mtu = 65536 is out of range; write a number from 68 to 65535".to_owned())
        );
    }
}
