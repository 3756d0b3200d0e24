//! Where a contestant is measured: with guests alone, or with wires.

use helio_guest::Pages;

use crate::cells::{Cell, Measure, Scene};
use crate::counted::Counted;
use crate::error::PerfError;
use crate::measure::{self, Common, Effort};
use crate::peer_name::PeerName;
use crate::peers::{Machine, Peer};
use crate::station::Station;
use crate::window::Measured;
use crate::wire_station::WireStation;

/// A switch with all that is attached to it.
#[derive(Debug)]
pub(crate) enum Place {
    /// Guests.
    Guests(Box<Station>),
    /// Wires, and guests perhaps.
    Wires(Box<WireStation>),
}

impl Place {
    /// Starts a switch for a scene, and parks it.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or no frame comes through.
    pub(crate) fn open(
        name: PeerName,
        machine: &Machine,
        cell: &Cell,
        scene: &Scene,
        pages: Pages,
    ) -> Result<Self, PerfError> {
        Ok(match cell.path {
            None => Self::Guests(Box::new(Station::open(name, machine, cell, scene, pages)?)),
            Some(_) => Self::Wires(Box::new(WireStation::open(name, machine, cell, scene, pages)?)),
        })
    }

    pub(crate) fn peer(&self) -> &dyn Peer {
        match self {
            Self::Guests(station) => station.peer.as_ref(),
            Self::Wires(station) => station.peer.as_ref(),
        }
    }

    pub(crate) fn peer_mut(&mut self) -> &mut dyn Peer {
        match self {
            Self::Guests(station) => station.peer.as_mut(),
            Self::Wires(station) => station.peer.as_mut(),
        }
    }

    /// Features in use by the first guest; none on a wire.
    pub(crate) fn features(&self) -> Vec<String> {
        match self {
            Self::Guests(station) => station.subject.features(),
            Self::Wires(_) => Vec::new(),
        }
    }

    /// What the guests have sent, and what the switch says it took in. Asked last: it may be the end of the switch. On a wire
    /// the kernel may drop frames before the switch, so that the two say nothing about each other.
    pub(crate) fn counted(&mut self, name: PeerName, scene: Scene) -> Option<Counted> {
        match self {
            Self::Guests(station) => station.counted(name, scene),
            Self::Wires(_) => None,
        }
    }

    /// What is measured in one window; the switch runs.
    ///
    /// # Errors
    ///
    /// When the switch or the generator cannot go on.
    pub(crate) fn window(
        &mut self,
        name: PeerName,
        cell: &Cell,
        scene: &Scene,
        effort: &Effort,
        common: &Common,
    ) -> Result<Measured, PerfError> {
        match self {
            Self::Guests(station) => {
                // That cell switches mirrors itself.
                if cell.measure != Measure::MirrorOn {
                    station.mirror(scene)?;
                }
                measure::window(station, cell, scene, effort, common)
            }
            Self::Wires(station) => {
                station.mirror(scene)?;
                measure::over_wires(station, name, scene, effort)
            }
        }
    }
}
