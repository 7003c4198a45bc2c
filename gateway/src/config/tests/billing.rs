//! Where statements may be told of.

use super::*;

#[test]
fn what_statements_say_goes_over_no_network_in_clear() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(&secret, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let told_at = |url: &str| {
        let secret = secret.path().display();
        let lines = format!("webhook_url = \"{url}\"\nwebhook_secret = {{ file = \"{secret}\" }}");
        said("# webhook_url = \"https://example.com/hooks\"", &lines)
    };
    for good in ["https://example.com/hooks", "http://127.0.0.1:9000/hooks", "http://localhost/hooks"] {
        assert_eq!(told_at(good), "", "{good}");
    }
    for bad in ["http://example.com/hooks", "http://10.0.0.7/hooks", "https://user:pw@example.com/hooks", "/hooks"] {
        let said = told_at(bad);
        assert!(
            said.ends_with("a webhook goes to an address over https, or over http on this machine"),
            "{bad}: {said}"
        );
    }
}
