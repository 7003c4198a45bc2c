//! How long tokens and sessions live.

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
