//! What the host must offer for a plan to work: the cores of its workers, and the group of its sockets.

use std::fmt;

use nix::unistd::Group;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::{Config, SocketAccess, SocketGroup};

/// A plan asks for what the host does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError(Lack);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Lack {
    /// A core that its worker cannot have.
    Core {
        worker: usize,
        core: usize,
        /// The cores the process may use.
        usable: Vec<usize>,
        why: Refusal,
    },
    /// A group that is not known here.
    Group(String),
    /// A group that could not be looked up, for this reason.
    GroupLookup(String, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The machine has no such core, or it is switched off.
    Absent,
    /// The core is kept from this process, by taskset, a cgroup or a container.
    NotAllowed,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Lack::Core { worker, core, usable, why } => {
                let why = match why {
                    Refusal::Absent => "this machine does not have or has switched off",
                    Refusal::NotAllowed => "this process is not allowed to use",
                };
                let usable = ranges(usable);
                write!(
                    f,
                    "worker {worker} is to run on core {core}, which {why}; write one of the cores {usable}"
                )
            }
            Lack::Group(name) => write!(
                f,
                "this machine has no group {name:?}; at \"socket-group\" under [switch] write one that \"getent group\" lists, or its number"
            ),
            Lack::GroupLookup(name, cause) => write!(
                f,
                "the group {name:?} cannot be looked up: {cause}; at \"socket-group\" under [switch] write its number"
            ),
        }
    }
}

impl std::error::Error for HostError {}

/// Whether this host has what `config` asks for.
///
/// # Errors
///
/// The first worker whose core does not exist, or is not one this process may use; or the group of the sockets, when it is
/// not known.
pub fn check_host(config: &Config) -> Result<(), HostError> {
    config.switch.access.group_id()?;
    let Some(usable) = usable_cores() else { return Ok(()) };
    // Without the list the sentence is less exact, but the check is the same.
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online")
        .map_or_else(|_| usable.clone(), |text| core_list(&text));
    check_cores(config, &online, &usable)
}

impl SocketAccess {
    /// The number of the group, looked up on this host when it was written as a name.
    ///
    /// # Errors
    ///
    /// When there is no such group here, or nobody can say whether there is.
    pub fn group_id(&self) -> Result<Option<u32>, HostError> {
        let name = match &self.group {
            None => return Ok(None),
            Some(SocketGroup::Id(id)) => return Ok(Some(*id)),
            Some(SocketGroup::Name(name)) => name,
        };
        match Group::from_name(name) {
            Ok(Some(group)) => Ok(Some(group.gid.as_raw())),
            Ok(None) => Err(HostError(Lack::Group(name.clone()))),
            Err(errno) => Err(HostError(Lack::GroupLookup(name.clone(), errno.desc().to_owned()))),
        }
    }
}

fn check_cores(config: &Config, online: &[usize], usable: &[usize]) -> Result<(), HostError> {
    for (worker, planned) in config.workers.iter().enumerate() {
        let core = planned.core;
        if usable.contains(&core) {
            continue;
        }
        let why = if online.contains(&core) { Refusal::NotAllowed } else { Refusal::Absent };
        return Err(HostError(Lack::Core { worker, core, usable: usable.to_vec(), why }));
    }
    Ok(())
}

/// Core of the worker of a plan that names none: the last one, because the kernel and its interrupts
/// prefer the first.
pub(crate) fn default_core() -> usize {
    usable_cores().and_then(|cores| cores.last().copied()).unwrap_or(0)
}

/// The cores this process may use, lowest first, or `None` when the kernel does not say.
fn usable_cores() -> Option<Vec<usize>> {
    let set = sched_getaffinity(None).ok()?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    (!cores.is_empty()).then_some(cores)
}

/// The cores in a list of the kernel's, as `0-3,8`.
fn core_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// The reverse of [`core_list`], for people.
fn ranges(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => parts.push((core, core)),
        }
    }
    let shown =
        parts.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_workers() -> Config {
        Config::from_str("[[worker]]\ncore = 1\n[[worker]]\ncore = 3\n", "test.toml").unwrap()
    }

    #[test]
    fn a_core_list_of_the_kernel_is_read_and_written() {
        assert_eq!(core_list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(ranges(&[0, 1, 2, 3, 8]), "0-3,8");
        assert_eq!(core_list("0\n"), [0]);
    }

    #[test]
    fn a_core_that_the_machine_does_not_have_is_named_in_one_sentence() {
        let error = check_cores(&two_workers(), &[0, 1], &[0, 1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "worker 1 is to run on core 3, which this machine does not have or has switched off; write one of the cores 0-1"
        );
    }

    #[test]
    fn a_core_that_is_kept_from_the_process_is_told_apart() {
        let error = check_cores(&two_workers(), &[0, 1, 2, 3], &[1, 2]).unwrap_err();
        assert!(error.to_string().contains("core 3, which this process is not allowed to use"));
        assert_eq!(check_cores(&two_workers(), &[0, 1, 2, 3], &[1, 3]), Ok(()));
    }

    #[test]
    fn a_group_is_found_by_its_name_and_an_unknown_one_is_named_in_one_sentence() {
        let group = |line: &str| {
            let text = format!("[switch]\nsocket-group = {line}\n");
            Config::from_str(&text, "test.toml").unwrap()
        };
        assert_eq!(group("\"root\"").switch.access.group_id(), Ok(Some(0)));
        assert_eq!(group("54321").switch.access.group_id(), Ok(Some(54_321)));
        assert_eq!(Config::from_str("", "test.toml").unwrap().switch.access.group_id(), Ok(None));
        let error = check_host(&group("\"no-such-group\"")).unwrap_err().to_string();
        assert!(error.starts_with("this machine has no group \"no-such-group\"; "), "{error}");
    }

    #[test]
    fn the_default_worker_fits_the_host() {
        assert_eq!(check_host(&Config::from_str("", "empty.toml").unwrap()), Ok(()));
    }
}
