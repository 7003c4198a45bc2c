//! `portcullis keys generate|rotate`.

use chrono::TimeDelta;
use identity::MasterKey;

use super::{block_on, open_existing, rng, say, say_error};
use crate::{
    cli::{Failure, Place},
    nudges,
};

/// Prints fresh secrets as environment lines; nothing is stored.
pub(crate) fn generate() -> Result<(), Failure> {
    let mut rng = rng()?;
    say(&format!("MASTER_ENCRYPTION_KEY={}", *MasterKey::generate(&mut rng).encode()));
    // 32 random bytes: the least that HS256 may have (RFC 7518 §3.2). In a comment, since whoever sets it signs by it.
    say("# Only where services verify tokens by a shared secret instead of /.well-known/jwks.json:");
    say(&format!("# AUTH_JWT_SECRET_KEY={}", *MasterKey::generate(&mut rng).encode()));
    Ok(())
}

/// Puts the next signing keys in force; running gateways follow within a second, at once where they share a Redis.
pub(crate) fn rotate(place: &Place) -> Result<(), Failure> {
    block_on(1, async {
        let (config, foundation) = open_existing(place).await?;
        let mut rng = rng()?;
        // A token signed a moment ago must be verifiable until it expires, on clocks that differ.
        let retire_after = TimeDelta::from_std(config.settings.tokens.access_ttl).unwrap_or(TimeDelta::days(1))
            + TimeDelta::minutes(5);
        foundation.rotate(retire_after, &mut rng, store::clock::now()).await?;
        // Before anything else is asked, which may take its time: what has been done is written down.
        foundation.write_down("rotate_keys", None).await?;
        if let Err(why) = nudges::tell_once(&config.settings.shared).await {
            say_error(&format!("Redis tells nobody, and gateways find it out by themselves within a second: {why}"));
        }
        for (purpose, kid) in foundation.current_kids().await? {
            say(&format!("{purpose}: now signing with {kid}"));
        }
        Ok(())
    })
}
