//! The named mirror sessions of the running switch: which numbers they and their destinations have, and what workers are told of
//! them.

use helio_config::{
    MirrorDestination, MirrorDirection, MirrorRate, RemoteDestination, SessionConfig,
};
use helio_control::ControlError;
use helio_counters::MirrorCounts;
use helio_encap::SnapLen;
use helio_filter::Program;
use helio_mirror::{
    Directions, Exactness, Leg, LegForm, Numbering, Rate, RefusedFrames, Remote, Session, Sessions,
    Sources,
};
use helio_types::{LegId, MAX_LEGS, PortSet};
use helio_underlay::Endpoint;

use crate::cards::Cards;
use crate::ports::Ports;
use crate::underlay::{endpoint, uplink_of};

/// A named session that is served.
#[derive(Clone)]
pub(crate) struct ServedSession {
    pub(crate) config: SessionConfig,
    /// Its own for as long as it is there, whatever becomes of its settings.
    number: u64,
    filter: Option<Program>,
    pub(crate) legs: Vec<ServedLeg>,
}

/// One of its destinations.
#[derive(Clone)]
pub(crate) struct ServedLeg {
    pub(crate) id: LegId,
    number: u64,
    /// How far its copies are numbered. It is kept here because workers forget a destination whose uplink is removed.
    numbering: Numbering,
    pub(crate) destination: MirrorDestination,
    /// What the counters of its number held when it came.
    pub(crate) base: MirrorCounts,
}

/// All named sessions, in the order they came.
#[derive(Clone, Default)]
pub(crate) struct ServedSessions {
    served: Vec<ServedSession>,
    last_number: u64,
}

impl ServedSessions {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ServedSession> {
        self.served.iter()
    }

    /// Puts a session in its place: that of the one of the same name, or the last. Destinations that were there before keep
    /// their numbers and counts, also where it is set anew how copies travel there, or what they say of the switch: to whoever
    /// gets them they are one stream.
    /// `counts` says what the counters of a new one hold.
    pub(crate) fn put(
        &mut self,
        config: SessionConfig,
        filter: Option<Program>,
        counts: impl Fn(LegId) -> MirrorCounts,
    ) -> Result<(), ControlError> {
        let place = self.served.iter().position(|session| session.config.name == config.name);
        let legs_of = |place: usize| self.served.get(place).map_or(&[][..], |old| &old.legs);
        let before = place.map_or(&[][..], legs_of);
        let is_new = |destination: &&MirrorDestination| {
            !before.iter().any(|leg| leg.destination.is_continued_by(destination))
        };
        // Also what ends now keeps its number until the workers have forgotten it.
        let free: Vec<_> =
            (0..MAX_LEGS).filter_map(LegId::new).filter(|id| !self.has_leg(*id)).collect();
        if config.destinations.iter().filter(is_new).count() > free.len() {
            return Err(ControlError::conflict(format!(
                "named sessions have at most {MAX_LEGS} destinations in all; leave some out, or take the old ones away first"
            )));
        }
        let (number, mut before) = match place.and_then(|place| self.served.get_mut(place)) {
            Some(session) => (session.number, std::mem::take(&mut session.legs)),
            None => (self.next_number(), Vec::new()),
        };
        let mut free = free.into_iter();
        let mut legs = Vec::new();
        for destination in &config.destinations {
            let kept = before.iter().position(|leg| leg.destination.is_continued_by(destination));
            match kept {
                Some(kept) => legs.push(ServedLeg {
                    destination: destination.clone(),
                    ..before.swap_remove(kept)
                }),
                None => legs.extend(free.next().map(|id| ServedLeg {
                    id,
                    number: self.next_number(),
                    numbering: Numbering::default(),
                    destination: destination.clone(),
                    base: counts(id),
                })),
            }
        }
        let session = ServedSession { config, number, filter, legs };
        match place.and_then(|place| self.served.get_mut(place)) {
            Some(old) => *old = session,
            None => self.served.push(session),
        }
        Ok(())
    }

    /// Takes a session out.
    pub(crate) fn take(&mut self, name: &str) -> Option<ServedSession> {
        let place = self.served.iter().position(|session| session.config.name == name)?;
        Some(self.served.remove(place))
    }

    /// Has the sessions again that it had when `before` was made of it. Numbers given since are not given again: a worker may
    /// know them.
    pub(crate) fn go_back(&mut self, before: Self) {
        self.served = before.served;
    }

    fn has_leg(&self, id: LegId) -> bool {
        self.served.iter().flat_map(|session| &session.legs).any(|leg| leg.id == id)
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// What workers are told, with these ports and their cards.
    pub(crate) fn compile(&self, ports: &Ports, cards: &Cards) -> Sessions {
        Sessions::new(self.served.iter().map(|session| session.compile(ports, cards)).collect())
    }
}

impl ServedSession {
    fn compile(&self, ports: &Ports, cards: &Cards) -> Session {
        let config = &self.config;
        Session {
            number: self.number,
            sources: Sources {
                ports: source_ports(config, ports),
                vlans: config.sources.vlans.iter().copied().collect(),
                macs: config.sources.macs.clone(),
            },
            directions: match config.direction {
                MirrorDirection::Ingress => Directions::Ingress,
                MirrorDirection::Egress => Directions::Egress,
                MirrorDirection::Both => Directions::Both,
            },
            filter: self.filter.clone(),
            one_in: config.sample,
            rate: config.rate.map(|rate| match rate {
                MirrorRate::BytesPerSecond { rate, burst_bytes } => {
                    Rate::Bytes { per_second: rate, burst: burst_bytes }
                }
                MirrorRate::FramesPerSecond { rate, burst_frames } => {
                    Rate::Frames { per_second: rate, burst: burst_frames }
                }
            }),
            snap_len: config.snap_len.and_then(SnapLen::new).unwrap_or(SnapLen::WHOLE),
            exactness: if config.exact { Exactness::Exact } else { Exactness::ByReference },
            refused: match config.include_dropped {
                true => RefusedFrames::Included,
                false => RefusedFrames::Left,
            },
            legs: self.legs.iter().filter_map(|leg| leg.compile(ports, cards)).collect(),
        }
    }
}

/// The ports that are watched by name or by label.
pub(crate) fn source_ports(config: &SessionConfig, ports: &Ports) -> PortSet {
    let sources = &config.sources;
    let is_watched = |port: &&crate::ports::ServedPort| {
        sources.ports.contains(&port.config.name)
            || port.config.labels.iter().any(|label| sources.labels.contains(label))
    };
    ports.iter().filter(is_watched).map(|port| port.id).collect()
}

impl ServedLeg {
    /// What workers are told; `None` while its port is not there.
    fn compile(&self, ports: &Ports, cards: &Cards) -> Option<Leg> {
        let port = ports.find(self.destination.port())?.id;
        let form = match &self.destination {
            MirrorDestination::Port { .. } => LegForm::Plain,
            MirrorDestination::Rspan { vlan, .. } => LegForm::RemoteVlan(*vlan),
            MirrorDestination::Remote(remote) => {
                LegForm::Remote(self.remote(remote, ports, cards)?.into())
            }
        };
        Some(Leg { id: self.id, port, form })
    }

    fn remote(&self, remote: &RemoteDestination, ports: &Ports, cards: &Cards) -> Option<Remote> {
        let uplink = uplink_of(ports, &remote.uplink)?;
        let endpoint: Endpoint = match endpoint(remote, uplink, cards) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                tracing::warn!("no copies go to {}: {error}", remote.remote);
                return None;
            }
        };
        Some(Remote {
            number: self.number,
            numbering: self.numbering.clone(),
            endpoint,
            next_hop: remote.remote_mac,
            encapsulation: remote.encapsulation,
            oversize: remote.oversize,
            dscp: remote.dscp,
            hop_limit: remote.ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_config::Config;

    /// A session of this name, with a collector, and with `sample`.
    fn session(name: &str, sample: u32) -> SessionConfig {
        let text = format!(
            "[[port]]\nname = \"up\"\ninterface = \"helio-none\"\n[[mirror]]\nname = \"{name}\"\n\
             source-vlans = [10]\nsample = {sample}\n[[mirror.destination]]\nport = \"up\"\n"
        );
        Config::from_str(&text, "a test").unwrap().sessions.remove(0)
    }

    /// Puts a session in its place, and tells its number and those of its destinations.
    fn put(sessions: &mut ServedSessions, config: &SessionConfig) -> (u64, Vec<u64>) {
        sessions.put(config.clone(), None, |_| MirrorCounts::default()).unwrap();
        let put = sessions.iter().find(|session| session.config == *config).unwrap();
        (put.number, put.legs.iter().map(|leg| leg.number).collect())
    }

    #[test]
    fn a_session_is_the_same_one_until_it_is_taken_out() {
        let mut sessions = ServedSessions::default();
        let first = put(&mut sessions, &session("sql", 1));
        let other = put(&mut sessions, &session("web", 1));
        assert_ne!(first.0, other.0);
        assert_eq!(put(&mut sessions, &session("sql", 2)), first);
        assert!(sessions.take("sql").is_some());
        let again = put(&mut sessions, &session("sql", 2));
        assert!(again.0 > other.0 && again.1[0] > other.1[0], "{again:?}");
    }

    /// A session with a collector in this form.
    fn far(encapsulation: &str, lines: &str) -> SessionConfig {
        let text = format!(
            "[[port]]\nname = \"up\"\ninterface = \"helio-none\"\n[[mirror]]\nname = \"far\"\n\
             source-vlans = [10]\n[[mirror.destination]]\nuplink = \"up\"\nlocal = \"10.0.0.1/24\"\n\
             encapsulation = \"{encapsulation}\"\n{lines}\n"
        );
        Config::from_str(&text, "a test").unwrap().sessions.remove(0)
    }

    #[test]
    fn a_destination_is_the_same_one_however_copies_travel_there() {
        let far = |lines: &str| far("erspan-2", lines);
        let mut sessions = ServedSessions::default();
        let first = put(&mut sessions, &far("remote = \"10.0.0.9\"\nid = 7"));
        for same in ["dscp = 46", "ttl = 3", "mtu = 9000", "oversize = \"drop\""] {
            let changed = far(&format!("remote = \"10.0.0.9\"\nid = 7\n{same}"));
            assert_eq!(put(&mut sessions, &changed), first, "{same}");
        }
        for other in ["remote = \"10.0.0.8\"\nid = 7", "remote = \"10.0.0.8\"\nid = 8"] {
            let changed = put(&mut sessions, &far(other));
            assert!(changed.0 == first.0 && changed.1[0] > first.1[0], "{changed:?}");
        }
    }

    #[test]
    fn a_destination_is_the_same_one_while_receivers_tell_its_numbers_from_no_others() {
        let far = |form: &str, lines: &str| far(form, &format!("remote = \"10.0.0.9\"\n{lines}"));
        let mut sessions = ServedSessions::default();
        let first = put(&mut sessions, &far("erspan-3", "id = 7"));
        for same in ["hardware-id = 5", "security-group = 9", "sub-header = false"] {
            let changed = far("erspan-3", &format!("id = 7\n{same}"));
            assert_eq!(put(&mut sessions, &changed), first, "{same}");
        }
        let mut last = first.1[0];
        for (form, lines) in [
            ("erspan-3", "id = 8"),
            ("erspan-2", "id = 8"),
            ("gre", "id = 8"),
            ("gre", "id = 8\nsequence = true"),
            ("gre", "sequence = true"),
        ] {
            let changed = put(&mut sessions, &far(form, lines));
            assert!(changed.0 == first.0 && changed.1[0] > last, "{form} {lines}: {changed:?}");
            last = changed.1[0];
        }
    }
}
