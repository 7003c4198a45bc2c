//! The role and the tier of whoever registers.

use super::*;

/// Whoever registers would have them, and be let in nowhere.
#[test]
fn a_configuration_without_the_role_and_the_tier_of_newcomers_is_refused() {
    let without = |file: &str, from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        for name in ["gateway.toml", "routes.toml", "roles.toml", "tiers.toml"] {
            let text = fs::read_to_string(shipped().join(name)).unwrap();
            let text = if name == file { text.replace(from, to) } else { text };
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("cases.toml"), "").unwrap();
        let wrong = load(&ConfigFolder::Path(folder.path().to_owned())).err().unwrap_or_default();
        wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(without("tiers.toml", "[tier.free]", "[tier.starter]"), @"tiers.toml:1:1: there is no tier `free`, which whoever registers gets");
    let reports = "[role.user]\npermissions = [\"usage:report\", \"";
    let shipped = "[role.user]\npermissions = [\"";
    insta::assert_snapshot!(without("roles.toml", shipped, reports), @"roles.toml:36:1: `user` is a role of service accounts, and whoever registers gets it");
    let manages = "[role.user]\npermissions = [\"users:*\", \"";
    insta::assert_snapshot!(without("roles.toml", shipped, manages), @"roles.toml:36:1: `user` may manage accounts, and whoever registers gets it");
    let (usd, eur) = ("price = \"29 USD/month\"", "price = \"29 EUR/month\"");
    insta::assert_snapshot!(without("tiers.toml", usd, eur), @"tiers.toml:40:1: tier.developer: `price` is not in USD, which `[billing]` of gateway.toml names");
    insta::assert_snapshot!(without("roles.toml", "[role.user]", "[role.guest]"), @"roles.toml:1:1: there is no role `user`, which whoever registers gets");
}
