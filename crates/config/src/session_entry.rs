//! A named mirror session as people write it, and the checks that turn it into a [`SessionConfig`].

use std::collections::HashSet;
use std::hash::Hash;
use std::num::{NonZeroU32, NonZeroU64};

use helio_types::{MAX_FRAME_BYTES, MIN_FRAME_BYTES, MacAddr, VlanId};
use serde::{Deserialize, Serialize};

use crate::port::{check_label, check_port_name};
use crate::port_entry::wrong_word;
use crate::problem::{Faults, SessionFaults};
use crate::range::within;
use crate::session::{
    MAX_DESTINATIONS, MirrorDestination, MirrorDirection, MirrorRate, RemoteDestination,
    SessionConfig, Sources,
};
use crate::underlay::card_address;
use crate::vlan_setting::vlan_id;
use crate::{DestinationEntry, SessionError};

/// Longest text of a filter, in bytes: what its compiler takes.
const MAX_FILTER_BYTES: usize = 8192;

/// A named session as written, in TOML and in JSON: nothing is checked yet, and `None` stands for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEntry {
    /// Name of the session.
    pub name: String,
    /// Names of ports that are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ports: Vec<String>,
    /// Labels of ports that are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_labels: Vec<String>,
    /// VLANs that are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_vlans: Vec<u64>,
    /// Addresses that are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_macs: Vec<String>,
    /// `ingress`, `egress` or `both`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Which frames are wanted, in the syntax of pcap-filter(7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Most bytes of each copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snap_len: Option<u64>,
    /// One frame in so many, as guests send them, is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
    /// Most bytes of copies in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<u64>,
    /// Bytes that may leave at once after a silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_burst_bytes: Option<u64>,
    /// Most copies in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_frames_per_s: Option<u64>,
    /// Copies that may leave at once after a silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_burst_frames: Option<u64>,
    /// Whether every frame is copied once into private memory first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Whether frames are copied that the switch refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_dropped: Option<bool>,
    /// Where copies go.
    #[serde(default)]
    pub destination: Vec<DestinationEntry>,
}

impl SessionEntry {
    /// The checked session.
    ///
    /// # Errors
    ///
    /// All keys that are wrong, each with a sentence that says what to write instead.
    pub fn check(&self) -> Result<SessionConfig, SessionError> {
        let mut all = SessionFaults::default();
        let mut own = Faults::default();
        let session = self.check_own(&mut own);
        if self.destination.is_empty() {
            own.add("destination", NO_DESTINATION.to_owned());
        }
        if self.destination.len() > MAX_DESTINATIONS {
            let count = self.destination.len();
            let text =
                format!("the session has {count} destinations; write at most {MAX_DESTINATIONS}");
            own.add("destination", text);
        }
        all.take(None, own);
        let mut destinations = Vec::new();
        for (position, entry) in self.destination.iter().enumerate() {
            let mut faults = Faults::default();
            if let Some(destination) = entry.check_into(&mut faults) {
                self.check_beside(&destination, &destinations, &mut faults);
                destinations.push(destination);
            }
            all.take(Some(position), faults);
        }
        all.none_or(session.map(|session| SessionConfig { destinations, ..session }))
    }

    /// All but the destinations. Every check is made before the first `?`.
    fn check_own(&self, faults: &mut Faults) -> Option<SessionConfig> {
        let name = faults.keep("name", check_session_name(&self.name).map(|()| self.name.clone()));
        let sources = self.check_sources(faults);
        let direction = faults.keep("direction", direction(self.direction.as_deref()));
        let filter = self.filter.as_deref().map(check_filter).transpose();
        let filter = faults.keep("filter", filter);
        let snap_len = self.snap_len.map(|bytes| within("snap-len", bytes, SNAP_LEN)).transpose();
        let snap_len = faults.keep("snap-len", snap_len);
        let sample = within("sample", self.sample.unwrap_or(1), 1..=u64::from(u32::MAX));
        let sample = faults.keep("sample", sample).and_then(NonZeroU32::new);
        let rate = self.check_rate(faults);
        Some(SessionConfig {
            name: name?,
            sources: sources?,
            direction: direction?,
            filter: filter?,
            snap_len: snap_len?,
            sample: sample?,
            rate: rate?,
            exact: self.exact.unwrap_or(false),
            include_dropped: self.include_dropped.unwrap_or(false),
            destinations: Vec::new(),
        })
    }

    fn check_sources(&self, faults: &mut Faults) -> Option<Sources> {
        let lists = [&self.source_ports, &self.source_labels, &self.source_macs];
        if lists.iter().all(|list| list.is_empty()) && self.source_vlans.is_empty() {
            faults.add("source-ports", NO_SOURCE.to_owned());
        }
        let named = |name: &String| check_port_name(name).map(|()| name.clone());
        let ports =
            faults.keep("source-ports", each_once("source-ports", &self.source_ports, named));
        let label = |label: &String| check_label(label).map(|()| label.clone());
        let labels =
            faults.keep("source-labels", each_once("source-labels", &self.source_labels, label));
        let vlan = |vlan: &u64| vlan_id("source-vlans", *vlan);
        let vlans =
            faults.keep("source-vlans", each_once("source-vlans", &self.source_vlans, vlan));
        let mac = |mac: &String| card_address("source-macs", mac);
        let macs = faults.keep("source-macs", each_once("source-macs", &self.source_macs, mac));
        Some(Sources { ports: ports?, labels: labels?, vlans: vlans?, macs: macs? })
    }

    fn check_rate(&self, faults: &mut Faults) -> Option<Option<MirrorRate>> {
        if self.rate_bytes_per_s.is_some() && self.rate_frames_per_s.is_some() {
            let text = "the rate is one of bytes or of frames; leave rate-bytes-per-s or rate-frames-per-s out";
            faults.add("rate-frames-per-s", text.to_owned());
        }
        for (burst, rate, is_alone) in [
            (
                "rate-burst-bytes",
                "rate-bytes-per-s",
                self.rate_burst_bytes.is_some() && self.rate_bytes_per_s.is_none(),
            ),
            (
                "rate-burst-frames",
                "rate-frames-per-s",
                self.rate_burst_frames.is_some() && self.rate_frames_per_s.is_none(),
            ),
        ] {
            if is_alone {
                faults.add(
                    burst,
                    format!("{burst} is of a rate; write {rate} too, or leave {burst} out"),
                );
            }
        }
        let bytes = per_second("rate-bytes-per-s", self.rate_bytes_per_s, faults)?;
        let frames = per_second("rate-frames-per-s", self.rate_frames_per_s, faults)?;
        let burst_bytes = burst(
            "rate-burst-bytes",
            self.rate_burst_bytes,
            bytes,
            u64::from(MAX_FRAME_BYTES),
            faults,
        )?;
        let burst_frames = burst("rate-burst-frames", self.rate_burst_frames, frames, 1, faults)?;
        Some(match (bytes, frames) {
            (Some(rate), _) => {
                Some(MirrorRate::BytesPerSecond { rate, burst_bytes: burst_bytes.get() })
            }
            (None, Some(rate)) => Some(MirrorRate::FramesPerSecond { rate, burst_frames }),
            (None, None) => None,
        })
    }

    /// Whether copies for `destination` would be watched again, or go to one place twice.
    fn check_beside(
        &self,
        destination: &MirrorDestination,
        earlier: &[MirrorDestination],
        faults: &mut Faults,
    ) {
        if earlier.iter().any(|other| other.is_same_place(destination)) {
            let text = format!(
                "{destination} is a destination of this session already; keep one of the two"
            );
            faults.add(destination.port_key(), text);
        } else {
            let beside = |other: &MirrorDestination| {
                destination.check_own_address(other, &other.to_string())
            };
            faults.keep("mac", earlier.iter().try_for_each(beside));
            let numbers = |other: &MirrorDestination| {
                destination.check_numbers(other, "another destination here")
            };
            faults.keep("id", earlier.iter().try_for_each(numbers));
        }
        let port = destination.port();
        let is_source = self.source_ports.iter().any(|source| source == port);
        match destination {
            MirrorDestination::Port { .. } | MirrorDestination::Rspan { .. } if is_source => {
                let text = format!(
                    "{port:?} is a source of this session too, and its copies would be watched again; write another port, or leave it out of source-ports"
                );
                faults.add("port", text);
            }
            MirrorDestination::Remote(_) if is_source && self.watches_egress() => {
                let text = format!(
                    "copies leave by {port:?}, which is a source of this session, and would be watched again; write direction = \"ingress\", or leave it out of source-ports"
                );
                faults.add("uplink", text);
            }
            _ => {}
        }
        self.check_vlan_beside(destination, faults);
    }

    /// Whether copies for `destination` travel in a VLAN that is watched.
    fn check_vlan_beside(&self, destination: &MirrorDestination, faults: &mut Faults) {
        let is_watched = |vlan: &VlanId| self.source_vlans.contains(&u64::from(vlan.get()));
        match destination {
            MirrorDestination::Rspan { vlan, .. } if is_watched(vlan) => {
                let text = format!(
                    "rspan-vlan = {vlan} is a source of this session too, and its copies would be watched again; write a VLAN that carries nothing else"
                );
                faults.add("rspan-vlan", text);
            }
            MirrorDestination::Remote(RemoteDestination { vlan: Some(vlan), .. })
                if is_watched(vlan) =>
            {
                let text = format!(
                    "vlan = {vlan} is a source of this session too, and copies that come back from there would be watched again; write another VLAN, or leave it out of source-vlans"
                );
                faults.add("vlan", text);
            }
            _ => {}
        }
    }

    fn watches_egress(&self) -> bool {
        self.direction.as_deref() != Some(MirrorDirection::Ingress.name())
    }
}

/// From an Ethernet header to the longest frame.
const SNAP_LEN: std::ops::RangeInclusive<u64> = MIN_FRAME_BYTES as u64..=MAX_FRAME_BYTES as u64;

const NO_SOURCE: &str = "the session watches nothing; write, for example, source-ports = [\"columbia\"], or source-labels, source-vlans or source-macs";

const NO_DESTINATION: &str = "the session has no destination; write [[mirror.destination]] and, for example, port = \"sniffie\"";

/// Whether `name` can be the name of a mirror session: that of a port, and no number.
///
/// # Errors
///
/// A sentence that says what to write.
pub fn check_session_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!(
            "{name:?} cannot be the name of a session, as numbers are those of sessions made by the setting of ports; write a name with a letter"
        ));
    }
    check_port_name(name)
        .map_err(|text| text.replace("the name of a port", "the name of a session"))
}

fn direction(word: Option<&str>) -> Result<MirrorDirection, String> {
    let Some(word) = word else { return Ok(MirrorDirection::default()) };
    let known = MirrorDirection::ALL.into_iter().find(|direction| direction.name() == word);
    known.ok_or_else(|| {
        wrong_word("direction", word, &MirrorDirection::ALL.map(MirrorDirection::name))
    })
}

fn check_filter(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(
            "filter is empty; leave it out, or write, for example, filter = \"tcp port 1433\""
                .to_owned(),
        );
    }
    if text.len() > MAX_FILTER_BYTES || text.contains('\0') {
        return Err(format!(
            "filter is a text of {} bytes; write at most {MAX_FILTER_BYTES}, without a zero byte",
            text.len()
        ));
    }
    Ok(text.to_owned())
}

fn per_second(
    key: &'static str,
    rate: Option<u64>,
    faults: &mut Faults,
) -> Option<Option<NonZeroU64>> {
    let Some(rate) = rate else { return Some(None) };
    let rate: u64 = faults.keep(key, within(key, rate, 1..=u64::from(u32::MAX) * 1000))?;
    NonZeroU64::new(rate).map(Some)
}

/// The burst; left out, what 10 ms of the rate give, and `least` at least.
fn burst(
    key: &'static str,
    written: Option<u64>,
    rate: Option<NonZeroU64>,
    least: u64,
    faults: &mut Faults,
) -> Option<NonZeroU32> {
    let longest = u64::from(u32::MAX);
    let usual = rate.map_or(least, |rate| (rate.get() / 100).clamp(least, longest));
    let burst = within(key, written.unwrap_or(usual), 1..=longest);
    faults.keep(key, burst).and_then(NonZeroU32::new)
}

/// `list` with each item checked, or why one cannot be there.
pub(crate) fn each_once<T, U: Clone + Eq + Hash>(
    key: &str,
    list: &[T],
    check: impl Fn(&T) -> Result<U, String>,
) -> Result<Vec<U>, String>
where
    T: std::fmt::Display,
{
    let mut seen = HashSet::new();
    let mut checked = Vec::with_capacity(list.len());
    for item in list {
        let good = check(item)?;
        if !seen.insert(good.clone()) {
            return Err(format!("{key} has {item} twice; keep one of the two"));
        }
        checked.push(good);
    }
    Ok(checked)
}

impl TryFrom<SessionEntry> for SessionConfig {
    type Error = SessionError;

    fn try_from(entry: SessionEntry) -> Result<Self, SessionError> {
        entry.check()
    }
}

impl From<SessionConfig> for SessionEntry {
    fn from(session: SessionConfig) -> Self {
        let mut entry = Self {
            name: session.name,
            source_ports: session.sources.ports,
            source_labels: session.sources.labels,
            source_vlans: session
                .sources
                .vlans
                .iter()
                .copied()
                .map(VlanId::get)
                .map(u64::from)
                .collect(),
            source_macs: session.sources.macs.iter().map(MacAddr::to_string).collect(),
            direction: Some(session.direction.name().to_owned()),
            filter: session.filter,
            snap_len: session.snap_len.map(u64::from),
            sample: Some(u64::from(session.sample.get())),
            exact: Some(session.exact),
            include_dropped: Some(session.include_dropped),
            destination: session.destinations.iter().map(DestinationEntry::from).collect(),
            ..Self::default()
        };
        match session.rate {
            None => {}
            Some(MirrorRate::BytesPerSecond { rate, burst_bytes }) => {
                entry.rate_bytes_per_s = Some(rate.get());
                entry.rate_burst_bytes = Some(u64::from(burst_bytes));
            }
            Some(MirrorRate::FramesPerSecond { rate, burst_frames }) => {
                entry.rate_frames_per_s = Some(rate.get());
                entry.rate_burst_frames = Some(u64::from(burst_frames.get()));
            }
        }
        entry
    }
}
