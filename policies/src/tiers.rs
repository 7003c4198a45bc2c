//! What a tier includes: limits, features, quotas and a price.
//!
//! Limits are spent and features demanded at the door; quotas (storage, workbenches…) and prices are kept for those who
//! enforce or show them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::Limit;
use crate::limit::digits;

/// One tier of service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tier {
    /// As accounts name it.
    pub name: Box<str>,
    /// Spent by every request of the tier's accounts on routes with `tier_limits`.
    pub limits: Vec<Limit>,
    /// What routes may demand, such as `swarm-agents`.
    pub features: BTreeSet<Box<str>>,
    /// Amounts by name, such as `storage_gb`.
    pub quotas: BTreeMap<Box<str>, Amount>,
    /// `None`: by agreement.
    pub price: Option<Price>,
}

/// Every tier by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tiers(BTreeMap<Box<str>, Arc<Tier>>);

/// How much of something a tier includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So much, in the unit that the quota's name says.
    Finite(u64),
    /// Without end.
    Unlimited,
}

/// What a tier costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Hundredths of the currency.
    pub cents: u64,
    /// ISO 4217, such as `USD`.
    pub currency: Box<str>,
    /// How often it is paid.
    pub period: Period,
}

/// How often a price is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Each calendar month.
    Month,
    /// Each calendar year.
    Year,
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an amount: a whole number, or \"unlimited\"")]
pub struct AmountError(Box<str>);

/// Why a text is not a price.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a price: write it as \"29 USD/month\" or \"299.90 EUR/year\"")]
pub struct PriceError(Box<str>);

// === impl Tiers ===

impl Tiers {
    /// By their names; of two with one name the last stays.
    #[must_use]
    pub fn new(tiers: impl IntoIterator<Item = Tier>) -> Self {
        Self(tiers.into_iter().map(|tier| (tier.name.clone(), Arc::new(tier))).collect())
    }

    /// The tier of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Tier>> {
        self.0.get(name)
    }

    /// Whether the tier exists.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every tier, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tier>> {
        self.0.values()
    }

    /// Every tier's name, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }

    /// Whether some tier has the feature.
    #[must_use]
    pub fn offers(&self, feature: &str) -> bool {
        self.iter().any(|tier| tier.features.contains(feature))
    }
}

// === impl Amount ===

impl Amount {
    /// Reads a whole number or `unlimited`.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        match text {
            "unlimited" => Ok(Self::Unlimited),
            _ => digits(text).map(Self::Finite).ok_or_else(|| AmountError(text.into())),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(amount) => amount.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

// === impl Price ===

impl Price {
    /// Reads `29 USD/month` or `299.90 EUR/year`.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        Self::read(text).ok_or_else(|| PriceError(text.into()))
    }

    fn read(text: &str) -> Option<Self> {
        let (sum, period) = text.split_once('/')?;
        let (amount, currency) = sum.split_once(' ')?;
        let period = match period {
            "month" => Period::Month,
            "year" => Period::Year,
            _ => return None,
        };
        let is_currency = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
        is_currency.then_some(Self { cents: cents(amount)?, currency: currency.into(), period })
    }
}

fn cents(amount: &str) -> Option<u64> {
    let (whole, hundredths) = amount.split_once('.').unwrap_or((amount, "00"));
    if hundredths.len() != 2 {
        return None;
    }
    digits(whole)?.checked_mul(100)?.checked_add(digits(hundredths)?)
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period {
            Period::Month => "month",
            Period::Year => "year",
        };
        write!(f, "{}.{:02} {}/{period}", self.cents / 100, self.cents % 100, self.currency)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn prices_and_amounts_are_read_as_written() {
        let price = Price::parse("29 USD/month").unwrap();
        assert_eq!((price.cents, &*price.currency, price.period), (2900, "USD", Period::Month));
        assert_eq!(Price::parse("299.90 EUR/year").unwrap().to_string(), "299.90 EUR/year");
        assert_eq!(Amount::parse("200"), Ok(Amount::Finite(200)));
        assert_eq!(Amount::parse("unlimited").unwrap().to_string(), "unlimited");
        for text in ["", "29", "29 USD", "29USD/month", "-1 USD/month", "1.5 USD/month", "1 usd/month", "1 USD/week"] {
            assert_eq!(Price::parse(text), Err(PriceError(text.into())));
        }
        for text in ["", "-1", "+1", "1.5", "10 GB", "Unlimited", "18446744073709551616"] {
            assert_eq!(Amount::parse(text), Err(AmountError(text.into())));
        }
    }

    #[test]
    fn a_feature_is_offered_when_some_tier_has_it() {
        let pro = Tier { name: "pro".into(), features: ["swarm-agents".into()].into(), ..Tier::default() };
        let tiers = Tiers::new([pro, Tier { name: "free".into(), ..Tier::default() }]);
        assert!(tiers.offers("swarm-agents") && !tiers.offers("swarm-agent"));
        assert_eq!(tiers.names().collect::<Vec<_>>(), ["free", "pro"]);
        assert!(tiers.contains("pro") && !tiers.contains("gold"));
    }
}
