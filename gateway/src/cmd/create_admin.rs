//! `portcullis create-admin`: the first administrator, made by whoever can reach the database. Without a password a link is printed that
//! serves once: what stands on a screen and in its history is never anybody's password for long (OWASP ASVS 6.4.1).
//!
//! The address may have an account. If that is confirmed its owner gets the role and keeps the password; if it is not, anybody may have
//! registered it: then it is taken over, and what was made of it opens nothing any more.

use std::{fmt::Display, io::BufRead};

use anyhow::Context;
use chrono::{DateTime, Utc};
use identity::{AccountId, Email, Hasher, OneTimePurpose, OneTimeToken, Password, PasswordHash};
use policies::roles::ADMIN;
use store::{Account, AccountChange, AccountKind, Belonging, NewAccount, NewOneTime, StoreError, WayIn, clock};
use uuid::Uuid;

use super::{block_on, must_know, open, rng, say};
use crate::{
    cli::{CreateAdmin, Failure},
    config::Config,
    foundation::Foundation,
    office::DEFAULT_TIER,
};

const TIER: &str = "enterprise";
const SECONDS_A_DAY: u64 = 86_400;

pub(crate) fn run(create: &CreateAdmin) -> Result<(), Failure> {
    let email = Email::parse(&create.email).map_err(unfit("the address cannot be used"))?;
    let given = password_given(create)?.map(Password::new).transpose().map_err(unfit("the password cannot be used"))?;
    block_on(1, async {
        let (config, foundation) = open(&create.place).await?;
        must_know(&config.policy, ADMIN, TIER)?;
        match given {
            Some(password) => with_password(&config, &foundation, &email, &password).await,
            None => with_link(&config, &foundation, &email).await,
        }
    })
}

/// What was given is not what it should be.
fn unfit<E: Display>(what: &str) -> impl Fn(E) -> Failure {
    move |error| Failure::Data(format!("{what}: {error}"))
}

/// Somebody who knows the password already.
async fn with_password(
    config: &Config,
    foundation: &Foundation,
    email: &Email,
    password: &Password,
) -> Result<(), Failure> {
    let passwords = &config.settings.passwords;
    let (rules, about) = (&passwords.rules, [email.as_str()]);
    let strong = rules.check(password, &about).and_then(|()| rules.estimate(password, &about));
    strong.map_err(unfit("the password is too weak"))?;
    if let Some(breached) = &passwords.breached {
        let looked_up = breached.check(password).context("the file of stolen passwords")?;
        looked_up.map_err(unfit("the password cannot be used"))?;
    }
    let hash = Hasher::new(passwords.argon2).context("Argon2 parameters")?.hash(password, &mut rng()?);
    // Whoever can reach the database needs no mail to be believed.
    let new = NewAccount { is_verified: true, ..administrator(email, hash.clone(), clock::now()) };
    match foundation.store.create_account(new).await {
        Ok(account) => made(foundation, email, account.id).await,
        Err(StoreError::EmailTaken) => {
            if take_over(foundation, email, |_| WayIn::Password(hash)).await? {
                say("The password is the one given.");
                return Ok(());
            }
            promote(foundation, email).await?;
            say("The password given was not used.");
            Ok(())
        }
        Err(error) => Err(Failure::Other(error.into())),
    }
}

/// Whoever has the link, once and for a while, takes the account over and chooses its password.
async fn with_link(config: &Config, foundation: &Foundation, email: &Email) -> Result<(), Failure> {
    let (store, accounts, now) = (&foundation.store, &config.settings.accounts, clock::now());
    let (secret, ttl) = (OneTimeToken::generate(Uuid::now_v7(), &mut rng()?), accounts.settings.invitation_ttl);
    let token = |account| NewOneTime {
        id: secret.id(),
        purpose: OneTimePurpose::Invite,
        account: Some(account),
        address: email.normalised(),
        digest: secret.digest_for(OneTimePurpose::Invite),
        binding: None,
        sealed: None,
        now,
        expires_at: now + ttl,
    };
    let hasher = Hasher::new(config.settings.passwords.argon2).context("Argon2 parameters")?;
    let new = administrator(email, hasher.decoy().clone(), now);
    let id = new.id;
    match store.invite(new, &token(id), None, None).await {
        Ok(account) => made(foundation, email, account.id).await?,
        Err(StoreError::EmailTaken) => {
            let link = |account| WayIn::Link(token(account), hasher.decoy().clone());
            if !take_over(foundation, email, link).await? {
                return Ok(promote(foundation, email).await?);
            }
        }
        Err(error) => return Err(Failure::Other(error.into())),
    }
    say(&format!("choose a password: {}/account/accept-invite?token={}", accounts.public_url, secret.expose()));
    say(&format!(
        "The link serves once, for {} days; so does its token with POST /auth/accept-invite.",
        ttl.as_secs().div_ceil(SECONDS_A_DAY)
    ));
    Ok(())
}

fn administrator(email: &Email, password_hash: PasswordHash, now: DateTime<Utc>) -> NewAccount<'_> {
    NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email,
        password_hash,
        name: None,
        role: ADMIN,
        tier: TIER,
        has_own_tier: true,
        is_verified: false,
        kind: AccountKind::Person,
        // Its own tier bounds it; its organisation buys nothing, and is not billed for that.
        tenant: Belonging::FoundsAt(DEFAULT_TIER),
        now,
    }
}

async fn made(foundation: &Foundation, email: &Email, id: AccountId) -> Result<(), Failure> {
    foundation.write_down("create_admin", Some(id.uuid())).await?;
    say(&format!("created administrator {} ({id})", email.as_str()));
    Ok(())
}

/// The address has an account that nobody has confirmed, or that waits to be taken over: it becomes an administrator's, in by this way
/// alone. Says whether it was so.
async fn take_over<'a>(
    foundation: &Foundation,
    email: &Email,
    way: impl FnOnce(AccountId) -> WayIn<'a>,
) -> anyhow::Result<bool> {
    let account = owner_of(foundation, email).await?;
    if !foundation.store.take_over_unconfirmed(account.id, way(account.id), ADMIN, clock::now()).await? {
        return Ok(false);
    }
    foundation.write_down("create_admin", Some(account.id.uuid())).await?;
    say(&format!(
        "{} was there already, and nobody had confirmed it: made administrator ({})",
        account.email, account.id
    ));
    say(
        "What was made of it opens nothing any more: its password, sessions, API keys, second factors, subjects of others, invitations and keys at providers.",
    );
    Ok(true)
}

async fn owner_of(foundation: &Foundation, email: &Email) -> anyhow::Result<Account> {
    let found = foundation.store.login_by_email(email).await.context("looking for the account")?;
    Ok(found.context("the account is gone")?.0)
}

/// The address has an account already: it gets the role and keeps its password.
async fn promote(foundation: &Foundation, email: &Email) -> anyhow::Result<()> {
    let store = &foundation.store;
    let account = owner_of(foundation, email).await?;
    let change = AccountChange { role: Some(ADMIN.to_owned()), ..AccountChange::default() };
    store.change_account(account.id, change, clock::now()).await?;
    foundation.write_down("create_admin", Some(account.id.uuid())).await?;
    say(&format!("{} exists already: made administrator, password unchanged", account.email));
    Ok(())
}

fn password_given(create: &CreateAdmin) -> Result<Option<String>, Failure> {
    if !create.password_stdin {
        return Ok(create.password.clone());
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("the password cannot be read")?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}
