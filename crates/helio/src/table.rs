//! Tables for people: aligned columns, two blanks apart, numbers to the right.

use std::io::{self, Write};

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let columns = self.columns();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, column) in row.iter().zip(&columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let blanks = " ".repeat(column.width.saturating_sub(width(cell)));
                match column.side {
                    Side::Left => line.extend([cell.as_str(), &blanks]),
                    Side::Right => line.extend([&blanks, cell.as_str()]),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn columns(&self) -> Vec<Column> {
        let count = self.rows.first().map_or(0, Vec::len);
        let column = |index| {
            let cells =
                || self.rows.iter().filter_map(move |row| row.get(index).map(String::as_str));
            let numbers = cells().skip(1).all(is_number);
            let side = if numbers && self.rows.len() > 1 { Side::Right } else { Side::Left };
            Column { width: cells().map(width).max().unwrap_or(0), side }
        };
        (0..count).map(column).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Column {
    width: usize,
    side: Side,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Left,
    Right,
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Digits, also with a unit behind them or a dash instead of them. Addresses are none.
fn is_number(cell: &str) -> bool {
    let first = cell.split(' ').next().unwrap_or_default();
    cell == "-"
        || first.starts_with(|digit: char| digit.is_ascii_digit()) && first.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["NAME", "FRAMES", "DETAIL"]);
        table.row(["columbia", "7", ""].map(str::to_owned).to_vec());
        table.row(["größe", "1234567", "up"].map(str::to_owned).to_vec());
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME       FRAMES  DETAIL\ncolumbia        7\ngröße     1234567  up\n"
        );
    }

    #[test]
    fn a_number_may_have_a_unit_and_an_address_is_none() {
        for number in ["-", "0", "3 (rate-limit 2, no-neighbour 1)", "1.9 us", "12.3 %"] {
            assert!(is_number(number), "{number}");
        }
        for text in [
            "",
            "none",
            "10.0.0.9 by uplink0 (gre)",
            "52:54:00:00:00:01",
            "fd00::9 by up",
            "infinity",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }
}
