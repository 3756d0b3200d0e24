//! The mirror sessions, and the selection of destinations for one frame.

use helio_types::{MAX_PORTS, Mirroring, PortId, PortSet, SessionId};

/// Whether all receivers of a frame must get identical bytes, even from a sender that rewrites the buffer while
/// it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exactness {
    /// Each delivery reads the sender's buffer.
    ByReference,
    /// The frame is copied privately once, and every delivery, the ordinary ones too, reads that.
    Exact,
}

/// The destinations of all sessions that one frame concerns, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// They want a copy. Whether they get one, and how, says [`MirrorTable::plan`].
    pub wanted: PortSet,
}

impl Selected {
    /// No session is concerned.
    pub const NONE: Self = Self { wanted: PortSet::EMPTY };

    /// Whether no copy is wanted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// Who is source and who is destination of which session.
#[derive(Clone, Debug)]
pub struct MirrorTable {
    /// Sources of sessions that have a destination: the ports at which a frame can be mirrored.
    watched: PortSet,
    /// Destinations of exact sessions.
    pub(crate) exact: PortSet,
    /// For each port the destinations of its session, if it is a source.
    copies_of: Box<[PortSet]>,
    parts: Box<[Option<Part>]>,
}

/// The part of one port. A port without one takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    mirroring: Mirroring,
    session: SessionId,
}

impl MirrorTable {
    /// The table of these ports, with the sessions that are exact. Of two settings for one port the later
    /// counts.
    #[must_use]
    pub fn new(ports: &[(PortId, Mirroring, SessionId)], exact: &[SessionId]) -> Self {
        let mut parts = vec![None; MAX_PORTS].into_boxed_slice();
        for &(port, mirroring, session) in ports {
            if let Some(part) = parts.get_mut(port.index()) {
                *part = (mirroring != Mirroring::None).then_some(Part { mirroring, session });
            }
        }
        let mut table = Self {
            watched: PortSet::EMPTY,
            exact: PortSet::EMPTY,
            copies_of: vec![PortSet::EMPTY; MAX_PORTS].into_boxed_slice(),
            parts,
        };
        let mut sessions: Vec<_> = table.parts.iter().flatten().map(|part| part.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        for session in sessions {
            table.compile(session);
            if exact.contains(&session) {
                table.exact = table.exact.union(&table.destinations(session));
            }
        }
        table
    }

    fn compile(&mut self, session: SessionId) {
        let destinations = self.destinations(session);
        if destinations.is_empty() {
            return;
        }
        for source in &self.sources(session) {
            self.watched.insert(source);
            if let Some(copies) = self.copies_of.get_mut(source.index()) {
                *copies = destinations;
            }
        }
    }

    /// The destinations that want a copy of a frame that entered through `ingress` and is forwarded to
    /// `production`: those of the session of each source among these ports.
    #[must_use]
    pub fn select(&self, ingress: PortId, production: &PortSet) -> Selected {
        if self.watched.is_empty() {
            return Selected::NONE;
        }
        let receiving = production.intersection(&self.watched);
        let mut wanted = self.copies_of(ingress);
        for source in &receiving {
            wanted = wanted.union(&self.copies_of(source));
        }
        Selected { wanted }
    }

    fn copies_of(&self, port: PortId) -> PortSet {
        self.copies_of.get(port.index()).copied().unwrap_or_default()
    }

    /// Whether there is an exact session.
    #[inline]
    #[must_use]
    pub fn has_exact(&self) -> bool {
        !self.exact.is_empty()
    }

    /// The members of `ports` that are destinations of exact sessions.
    #[must_use]
    pub fn exact_among(&self, ports: &PortSet) -> PortSet {
        ports.intersection(&self.exact)
    }

    /// The sources of `session`.
    #[must_use]
    pub fn sources(&self, session: SessionId) -> PortSet {
        self.ports_with(Part { mirroring: Mirroring::Source, session })
    }

    /// The destinations of `session`.
    #[must_use]
    pub fn destinations(&self, session: SessionId) -> PortSet {
        self.ports_with(Part { mirroring: Mirroring::Destination, session })
    }

    /// The session whose destination `port` is. It is in one only, so what happens to a copy is accounted by
    /// its destination.
    #[must_use]
    pub fn session_of(&self, port: PortId) -> Option<SessionId> {
        let part = self.parts.get(port.index()).copied().flatten()?;
        (part.mirroring == Mirroring::Destination).then_some(part.session)
    }

    fn ports_with(&self, wanted: Part) -> PortSet {
        let has = |(_, part): &(usize, &Option<Part>)| **part == Some(wanted);
        let matching = self.parts.iter().enumerate().filter(has);
        matching.filter_map(|(index, _)| PortId::new(index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mirroring::{Destination, None as NoPart, Source};

    fn port(index: usize) -> PortId {
        PortId::new(index).unwrap()
    }

    fn set(indices: &[usize]) -> PortSet {
        indices.iter().map(|&index| port(index)).collect()
    }

    fn table(ports: &[(usize, Mirroring, u8)]) -> MirrorTable {
        let ports: Vec<_> = ports.iter().map(|&(p, m, s)| (port(p), m, SessionId(s))).collect();
        MirrorTable::new(&ports, &[])
    }

    fn wanted(table: &MirrorTable, ingress: usize, production: &[usize]) -> Vec<usize> {
        let selected = table.select(port(ingress), &set(production));
        selected.wanted.iter().map(PortId::index).collect()
    }

    #[test]
    fn s4_2_everything_a_source_sends_is_wanted() {
        let table = table(&[(0, Source, 0), (5, Destination, 0)]);
        assert_eq!(wanted(&table, 0, &[1]), [5]);
    }

    #[test]
    fn s4_2_everything_a_source_receives_is_wanted_flooded_frames_too() {
        let table = table(&[(0, Source, 0), (5, Destination, 0)]);
        assert_eq!(wanted(&table, 1, &[0]), [5]);
        assert_eq!(wanted(&table, 1, &[0, 2, 3]), [5]);
    }

    #[test]
    fn s4_2_what_no_source_sends_or_receives_is_not_wanted() {
        let table = table(&[(0, Source, 0), (5, Destination, 0), (6, NoPart, 0)]);
        assert!(wanted(&table, 1, &[2, 5, 6]).is_empty());
    }

    #[test]
    fn s4_1_with_mirroring_none_on_all_ports_nothing_is_wanted() {
        let table = table(&[(0, NoPart, 0), (1, NoPart, 0)]);
        assert!(table.select(port(0), &set(&[1])).is_none());
    }

    #[test]
    fn s4_3_every_destination_of_a_session_wants_the_frames_of_every_source() {
        let table =
            table(&[(0, Source, 0), (1, Source, 0), (5, Destination, 0), (6, Destination, 0)]);
        assert_eq!(wanted(&table, 0, &[3]), [5, 6]);
        assert_eq!(wanted(&table, 1, &[3]), [5, 6]);
        assert_eq!(wanted(&table, 3, &[1]), [5, 6]);
    }

    #[test]
    fn s4_1_sessions_do_not_see_each_other() {
        let table =
            table(&[(0, Source, 0), (1, Source, 9), (5, Destination, 0), (6, Destination, 9)]);
        assert_eq!(wanted(&table, 0, &[3]), [5]);
        assert_eq!(wanted(&table, 1, &[3]), [6]);
    }

    #[test]
    fn s4_5_a_frame_between_sources_of_two_sessions_is_wanted_by_both() {
        let table =
            table(&[(0, Source, 0), (1, Source, 255), (5, Destination, 0), (6, Destination, 255)]);
        assert_eq!(wanted(&table, 0, &[1]), [5, 6]);
    }

    #[test]
    fn s4_11_what_a_destination_receives_is_not_wanted_by_the_others() {
        let table = table(&[(0, Source, 0), (5, Destination, 0), (6, Destination, 0)]);
        assert!(wanted(&table, 6, &[5]).is_empty());
    }

    #[test]
    fn a_source_without_destination_and_a_destination_without_source_cost_nothing() {
        let table = table(&[(0, Source, 1), (5, Destination, 2)]);
        assert!(table.watched.is_empty());
        assert!(wanted(&table, 0, &[5]).is_empty());
    }

    #[test]
    fn a_port_that_becomes_a_destination_is_a_source_no_longer() {
        let table = table(&[(0, Source, 0), (5, Destination, 0), (0, Destination, 0)]);
        assert!(wanted(&table, 0, &[1]).is_empty());
        assert_eq!(table.sources(SessionId(0)), PortSet::EMPTY);
        assert_eq!(table.destinations(SessionId(0)), set(&[0, 5]));
    }

    #[test]
    fn a_destination_knows_its_session_and_a_source_is_no_destination() {
        let table = table(&[(0, Source, 7), (5, Destination, 7), (6, NoPart, 7)]);
        assert_eq!(table.session_of(port(5)), Some(SessionId(7)));
        assert_eq!(table.session_of(port(0)), None);
        assert_eq!(table.session_of(port(6)), None);
    }

    #[test]
    fn the_last_port_can_be_source_and_destination() {
        let last = MAX_PORTS - 1;
        assert_eq!(wanted(&table(&[(last, Source, 0), (0, Destination, 0)]), last, &[1]), [0]);
        assert_eq!(wanted(&table(&[(0, Source, 0), (last, Destination, 0)]), 0, &[1]), [last]);
    }
}
