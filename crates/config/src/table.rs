//! One table of a TOML text, read key by key; what is wrong is noted with its line, and reading goes on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Problem;
use crate::nearest::nearest;

/// Collects problems while the text is read.
#[derive(Debug)]
pub(crate) struct Problems<'t> {
    text: &'t str,
    list: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, list: Vec::new() }
    }

    /// Notes a problem at byte `offset` of the text.
    pub(crate) fn add(&mut self, offset: usize, key: String, message: String) {
        let (line, _) = self.place(offset);
        self.list.push(Problem { line: Some(line), column: None, key, message });
    }

    /// Notes that the text is no TOML at byte `offset`.
    pub(crate) fn add_syntax(&mut self, offset: usize, message: String) {
        let (line, column) = self.place(offset);
        let key = String::new();
        self.list.push(Problem { line: Some(line), column: Some(column), key, message });
    }

    /// Line and letter at byte `offset`, both counted from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// Whether there is a problem with `key`, or with a part of it.
    pub(crate) fn is_about(&self, key: &str) -> bool {
        self.list.iter().any(|problem| {
            let rest = problem.key.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
        })
    }

    /// All problems, in the order of their lines.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.line);
        self.list
    }
}

/// A table and the name it goes by in problems.
#[derive(Clone, Debug)]
pub(crate) struct Table<'a, 't> {
    /// As in `port.columbia`; empty for the whole file.
    path: String,
    /// Where the table begins.
    offset: usize,
    entries: &'a DeTable<'t>,
}

impl<'a, 't> Table<'a, 't> {
    /// The table, after noting all keys that are not `known`.
    pub(crate) fn open(
        path: &str,
        offset: usize,
        entries: &'a DeTable<'t>,
        known: &[&str],
        problems: &mut Problems<'_>,
    ) -> Self {
        let table = Self { path: path.to_owned(), offset, entries };
        for key in entries.keys() {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let message = match nearest(word, known) {
                Some(meant) => format!("there is no such key; did you mean \"{meant}\"?"),
                None => format!("there is no such key; the keys here are {}", known.join(", ")),
            };
            problems.add(key.span().start, table.name_of(word), message);
        }
        table
    }

    /// The table that `value` is, if it is one.
    pub(crate) fn of(
        path: &str,
        value: &'a Spanned<DeValue<'t>>,
        known: &[&str],
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        if let DeValue::Table(entries) = value.get_ref() {
            return Some(Self::open(path, value.span().start, entries, known, problems));
        }
        let found = kind(value.get_ref());
        // `port[0]` is the first of those that are written as [[port]].
        let advice = match path.split_once('[') {
            _ if path.contains('.') => String::new(),
            Some((list, _)) => {
                format!("; write [[{list}]], with two brackets, above the settings of each {list}")
            }
            None => format!("; write [{path}], with one bracket, above its settings"),
        };
        let message = format!("found {found} where a table belongs{advice}");
        problems.add(value.span().start, path.to_owned(), message);
        None
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'t>>> {
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// The tables of the array `key`, as written with double brackets.
    pub(crate) fn array(
        &self,
        key: &str,
        problems: &mut Problems<'_>,
    ) -> Vec<&'a Spanned<DeValue<'t>>> {
        self.array_called(key, key, problems)
    }

    /// As [`Table::array`]; `shown` is the key with the tables before it, as it stands between the brackets.
    pub(crate) fn array_called(
        &self,
        key: &str,
        shown: &str,
        problems: &mut Problems<'_>,
    ) -> Vec<&'a Spanned<DeValue<'t>>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        if let DeValue::Array(items) = value.get_ref() {
            return items.iter().collect();
        }
        let message =
            format!("write [[{shown}]], with two brackets, above the settings of each {key}");
        problems.add(value.span().start, self.name_of(key), message);
        Vec::new()
    }

    /// The text at `key`. `example` says how the line should read.
    pub(crate) fn string(
        &self,
        key: &str,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<String> {
        let value = self.get(key)?;
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.clone().into_owned());
        }
        self.note_kind(key, value, "text in quotes", example, problems);
        None
    }

    /// The texts at `key`, or none.
    pub(crate) fn strings(
        &self,
        key: &str,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Vec<String> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.note_kind(key, value, "a list", example, problems);
            return Vec::new();
        };
        let texts = items.iter().map(|item| match item.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => None,
        });
        let texts = texts.collect::<Option<Vec<_>>>();
        if texts.is_none() {
            let message =
                format!("found something else than text in quotes; write, for example, {example}");
            self.note(key, message, problems);
        }
        texts.unwrap_or_default()
    }

    /// The whole numbers at `key`, which are `wanted`.
    pub(crate) fn numbers(
        &self,
        key: &str,
        wanted: &str,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<u64>> {
        let value = self.get(key)?;
        let numbers = match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().map(|item| whole_number(item.get_ref())).collect::<Option<_>>()
            }
            _ => {
                self.note_kind(key, value, wanted, example, problems);
                return None;
            }
        };
        if numbers.is_none() {
            let message = format!(
                "found something else than whole numbers from 0 up; write, for example, {example}"
            );
            self.note(key, message, problems);
        }
        numbers
    }

    /// The whole number at `key`.
    pub(crate) fn number(
        &self,
        key: &str,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let value = self.get(key)?;
        let number = whole_number(value.get_ref());
        if number.is_none() {
            self.note_kind(key, value, "a whole number from 0 up", example, problems);
        }
        number
    }

    /// `true` or `false` at `key`.
    pub(crate) fn flag(&self, key: &str, problems: &mut Problems<'_>) -> Option<bool> {
        let value = self.get(key)?;
        if let DeValue::Boolean(flag) = value.get_ref() {
            return Some(*flag);
        }
        self.note_kind(
            key,
            value,
            "true or false, without quotes",
            &format!("{key} = true"),
            problems,
        );
        None
    }

    /// Notes `message` at `key`, or at the head of the table when the key is not there.
    pub(crate) fn note(&self, key: &str, message: String, problems: &mut Problems<'_>) {
        let offset = self.get(key).map_or(self.offset, |value| value.span().start);
        problems.add(offset, self.name_of(key), message);
    }

    /// Notes that the value of `key` is of the wrong kind.
    pub(crate) fn note_kind(
        &self,
        key: &str,
        value: &Spanned<DeValue<'t>>,
        wanted: &str,
        example: &str,
        problems: &mut Problems<'_>,
    ) {
        let found = kind(value.get_ref());
        let message = format!("found {found}; write {wanted}, as in {example}");
        problems.add(value.span().start, self.name_of(key), message);
    }

    /// `key` with the path of the table before it, as problems name it.
    pub(crate) fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// The number that `value` is, if it is one and not negative.
pub(crate) fn whole_number(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(digits) = value else { return None };
    u64::from_str_radix(digits.as_str(), digits.radix()).ok()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(digits) if digits.as_str().starts_with('-') => "a negative number",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
