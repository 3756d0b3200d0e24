//! Where results go: a folder for each run, one line of JSON for each window, and the report.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::counted::Counted;
use crate::error::PerfError;
use crate::report::{Played, Report};
use crate::strip;

/// Lines of a file between which a table is replaced.
const MARKS: [&str; 2] = ["<!-- last table: begin -->", "<!-- last table: end -->"];

/// Beside the file with the table: what stands behind it.
const BEHIND: &str = "last-run.md";

/// A line that says of which cell it is.
#[derive(Debug, Serialize)]
struct OfCell<'a> {
    cell: &'a str,
    #[serde(flatten)]
    counted: &'a Counted,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Results {
    folder: PathBuf,
}

impl Results {
    /// Creates the folder of run `run` in `parent`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn create(parent: &Path, run: &str) -> Result<Self, PerfError> {
        let folder = parent.join(run);
        fs::create_dir_all(&folder)
            .map_err(PerfError::io(format!("create {}", folder.display())))?;
        Ok(Self { folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds the windows of a cell, what its switches counted, and a picture of its rounds.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn add(&self, played: &Played) -> Result<(), PerfError> {
        self.append("windows.jsonl", &played.outcome.windows)?;
        let cell = played.cell.name.as_str();
        let named = |counted| OfCell { cell, counted };
        self.append("counters.jsonl", played.outcome.counted.iter().map(named))?;
        match strip::draw(&played.cell.title, &played.lines) {
            Some(svg) => self.write(&format!("{}.svg", played.cell.name), &svg),
            None => Ok(()),
        }
    }

    /// Adds a line of JSON for each of them to a file.
    fn append<T: Serialize>(
        &self,
        name: &str,
        lines: impl IntoIterator<Item = T>,
    ) -> Result<(), PerfError> {
        let path = self.folder.join(name);
        let doing = || PerfError::io(format!("write {}", path.display()));
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(doing())?;
        for line in lines {
            let line = serde_json::to_string(&line).unwrap_or_default();
            writeln!(file, "{line}").map_err(doing())?;
        }
        Ok(())
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), PerfError> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(PerfError::io(format!("write {}", path.display())))
    }
}

/// Writes the table of a run between the marks in `file`, and what stands behind it to [`BEHIND`] in the same folder.
///
/// # Errors
///
/// When the file cannot be read or has no marks, or one of the two cannot be written.
pub fn record(file: &Path, run: &str, report: &Report) -> Result<(), PerfError> {
    let doing = |path: &Path| PerfError::io(format!("rewrite {}", path.display()));
    let before = fs::read_to_string(file).map_err(doing(file))?;
    let after = between_marks(&before, &report.table).ok_or_else(|| {
        let [begin, end] = MARKS;
        PerfError::Plan(format!("{} has no lines \"{begin}\" and \"{end}\"", file.display()))
    })?;
    // The long one first: where it fails, the table is still that of the run before, as what stands behind it is.
    let behind = file.with_file_name(BEHIND);
    let text = format!("# Behind the table of run {run}\n\n{}\n", report.behind.trim());
    fs::write(&behind, text).map_err(doing(&behind))?;
    fs::write(file, after).map_err(doing(file))
}

fn between_marks(before: &str, text: &str) -> Option<String> {
    let [begin, end] = MARKS;
    let (head, rest) = before.split_once(begin)?;
    let (_old, tail) = rest.split_once(end)?;
    Some(format!("{head}{begin}\n\n{}\n\n{end}{tail}", text.trim()))
}

/// The time now, in a form that sorts and can name a folder; UTC.
#[must_use]
pub fn name_of_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    name_of(seconds)
}

fn name_of(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in the calendar of today.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is the last one; 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_run_is_its_time() {
        assert_eq!(name_of(0), "1970-01-01T00-00-00");
        assert_eq!(name_of(951_782_400), "2000-02-29T00-00-00");
        assert_eq!(name_of(951_868_799), "2000-02-29T23-59-59");
        assert_eq!(name_of(1_700_000_000), "2023-11-14T22-13-20");
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("a\n{}\nold\n{}\nb\n", MARKS[0], MARKS[1]);
        let after = between_marks(&text, "new\n").unwrap();
        assert_eq!(after, format!("a\n{}\n\nnew\n\n{}\nb\n", MARKS[0], MARKS[1]));
        assert_eq!(between_marks(&after, "new").unwrap(), after);
        assert_eq!(between_marks("nothing", "new"), None);
    }

    #[test]
    fn the_readme_gets_the_table_of_a_run_and_the_file_beside_it_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let [readme, behind] = ["README.md", BEHIND].map(|name| folder.path().join(name));
        let report = Report { table: "the table\n".into(), behind: "## Figures\n".into() };
        fs::write(&readme, "no marks").unwrap();
        assert!(record(&readme, "R", &report).is_err() && !behind.exists());
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../../perf/README.md"), &readme).unwrap();
        fs::write(&behind, "of the run before").unwrap();
        record(&readme, "R", &report).unwrap();
        let [begin, end] = MARKS;
        let text = fs::read_to_string(&readme).unwrap();
        assert!(text.contains(&format!("{begin}\n\nthe table\n\n{end}")) && text.contains(BEHIND));
        let text = fs::read_to_string(&behind).unwrap();
        assert_eq!(text, "# Behind the table of run R\n\n## Figures\n");
    }

    #[test]
    fn a_table_is_not_replaced_when_what_stands_behind_it_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let readme = folder.path().join("README.md");
        let before = format!("{}\nold\n{}\n", MARKS[0], MARKS[1]);
        fs::write(&readme, &before).unwrap();
        fs::create_dir(folder.path().join(BEHIND)).unwrap();
        let report = Report { table: "new\n".into(), behind: "## Figures\n".into() };
        assert!(record(&readme, "R", &report).is_err());
        assert_eq!(fs::read_to_string(&readme).unwrap(), before);
    }
}
