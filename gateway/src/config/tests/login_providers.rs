//! Providers of logins, and what is known of two of them.

use identity::Algorithm;

use super::*;
use crate::config::login::Speaks;

#[test]
fn what_is_known_of_google_and_github_need_not_be_said() {
    let section = |id: &str, more: &str| {
        // What is a secret is another test's matter: any file will do.
        let secret = "client_secret = { file = \"roles.toml\" }";
        format!(
            "\n[[login_providers]]\nid = \"{id}\"\npreset = \"{id}\"\nclient_id = \"x\"\n{secret}\n{more}\n\n[log]\n"
        )
    };
    let one = |text: &str| changed(&[("\n[log]\n", text)]).unwrap().settings.login_providers.remove(0);
    let google = one(&section("google", ""));
    assert_eq!(
        (google.speaks, &*google.issuer, &*google.label, &*google.scope),
        (Speaks::Oidc, "https://accounts.google.com", "Google", "openid email profile")
    );
    assert!(google.sign_up && !google.says_when, "Google says no `auth_time` unless it is asked by `max_age`");
    assert_eq!(google.keys().algorithms.first(), Some(&Algorithm::Rs256), "which is how Google signs");
    let github = one(&section("github", ""));
    assert_eq!(
        (github.speaks, &*github.issuer, &*github.label, &*github.scope),
        (Speaks::Github, "https://github.com", "GitHub", "read:user user:email")
    );
    // What is said all the same counts.
    let other = one(&section("google", "label = \"Work\"\nscopes = [\"email\"]\nsign_up = false"));
    assert_eq!((&*other.label, &*other.scope, other.sign_up), ("Work", "openid email", false));
    let two = format!("{}{}", section("google", "").trim_end_matches("\n[log]\n"), section("google", ""));
    let told = changed(&[("\n[log]\n", &two)]).err().unwrap_or_default();
    assert!(told.iter().any(|one| one.to_string().contains("of this issuer, already")), "{told:?}");
}
