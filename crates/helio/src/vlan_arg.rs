//! The value of `--vlan`.

use std::str::FromStr;

use helio_api::VlanSetting;

/// One word of it: `access=10`, `trunk=10,20`, `native=1` or `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VlanPart {
    All,
    Access(u64),
    Trunk(Vec<u64>),
    Native(u64),
}

const FORMS: &str = "write access=10, trunk=10,20, trunk=10,20 native=1, or all; and the name of the port before it";

impl FromStr for VlanPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| FORMS.to_owned());
        match text.split_once('=') {
            None if text == "all" => Ok(Self::All),
            Some(("access", digits)) => number(digits).map(Self::Access),
            Some(("native", digits)) => number(digits).map(Self::Native),
            Some(("trunk", list)) => {
                list.split(',').map(number).collect::<Result<_, _>>().map(Self::Trunk)
            }
            _ => Err(FORMS.to_owned()),
        }
    }
}

/// The setting that the words make together, or `None` without any. Whether they fit is checked by the
/// switch.
pub(crate) fn vlan_setting(parts: &[VlanPart]) -> Option<VlanSetting> {
    let mut setting = VlanSetting::default();
    for part in parts {
        match part {
            VlanPart::All => {}
            VlanPart::Access(vlan) => setting.access = Some(*vlan),
            VlanPart::Trunk(vlans) => setting.trunk = Some(vlans.clone()),
            VlanPart::Native(vlan) => setting.native = Some(*vlan),
        }
    }
    (!parts.is_empty()).then_some(setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_make_the_setting_that_the_configuration_would_have() {
        for (words, shown) in [
            ("all", "all"),
            ("access=10", "access 10"),
            ("trunk=10,20", "trunk 10,20"),
            ("trunk=10,20 native=1", "trunk 10,20 native 1"),
        ] {
            let parts: Vec<VlanPart> = words.split(' ').map(|word| word.parse().unwrap()).collect();
            assert_eq!(vlan_setting(&parts).unwrap().to_string(), shown);
        }
        assert_eq!(vlan_setting(&[]), None);
    }

    #[test]
    fn other_words_are_answered_with_the_forms() {
        for word in ["", "10", "access=", "access=x", "trunk=10,", "columbia", "acces=10"] {
            assert_eq!(word.parse::<VlanPart>(), Err(FORMS.to_owned()), "{word}");
        }
    }
}
