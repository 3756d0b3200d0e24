//! The settings of a port that can change while frames flow.

use helio_types::{Mirroring, SessionId, VlanMode};
use serde::{Deserialize, Serialize};

use crate::port_entry::{labels, mirroring, mtu, session_id};
use crate::problem::Faults;
use crate::{PortConfig, PortError, VlanSetting};

/// Changes to a port: what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SettingsEntry", into = "SettingsEntry")]
pub struct PortSettings {
    /// New part in mirroring.
    pub mirroring: Option<Mirroring>,
    /// New mirror session.
    pub session: Option<SessionId>,
    /// New VLAN membership.
    pub vlan: Option<VlanMode>,
    /// New MTU in bytes.
    pub mtu: Option<u16>,
    /// Whether frames that the port sends shall be refused.
    pub receive_only: Option<bool>,
    /// New labels, all of them.
    pub labels: Option<Vec<String>>,
}

impl PortSettings {
    /// Whether nothing would change, whatever the port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `port` with these changes, checked as a whole.
    ///
    /// # Errors
    ///
    /// The changes do not fit what stays: a port would be receive-only and a source, or a
    /// static address would be on a VLAN that the port has left.
    pub fn applied_to(&self, port: &PortConfig) -> Result<PortConfig, PortError> {
        let mut changed = port.clone();
        if let Some(mirroring) = self.mirroring {
            changed.mirroring = mirroring;
        }
        if let Some(session) = self.session {
            changed.session = session;
        }
        if let Some(vlan) = &self.vlan {
            changed.vlan = vlan.clone();
        }
        if let Some(mtu) = self.mtu {
            changed.mtu = mtu;
        }
        if let Some(receive_only) = self.receive_only {
            changed.receive_only = receive_only;
        }
        if let Some(labels) = &self.labels {
            changed.labels.clone_from(labels);
        }
        crate::PortEntry::from(changed).check()
    }
}

/// [`PortSettings`] as written in JSON: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsEntry {
    /// `none`, `source` or `destination`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirroring: Option<String>,
    /// Mirror session, 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// VLAN membership; `{}` lets all frames pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanSetting>,
    /// MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u64>,
    /// Whether frames that the port sends shall be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_only: Option<bool>,
    /// All labels; an empty list takes them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
}

impl TryFrom<SettingsEntry> for PortSettings {
    type Error = PortError;

    fn try_from(entry: SettingsEntry) -> Result<Self, PortError> {
        let mut faults = Faults::default();
        let word = entry.mirroring.as_deref().map(|word| mirroring(Some(word))).transpose();
        let settings = Self {
            mirroring: faults.keep("mirroring", word).flatten(),
            session: faults.keep("session", entry.session.map(session_id).transpose()).flatten(),
            vlan: faults
                .keep("vlan", entry.vlan.as_ref().map(VlanSetting::mode).transpose())
                .flatten(),
            mtu: faults.keep("mtu", entry.mtu.map(mtu).transpose()).flatten(),
            receive_only: entry.receive_only,
            labels: faults
                .keep("labels", entry.labels.as_deref().map(labels).transpose())
                .flatten(),
        };
        faults.none_or(Some(settings))
    }
}

impl From<PortSettings> for SettingsEntry {
    fn from(settings: PortSettings) -> Self {
        Self {
            mirroring: settings.mirroring.map(|mirroring| mirroring.name().to_owned()),
            session: settings.session.map(|session| u64::from(session.0)),
            vlan: settings.vlan.as_ref().map(VlanSetting::from),
            mtu: settings.mtu.map(u64::from),
            receive_only: settings.receive_only,
            labels: settings.labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columbia() -> PortConfig {
        PortConfig::new("columbia", "/run/helio/columbia.sock").unwrap()
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let settings: PortSettings = serde_json::from_str(r#"{"mirroring":"source"}"#).unwrap();
        let changed = settings.applied_to(&columbia()).unwrap();
        assert_eq!(changed, PortConfig { mirroring: Mirroring::Source, ..columbia() });
        assert_eq!(PortSettings::default().applied_to(&columbia()), Ok(columbia()));
    }

    #[test]
    fn settings_survive_json() {
        let json = r#"{"mirroring":"none","session":3,"vlan":{},"mtu":68,"receive_only":false}"#;
        let settings: PortSettings = serde_json::from_str(json).unwrap();
        assert_eq!(settings.vlan, Some(VlanMode::Transparent));
        assert_eq!(serde_json::to_string(&settings).unwrap(), json);
        assert!(!settings.is_empty());
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused() {
        for json in [r#"{"mirorring":"none"}"#, r#"{"mirroring":"both"}"#, r#"{"session":256}"#] {
            assert!(serde_json::from_str::<PortSettings>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_receive_only_port_cannot_become_a_source() {
        let sniffie =
            PortConfig { mirroring: Mirroring::Destination, receive_only: true, ..columbia() };
        let change = |mirroring| PortSettings { mirroring: Some(mirroring), ..Default::default() };
        assert!(change(Mirroring::None).applied_to(&sniffie).is_ok());
        assert!(change(Mirroring::Source).applied_to(&sniffie).is_err());
        let both = PortSettings { receive_only: Some(false), ..change(Mirroring::Source) };
        assert!(both.applied_to(&sniffie).is_ok());
    }
}
