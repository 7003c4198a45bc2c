//! What everybody can use: pages that can be read, whose parts have names, and through which the keyboard leads (WCAG 2.2, level AA, as far as
//! a program can tell). Called by whoever leads a browser to a page; those that only a mail or a refusal leads to are seen here.

use serde_json::json;

use crate::{
    chromium::Chromium,
    mail::{next_mail, token_in},
    oauth::confirmed,
    platform::Platform,
};

/// What is to be read and differs too little from what is behind it (WCAG 2.2 §1.4.3: 4.5 to 1), and fields whose edge does (§1.4.11: 3 to 1).
const PALE: &str = "
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue) + 0.05;
const ratio = (one, other) => Math.max(light(one) / light(other), light(other) / light(one));
const behind = element => {
    for (; element; element = element.parentElement) {
        const colour = parts(getComputedStyle(element).backgroundColor);
        if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error('nothing is behind it');
};
const named = element => `${element.tagName} ${element.className} ${element.textContent.trim().slice(0, 30)}`;
const pale = [];
let read = 0;
for (const element of document.body.querySelectorAll('*')) {
    const style = getComputedStyle(element);
    if (style.display === 'none' || !element.getClientRects().length) continue;
    const is_field = element.tagName === 'INPUT';
    const says = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!says && !is_field) continue;
    read += 1;
    const text = ratio(parts(style.color), behind(element));
    if (text < 4.5) pale.push(`${named(element)}: ${text}`);
    const edge = ratio(parts(style.borderTopColor), behind(element.parentElement));
    if (is_field && edge < 3) pale.push(`${named(element)}: its edge ${edge}`);
}
return { read, pale };
";

/// What has no name for whoever hears the page (§1.3.1, §3.3.2, §4.1.2): fields without a label that is seen, buttons, links and pictures without
/// a word; and what refers to nothing, or to one of two.
const NAMELESS: &str = "
const is_seen = element => element.getClientRects().length > 0;
const words = element => (element.getAttribute('aria-label') ?? element.textContent).trim();
const wrong = [];
let fields = 0;
for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
    if (!is_seen(field)) continue;
    fields += 1;
    if (![...field.labels].some(label => is_seen(label) && label.textContent.trim())) wrong.push(`no label: ${field.outerHTML}`);
    const told = (field.getAttribute('aria-describedby') ?? '').split(' ').filter(Boolean);
    if (field.getAttribute('aria-invalid') === 'true' && !told.some(id => id.endsWith('-error'))) wrong.push(`not said what is wrong: ${field.outerHTML}`);
}
for (const element of document.querySelectorAll('button, a[href], [role=img]')) {
    if (is_seen(element) && !words(element)) wrong.push(`no name: ${element.outerHTML}`);
}
for (const name of ['aria-describedby', 'aria-labelledby']) {
    for (const element of document.querySelectorAll(`[${name}]`)) {
        for (const id of element.getAttribute(name).split(' ')) {
            if (!document.getElementById(id)?.textContent.trim()) wrong.push(`${name} leads to nothing: ${id}`);
        }
    }
}
const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
for (const id of ids.filter((id, at) => ids.indexOf(id) !== at)) wrong.push(`twice: ${id}`);
for (const only of ['main', 'h1', 'html[lang=en]']) {
    if (document.querySelectorAll(only).length !== 1) wrong.push(`not one ${only}`);
}
return { fields, wrong };
";

/// What the keyboard can reach, in the order in which it stands on the page. It begins at the top, also where a field has the focus already.
const REACHABLE: &str = "
window.all = [...document.querySelectorAll('a[href], button, input:not([type=hidden])')].filter(element => element.getClientRects().length);
document.body.tabIndex = -1;
document.body.focus();
document.body.removeAttribute('tabindex');
return window.all.length;
";

/// Which of these has the focus, and whether that is seen.
const FOCUSED: &str = "
const style = getComputedStyle(document.activeElement);
const is_seen = style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2 && document.activeElement.getBoundingClientRect().left >= 0;
return [window.all.indexOf(document.activeElement), is_seen];
";

/// A page can be read, by day and by night, heard, and gone through by the keyboard alone. Says how many fields it has.
pub(crate) fn is_accessible(browser: &Chromium, page: &str) -> u64 {
    is_legible(browser, page);
    let found = browser.run(NAMELESS);
    assert_eq!(found["wrong"], json!([]), "{page}");
    is_reached_by_the_keyboard(browser, page);
    found["fields"].as_u64().unwrap()
}

fn is_legible(browser: &Chromium, page: &str) {
    for scheme in ["light", "dark"] {
        browser.prefers(scheme);
        let found = browser.run(PALE);
        assert!(found["read"].as_u64().unwrap() >= 5, "{page}: {found}");
        assert_eq!(found["pale"], json!([]), "{page}, {scheme}");
    }
}

fn is_reached_by_the_keyboard(browser: &Chromium, page: &str) {
    let count = browser.run(REACHABLE).as_u64().unwrap();
    // The way past the head of the page at least.
    assert!(count >= 1, "{page}");
    for number in 0..count {
        browser.press_tab();
        assert_eq!(browser.run(FOCUSED), json!([number, true]), "{page}: what the key leads to, and is it seen");
    }
}

#[test]
fn pages_that_a_mail_or_a_refusal_leads_to_are_accessible_in_chromium() {
    let platform = Platform::start();
    let here = format!("http://{}/account", platform.http);
    let browser = Chromium::start();
    let link = |subject: &str, page: &str| format!("{here}/{page}?token={}", token_in(&next_mail(&platform, subject)));
    confirmed(&platform, "ada@example.com");

    browser.go(&format!("{here}/magic-link"));
    browser.is_at("Sign in with a link by mail");
    assert_eq!(is_accessible(&browser, "magic-link"), 1);
    browser.fill("#email", "ada@example.com\u{e007}");
    browser.is_at("Look into your mail");
    browser.go(&link("Your link to log in", "magic-link"));
    browser.is_at("Sign in with your link");
    assert_eq!(is_accessible(&browser, "magic-link, by mail"), 0);
    browser.click("form button");
    browser.is_at("Sessions");

    browser.go(&format!("{here}/email"));
    browser.is_at("Change your address");
    browser.fill("#new_email", "ada@new.example\u{e007}");
    browser.is_at("Look into your mail");
    browser.go(&link("Confirm your new address", "confirm-email"));
    browser.is_at("Confirm your new address");
    assert_eq!(is_accessible(&browser, "confirm-email"), 0);

    let invited = json!({ "email": "bob@example.com", "role": "developer", "invite": true });
    assert_eq!(platform.post("/admin/users", Some(&platform.admin()), &invited).status, 201);
    browser.go(&link("You are invited", "accept-invite"));
    browser.is_at("Take over your account");
    assert_eq!(is_accessible(&browser, "accept-invite"), 2);
    browser.fill("#password", "short\u{e007}");
    browser.is_at("Error: Take over your account");
    assert_eq!(is_accessible(&browser, "accept-invite, too short"), 2);

    for page in ["accept-invite", "confirm-email", "reset-password", "verify-email"] {
        browser.go(&format!("{here}/{page}"));
        browser.is_at("Error: This link is not whole");
        is_accessible(&browser, page);
    }
    browser.go(&format!("http://{}/demo/admin/x", platform.http));
    browser.is_at("Error: Forbidden");
    is_accessible(&browser, "a refusal");
}

#[test]
fn what_is_wrong_with_a_page_is_found_in_chromium() {
    let platform = Platform::start();
    let browser = Chromium::start();
    for (wrong, spoil) in [
        ("no label", "document.querySelector('label').remove();"),
        ("no label", "document.querySelector('label').hidden = true;"),
        ("not said what is wrong", "document.querySelector('#email').setAttribute('aria-invalid', 'true');"),
        ("no name", "document.querySelector('main button').textContent = ' ';"),
        (
            "aria-describedby leads to nothing",
            "document.querySelector('#email').setAttribute('aria-describedby', 'x');",
        ),
        ("twice: email", "document.querySelector('#password').id = 'email';"),
        ("not one h1", "document.querySelector('h1').remove();"),
    ] {
        browser.go(&format!("http://{}/account/sign-in", platform.http));
        browser.is_at("Sign in");
        assert_eq!(browser.run(NAMELESS)["wrong"], json!([]));
        browser.run(spoil);
        let found = browser.run(NAMELESS)["wrong"].to_string();
        assert!(found.contains(wrong), "{spoil} {found}");
    }
}
