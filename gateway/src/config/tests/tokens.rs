//! How long tokens, sessions and links live.

use super::*;

#[test]
fn a_session_lives_as_long_as_its_tokens() {
    let tokens = changed(&[("session_life = \"30d\"", "session_life = \"1d\"")]).unwrap().settings.tokens;
    assert_eq!(tokens.session_life, tokens.refresh_ttl);
}

/// It would open the door when its session is over, and in no list.
#[test]
fn an_access_token_does_not_outlive_its_session() {
    let access = "access_ttl = { env = [\"ACCESS_TOKEN_EXPIRE_MINUTES\", \"AUTH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES\"], unit = \"m\", default = \"30m\" }";
    insta::assert_snapshot!(said(access, "access_ttl = \"8d\""), @"gateway.toml:137:14: an access token must not outlive its session: `access_ttl` is longer than `refresh_ttl`");
    assert_eq!(said(access, "access_ttl = \"7d\""), "");
}

/// What the older systems promise: 30 minutes, 7 days, and 5 failures that lock for 30 minutes.
#[test]
fn what_opens_something_lives_as_long_as_is_promised_as_shipped_and_where_nothing_is_said() {
    let silent = tempfile::tempdir().unwrap();
    for name in ["routes.toml", "roles.toml", "tiers.toml", "cases.toml"] {
        fs::copy(shipped().join(name), silent.path().join(name)).unwrap();
    }
    fs::write(silent.path().join("gateway.toml"), "[upstreams.demo]\nservers = [\"127.0.0.1:1\"]\n").unwrap();
    let told = |folder: &Path| {
        let settings = load(&ConfigFolder::Path(folder.to_owned())).unwrap().settings;
        let (tokens, mails, locks) = (settings.tokens, settings.accounts.settings, settings.lockout);
        format!(
            "access {:?}, refresh {:?}, session {:?}\nconfirm {:?}, reset {:?}, log in {:?}, invite {:?}\n\
             {} failures, {} from one network; {:?}, {:?} at most",
            tokens.access_ttl,
            tokens.refresh_ttl,
            tokens.session_life,
            mails.verification_ttl,
            mails.reset_ttl,
            mails.magic_link_ttl,
            mails.invitation_ttl,
            locks.account.attempts,
            locks.network.attempts,
            locks.account.duration,
            locks.account.longest
        )
    };
    assert_eq!(told(silent.path()), told(&shipped()));
    insta::assert_snapshot!(told(&shipped()), @"
    access 1800s, refresh 604800s, session 2592000s
    confirm 86400s, reset 1800s, log in 600s, invite 604800s
    5 failures, 50 from one network; 1800s, 86400s at most
    ");
}
