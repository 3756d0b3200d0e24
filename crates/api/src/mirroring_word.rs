//! `Mirroring` as its word, for `#[serde(with)]`.

use std::str::FromStr;

use helio_types::Mirroring;
use serde::{Deserialize, Deserializer, Serializer, de};

pub(crate) fn serialize<S: Serializer>(
    mirroring: &Mirroring,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mirroring.name())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Mirroring, D::Error> {
    let word = String::deserialize(deserializer)?;
    Mirroring::from_str(&word).map_err(de::Error::custom)
}
