//! `tiers.toml`: `[tier.NAME]` → [`Tiers`].

use std::collections::BTreeSet;

use super::document::Document;
use super::known::{self, Known};
use super::limits;
use super::raw::RawTier;
use crate::{Owner, Price, Tier, Tiers};

/// Every tier; what others may name of them goes into `known`.
pub(super) fn build(file: &mut Document<'_>, known: &mut Known) -> Tiers {
    let mut tiers = Vec::new();
    let mut names = BTreeSet::new();
    for tier in file.entries::<RawTier>("tier") {
        known::check_name(file, &tier.name);
        names.insert(tier.name.to_string());
        tiers.extend(tier.value.map(|raw| self::tier(file, &tier.name, raw)));
    }
    let tiers = Tiers::new(tiers);
    let features = tiers.iter().flat_map(|tier| tier.features.iter().map(ToString::to_string));
    known.features = file.is_faultless().then(|| features.collect());
    known.tiers = file.is_readable().then_some(names);
    tiers
}

fn tier(file: &mut Document<'_>, name: &str, raw: RawTier) -> Tier {
    for name in raw.features.iter().chain(raw.quotas.keys()) {
        known::check_name(file, name);
    }
    let price = raw
        .price
        .and_then(|price| Price::parse(&price).map_err(|error| file.note(price.span(), error.to_string())).ok());
    Tier {
        name: name.into(),
        limits: limits::build(file, Owner::Tier(name), raw.limits),
        features: raw.features.iter().map(|feature| feature.as_str().into()).collect(),
        quotas: raw.quotas.iter().map(|(name, amount)| (name.as_str().into(), amount.0)).collect(),
        price,
    }
}
