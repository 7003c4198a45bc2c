//! `portcullis create-admin`: the first administrator, made by whoever can reach the database.

use std::io::BufRead;

use anyhow::Context;
use chrono::Utc;
use identity::{AccountId, Email, Hasher, Password};
use rand::Rng;
use store::{AccountChange, AccountKind, Belonging, NewAccount, StoreError};
use uuid::Uuid;

use super::{block_on, open, rng, say};
use crate::{
    cli::{CreateAdmin, Failure},
    foundation::Foundation,
};

/// The role that administers; `config/roles.toml` says what it may do.
const ROLE: &str = "admin";
const TIER: &str = "enterprise";
/// Characters of a made-up password: 24 of 32 letters are 120 bits.
const LENGTH: usize = 24;

pub(crate) fn run(create: &CreateAdmin) -> Result<(), Failure> {
    let email = Email::parse(&create.email).context("the address cannot be used")?;
    let mut rng = rng()?;
    let (given, made) = if let Some(given) = password_given(create)? {
        (given, None)
    } else {
        let made = make_password(&mut rng);
        (made.clone(), Some(made))
    };
    let password = Password::new(given).context("the password cannot be used")?;
    block_on(1, async {
        let (config, foundation) = open(&create.place).await?;
        let passwords = &config.settings.passwords;
        let rules = &passwords.rules;
        let strong =
            rules.check(&password, &[email.as_str()]).and_then(|()| rules.estimate(&password, &[email.as_str()]));
        strong.context("the password is too weak")?;
        let hash = Hasher::new(passwords.argon2).context("Argon2 parameters")?.hash(&password, &mut rng);
        let now = Utc::now();
        let account = NewAccount {
            id: AccountId::new(Uuid::now_v7()),
            email: &email,
            password_hash: hash,
            name: None,
            role: ROLE,
            tier: TIER,
            has_own_tier: true,
            kind: AccountKind::Person,
            tenant: Belonging::FoundsOwn,
            now,
        };
        match foundation.store.create_account(account).await {
            Ok(account) => {
                // Whoever can reach the database needs no mail to be believed.
                let confirmed = foundation.store.confirm_account(account.id, now).await;
                confirmed.context("the account was made, but its address could not be confirmed")?;
                foundation.write_down("create_admin", Some(account.id.uuid())).await?;
                say(&format!("created administrator {} ({})", account.email, account.id));
                if let Some(made) = made {
                    say(&format!("password: {made}"));
                    say("It is shown this once; change it by POST /auth/change-password.");
                }
            }
            Err(StoreError::EmailTaken) => promote(&foundation, &email).await?,
            Err(error) => return Err(Failure::Other(error.into())),
        }
        Ok(())
    })
}

/// The address has an account already: it gets the role and keeps its password.
async fn promote(foundation: &Foundation, email: &Email) -> anyhow::Result<()> {
    let store = &foundation.store;
    let (account, _) = store.login_by_email(email).await?.context("the account is gone")?;
    let change = AccountChange { role: Some(ROLE.to_owned()), ..AccountChange::default() };
    store.change_account(account.id, change, Utc::now()).await?;
    store.confirm_account(account.id, Utc::now()).await?;
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

fn make_password(rng: &mut impl Rng) -> String {
    // No letter that could be taken for another.
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..LENGTH).map(|_| char::from(LETTERS[(rng.next_u32() % 32) as usize])).collect()
}
