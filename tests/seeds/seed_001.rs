//! 001, the agent factory: JWT, roles, sessions in Redis, a reset by mail, limits. It documents criteria and no calls.

use crate::{
    doors::{Document, Doors, on_one_and_three, token},
    platform::eventually,
};

const DOCUMENT: Document = Document { env: &[], routes: "" };

on_one_and_three!(
    super::DOCUMENT;
    every_endpoint_but_the_public_ones_demands_somebody,
    a_forgotten_password_is_replaced_by_mail_and_ends_every_session,
    a_session_is_listed_and_ended_by_its_owner,
    who_asks_too_often_is_refused_with_a_time_to_wait,
);

const REGISTER: &str = "POST /auth/register\n{\"email\": \"user@example.com\", \"password\": \"Correct-Horse-7\"}";
const LOGIN: &str = "POST /auth/login\n{\"email\": \"user@example.com\", \"password\": \"Correct-Horse-7\"}";

/// "100% of API endpoints properly protected", by the API's own description. That each refuses strangers is also what
/// `admin-api` tests endpoint by endpoint.
fn every_endpoint_but_the_public_ones_demands_somebody(doors: &Doors) {
    let described = doors.call("GET /openapi.json").json();
    let mut refused = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, endpoint) in methods.as_object().unwrap() {
            if endpoint["security"].is_null() {
                continue;
            }
            let path = path.replace("{id}", "0190a5c0-0000-7000-8000-000000000000").replace(['{', '}'], "");
            let answer = doors.call(&format!("{} {path}", method.to_uppercase()));
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "missing_credential"),
                "{method} {path}: {answer:?}"
            );
            refused += 1;
        }
    }
    assert!(refused > 25, "{refused}");
    let forged = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4IiwiZXhwIjoxfQ.AAAA";
    assert_eq!(doors.call(&format!("GET /auth/me\nAuthorization: Bearer {forged}")).status, 401);
}

fn a_forgotten_password_is_replaced_by_mail_and_ends_every_session(doors: &Doors) {
    let access = token(&doors.call(REGISTER));
    assert_eq!(doors.call("POST /auth/request-password-reset\n{\"email\": \"user@example.com\"}").status, 202);
    let mailed = doors.token_in_mail("A new password for");
    let reset =
        format!("POST /auth/reset-password\n{{\"token\": \"{mailed}\", \"new_password\": \"Another-Horse-8\"}}");
    assert_eq!(doors.call(&reset).status, 200);
    assert_ne!(doors.call(&reset).status, 200, "a link serves once");
    doors.becomes(401, &format!("GET /auth/me\nAuthorization: Bearer {access}"));
    assert_eq!(doors.call(LOGIN).status, 401);
    assert_eq!(doors.call(&LOGIN.replace("Correct-Horse-7", "Another-Horse-8")).status, 200);
}

fn a_session_is_listed_and_ended_by_its_owner(doors: &Doors) {
    let (first, second) = (token(&doors.call(REGISTER)), token(&doors.call(LOGIN)));
    let sessions = doors.call(&format!("GET /auth/sessions\nAuthorization: Bearer {second}")).json();
    let items = sessions["items"].as_array().unwrap_or_else(|| panic!("{sessions}"));
    assert_eq!(items.len(), 2, "{sessions}");
    let other = items.iter().find(|item| item["current"] == false).unwrap_or_else(|| panic!("{sessions}"));
    let ended =
        doors.call(&format!("DELETE /auth/sessions/{}\nAuthorization: Bearer {second}", other["id"].as_str().unwrap()));
    assert!((200..300).contains(&ended.status), "{ended:?}");
    doors.becomes(401, &format!("GET /auth/me\nAuthorization: Bearer {first}"));
    assert_eq!(doors.call(&format!("GET /auth/me\nAuthorization: Bearer {second}")).status, 200);
}

fn who_asks_too_often_is_refused_with_a_time_to_wait(doors: &Doors) {
    let access = token(&doors.call(REGISTER));
    let ask = format!("GET /demo/x\nAuthorization: Bearer {access}");
    let answers: Vec<_> = (0..101).map(|_| doors.call(&ask)).collect();
    let good = answers.iter().filter(|answer| answer.status == 200).count() as u64;
    assert!(good <= 100, "never above 100: {good}");
    eventually("no refusal below 90 of 100, but for what was lost", || good + doors.units_lost() >= 90);
    let last = answers.last().unwrap();
    assert_eq!((last.status, last.code().as_str()), (429, "rate_limited"), "{last:?}");
    assert!(last.header("retry-after").is_some() && last.header("x-ratelimit-limit") == Some("100"), "{last:?}");
}
