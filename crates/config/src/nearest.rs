//! The known word nearest to a misspelt one, for the sentence "did you mean".

/// The word of `known` that `written` most likely stands for, or `None` when nothing is close, or two are equally.
pub(crate) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let apart = || known.iter().map(|word| (edits(written, word), *word));
    let (distance, word) = apart().min()?;
    let is_only_one = apart().filter(|(other, _)| *other == distance).count() == 1;
    (is_only_one && distance <= word.len().div_ceil(3)).then_some(word)
}

/// Fewest insertions, removals and replacements of letters that turn `from` into `to` (Levenshtein), with
/// case and the choice between `_` and `-` counted as no difference.
fn edits(from: &str, to: &str) -> usize {
    let plain = |text: &str| text.to_lowercase().replace('_', "-").chars().collect::<Vec<_>>();
    let (from, to) = (plain(from), plain(to));
    // `row` holds the distances from the letters of `from` seen so far to each beginning of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (taken, letter) in from.iter().enumerate() {
        let mut left = taken + 1;
        let mut next = vec![left];
        for (pair, other) in row.windows(2).zip(&to) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(letter != other)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_one_by_one() {
        for (from, to, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("mtu", "mtu", 0),
        ] {
            assert_eq!(edits(from, to), count, "{from} to {to}");
        }
    }

    #[test]
    fn a_misspelt_key_is_recognised_and_a_strange_one_is_not() {
        let known = ["mirroring", "session", "queue-pairs", "mtu"];
        assert_eq!(nearest("miroring", &known), Some("mirroring"));
        assert_eq!(nearest("Queue_Pairs", &known), Some("queue-pairs"));
        assert_eq!(nearest("colour", &known), None);
    }

    #[test]
    fn of_two_words_that_are_equally_near_none_is_chosen() {
        let known = ["erspan-1", "erspan-2", "gre"];
        assert_eq!(nearest("erspan", &known), None);
        assert_eq!(nearest("erspan2", &known), Some("erspan-2"));
    }
}
