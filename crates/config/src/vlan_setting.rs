//! The VLAN setting of a port as people write it.

use std::fmt;

use helio_types::{VlanId, VlanMode};
use serde::{Deserialize, Serialize};

use crate::range::within;

/// VLAN setting as written, in TOML and in JSON: `{ access = 10 }`, `{ trunk = [10, 20], native = 1 }`, or
/// empty for a port without VLANs. Numbers are not checked before [`VlanSetting::mode`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VlanSetting {
    /// Untagged member of this VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<u64>,
    /// Tagged member of these VLANs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<Vec<u64>>,
    /// VLAN of the untagged frames of a trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<u64>,
}

impl VlanSetting {
    /// The checked form.
    ///
    /// # Errors
    ///
    /// A sentence that says what to write: a VLAN is not 1 to 4094, `access` and `trunk` are given
    /// together, a trunk is empty, or `native` stands alone.
    pub fn mode(&self) -> Result<VlanMode, String> {
        match (self.access, &self.trunk, self.native) {
            (None, None, None) => Ok(VlanMode::Transparent),
            (Some(access), None, None) => vlan_id("access", access).map(VlanMode::Access),
            (None, Some(trunk), native) => trunk_mode(trunk, native),
            (Some(_), Some(_), _) => {
                Err("vlan has both access and trunk; write one of the two".to_owned())
            }
            (_, None, Some(_)) => {
                Err("vlan has native without trunk; write { trunk = [10, 20], native = 1 }, or { access = 10 }"
                    .to_owned())
            }
        }
    }
}

fn trunk_mode(trunk: &[u64], native: Option<u64>) -> Result<VlanMode, String> {
    if trunk.is_empty() {
        return Err(
            "vlan has an empty trunk; list the VLANs, as in { trunk = [10, 20] }".to_owned()
        );
    }
    let tagged = trunk.iter().map(|id| vlan_id("trunk", *id)).collect::<Result<_, _>>()?;
    let native = native.map(|id| vlan_id("native", id)).transpose()?;
    Ok(VlanMode::Trunk { tagged: Box::new(tagged), native })
}

/// The VLAN of number `id`; 0 and 4095 are no VLANs. IEEE 802.1Q-2018, table 9-2.
pub(crate) fn vlan_id(key: &str, id: u64) -> Result<VlanId, String> {
    let number = within(key, id, 1..=4094)?;
    VlanId::new(number).ok_or_else(|| format!("{key} = {id} is no VLAN"))
}

impl From<&VlanMode> for VlanSetting {
    fn from(mode: &VlanMode) -> Self {
        match mode {
            VlanMode::Transparent => Self::default(),
            VlanMode::Access(vlan) => {
                Self { access: Some(u64::from(vlan.get())), ..Self::default() }
            }
            VlanMode::Trunk { tagged, native } => Self {
                access: None,
                trunk: Some(tagged.iter().map(|vlan| u64::from(vlan.get())).collect()),
                native: native.map(|vlan| u64::from(vlan.get())),
            },
        }
    }
}

/// For tables people read: `all`, `access 10`, `trunk 10,20 native 1`.
impl fmt::Display for VlanSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(access) = self.access {
            parts.push(format!("access {access}"));
        }
        if let Some(trunk) = &self.trunk {
            let ids: Vec<_> = trunk.iter().map(u64::to_string).collect();
            parts.push(format!("trunk {}", ids.join(",")));
        }
        if let Some(native) = self.native {
            parts.push(format!("native {native}"));
        }
        if parts.is_empty() { f.pad("all") } else { f.pad(&parts.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(json: &str) -> VlanSetting {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_form_survives_the_way_to_the_checked_form_and_back() {
        for (json, shown) in [
            ("{}", "all"),
            (r#"{"access":10}"#, "access 10"),
            (r#"{"trunk":[10,20]}"#, "trunk 10,20"),
            (r#"{"trunk":[10,20],"native":1}"#, "trunk 10,20 native 1"),
        ] {
            let written = setting(json);
            let back = VlanSetting::from(&written.mode().unwrap());
            assert_eq!(back, written);
            assert_eq!(serde_json::to_string(&back).unwrap(), json);
            assert_eq!(back.to_string(), shown);
        }
    }

    #[test]
    fn the_vlans_0_and_4095_are_refused_wherever_they_stand() {
        for id in [0, 4095] {
            for json in [
                format!(r#"{{"access":{id}}}"#),
                format!(r#"{{"trunk":[10,{id}]}}"#),
                format!(r#"{{"trunk":[10],"native":{id}}}"#),
            ] {
                let refused = setting(&json).mode().unwrap_err();
                assert!(refused.contains("from 1 to 4094"), "{json}: {refused}");
            }
        }
        assert!(setting(r#"{"trunk":[1,4094]}"#).mode().is_ok());
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        for json in [r#"{"access":10,"trunk":[20]}"#, r#"{"native":1}"#, r#"{"trunk":[]}"#] {
            assert!(setting(json).mode().is_err(), "{json}");
        }
        assert!(serde_json::from_str::<VlanSetting>(r#"{"acces":10}"#).is_err());
    }
}
