//! Who may connect to the sockets on which the switch listens: the settings `socket-mode` and `socket-group`.

use std::fmt;

/// Mode and group of the sockets on which the switch listens. A front-end needs to write to one to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// Permission bits of the file: 0o600, 0o660 or 0o666.
    pub mode: u32,
    /// The group of the file; `None` leaves it to the process.
    pub group: Option<SocketGroup>,
}

/// A group, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketGroup {
    /// Looked up on the host when the switch starts.
    Name(String),
    /// The number of a group, whether it has a name or not.
    Id(u32),
}

impl Default for SocketAccess {
    /// The user and the group of the process.
    fn default() -> Self {
        Self { mode: 0o660, group: None }
    }
}

impl fmt::Display for SocketGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// The largest number of a group: the one above it stands for "leave it as it is". See chown(2).
const MAX_GROUP: u32 = u32::MAX - 1;

/// Longest name of a group. See groupadd(8).
const MAX_NAME_BYTES: usize = 32;

/// For the user alone, for the group too, and for everybody. Whoever may not write cannot connect, and a socket is not run.
const MODES: [u32; 3] = [0o600, 0o660, 0o666];

/// The mode that `text` is in octal.
pub(crate) fn socket_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| is_octal && MODES.contains(mode));
    mode.ok_or_else(|| {
        format!(
            "socket-mode = {text:?} is no mode of a socket; write \"0600\" for the user of the switch, \"0660\" for its group too, or \"0666\" for everybody"
        )
    })
}

/// The group that `text` names, by name or by number.
pub(crate) fn socket_group(text: &str) -> Result<SocketGroup, String> {
    if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        return text.parse().map_err(|_| out_of_range(text)).and_then(group_number);
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b":/,\"'\\".contains(&byte);
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(is_plain) {
        return Err(format!(
            "socket-group = {text:?} cannot be the name of a group; write one that \"getent group\" lists, as in socket-group = \"kvm\""
        ));
    }
    Ok(SocketGroup::Name(text.to_owned()))
}

/// The group with this number.
pub(crate) fn group_number(number: u64) -> Result<SocketGroup, String> {
    let id = u32::try_from(number).ok().filter(|id| *id <= MAX_GROUP);
    id.map(SocketGroup::Id).ok_or_else(|| out_of_range(&number.to_string()))
}

fn out_of_range(number: &str) -> String {
    format!("socket-group = {number} is out of range; write a number from 0 to {MAX_GROUP}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_and_lets_the_switch_itself_in() {
        for (text, mode) in [("0660", 0o660), ("660", 0o660), ("0o666", 0o666), ("0600", 0o600)] {
            assert_eq!(socket_mode(text), Ok(mode));
        }
        for text in ["", "0", "0060", "0640", "0770", "1660", "068", "+660", "rw", "0x1b0", "66o"] {
            let refused = socket_mode(text).unwrap_err();
            assert!(refused.contains(&format!("{text:?}")), "{refused}");
        }
    }

    #[test]
    fn a_group_is_a_name_or_a_number() {
        assert_eq!(socket_group("kvm"), Ok(SocketGroup::Name("kvm".to_owned())));
        assert_eq!(socket_group("107"), Ok(SocketGroup::Id(107)));
        assert_eq!(socket_group("libvirt-qemu").unwrap().to_string(), "\"libvirt-qemu\"");
        assert_eq!(group_number(4_294_967_294), Ok(SocketGroup::Id(4_294_967_294)));
        assert!(group_number(4_294_967_295).is_err());
        for text in ["", "k v m", "kvm:", "a/b", "99999999999", "kvm\n", &"k".repeat(33)] {
            assert!(socket_group(text).is_err(), "{text:?}");
        }
    }
}
