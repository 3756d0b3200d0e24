//! Echo requests and replies as a capture printed them, and whether they are the ones that a ping sent.

use std::collections::BTreeMap;

/// Which half of an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EchoKind {
    /// The question.
    Request,
    /// The answer.
    Reply,
}

/// One echo request or reply that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Echo {
    /// Which half.
    pub kind: EchoKind,
    /// Its sequence number.
    pub sequence: u16,
}

impl Echo {
    /// Reads a line of tcpdump, such as `IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 0, length 64`.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let (_, echo) = line.split_once("ICMP echo ")?;
        let kind = match echo.split(',').next()? {
            "request" => EchoKind::Request,
            "reply" => EchoKind::Reply,
            _ => return None,
        };
        let (_, sequence) = echo.split_once(" seq ")?;
        Some(Self { kind, sequence: sequence.split(',').next()?.parse().ok()? })
    }
}

/// Whether `lines` show exactly `pings` requests and as many replies, each once; if not, what is wrong.
///
/// # Errors
///
/// A sentence that names the first difference.
pub fn each_once(lines: &[String], pings: u16) -> Result<(), String> {
    let mut seen: BTreeMap<Echo, u32> = BTreeMap::new();
    for line in lines {
        let echo = Echo::read(line).ok_or_else(|| format!("this is no echo: {line}"))?;
        *seen.entry(echo).or_default() += 1;
    }
    if let Some((echo, count)) = seen.iter().find(|(_, count)| **count > 1) {
        return Err(format!("the {} {} came {count} times", word(echo.kind), echo.sequence));
    }
    for kind in [EchoKind::Request, EchoKind::Reply] {
        let count = seen.keys().filter(|echo| echo.kind == kind).count();
        if count != usize::from(pings) {
            return Err(format!(
                "there should be {pings} of kind {}, there are {count}",
                word(kind)
            ));
        }
    }
    Ok(())
}

fn word(kind: EchoKind) -> &'static str {
    match kind {
        EchoKind::Request => "request",
        EchoKind::Reply => "reply",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(echoes: &[(&str, u16)]) -> Vec<String> {
        let line = |(kind, sequence): &(&str, u16)| {
            format!(
                "00:00:01.5 02:01 > 02:02, ethertype IPv4 (0x0800), length 98: 10.0.0.1 > 10.0.0.2: \
                 ICMP echo {kind}, id 7, seq {sequence}, length 64"
            )
        };
        echoes.iter().map(line).collect()
    }

    #[test]
    fn requests_and_replies_each_once_are_right() {
        let seen = lines(&[("request", 0), ("reply", 0), ("request", 1), ("reply", 1)]);
        assert_eq!(each_once(&seen, 2), Ok(()));
    }

    #[test]
    fn a_copy_too_many_is_wrong() {
        let seen = lines(&[("request", 0), ("reply", 0), ("request", 0)]);
        assert_eq!(each_once(&seen, 1), Err("the request 0 came 2 times".to_owned()));
    }

    #[test]
    fn a_missing_reply_is_wrong() {
        assert!(each_once(&lines(&[("request", 0)]), 1).is_err());
        assert!(each_once(&[], 1).is_err());
    }

    #[test]
    fn anything_else_is_wrong() {
        assert!(each_once(&["ARP, Request who-has 10.0.0.2".to_owned()], 0).is_err());
        assert_eq!(each_once(&[], 0), Ok(()));
    }
}
