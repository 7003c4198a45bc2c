//! Listeners, certificates and whoever shows one.

use super::*;

#[test]
fn a_subject_whose_comma_could_be_another_s_is_reported() {
    let with_role = |subject: &str, role: &str| {
        let client = format!(
            "client_ca = \"ca.pem\"\n[[tls.clients]]\nsubject = '{subject}'\nrole = \"{role}\"\ntier = \"free\"\n"
        );
        said(
            "# client_ca = \"tls/clients.pem\"\nclient_required = false       # true: nobody connects without a certificate\n",
            &client,
        )
    };
    let with = |subject: &str| with_role(subject, "user");
    assert_eq!(with("O=Acme, CN=orders"), "");
    insta::assert_snapshot!(with_role("O=Acme, CN=orders", "usr"), @"gateway.toml:41:8: there is no role `usr` in roles.toml; did you mean `user`?");
    assert_eq!(with(r"O=Acme\, Inc., CN=orders"), "");
    insta::assert_snapshot!(with("O=Acme, Inc., CN=orders"), @r"gateway.toml:40:11: not a distinguished name; a comma inside a value is written \, (in 'single quotes')");
}

#[test]
fn a_listener_with_tls_that_could_not_be_is_told_before_it_is_begun() {
    insta::assert_snapshot!(said("# https = \"0.0.0.0:443\"", "https = \"0.0.0.0:443\""), @"gateway.toml:22:9: https needs a certificate to show: give `certificates` in [tls]");
    insta::assert_snapshot!(said("redirect_to_https = false", "redirect_to_https = true"), @"gateway.toml:23:21: there is no HTTPS listener to send anybody to: give `https`");
}

/// Nobody at all could connect.
#[test]
fn a_door_behind_balancers_knows_some() {
    let (without, with) = ("proxy_protocol = false", "proxy_protocol = true");
    insta::assert_snapshot!(said(without, with), @"gateway.toml:25:18: with proxy_protocol nobody connects but `trusted_proxies` in [server], and there are none");
    let shipped = "trusted_proxies = [{ env = \"PORTCULLIS_TRUSTED_PROXIES\", default = \"\" }]";
    assert_eq!(said_of(&[(without, with), (shipped, "trusted_proxies = [\"192.0.2.0/24\"]")]), "");
}

/// It would let everybody in where nobody without a certificate was meant to be.
#[test]
fn a_certificate_that_is_required_of_clients_needs_an_authority() {
    insta::assert_snapshot!(said("client_required = false", "client_required = true"), @"gateway.toml:39:19: without client_ca there is no certificate that could be required");
    assert_eq!(said("client_required = false", "client_ca = \"ca.pem\"\nclient_required = true"), "");
}
