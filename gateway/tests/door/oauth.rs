//! Logging in at somebody else's, through the door: a provider of the test's own that can be made to misbehave (`oauth_faults`), and what
//! becomes of accounts. The provider that everybody else uses too is asked in `oidc`.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use identity::{Algorithm, CodeVerifier, SigningKey, TokenType};
use serde_json::{Value, json};

use crate::{
    cluster::{Redis, member},
    database::Database,
    issuers::{Issuer, key, now},
    mail::{next_mail, token_in},
    mfa::arm,
    pages::{Visitor, credentials, hidden},
    platform::{Answer, PASSWORD, Platform, Setup},
};

/// Where the platform says that it is, which was registered at the provider.
const HERE: &str = "http://127.0.0.1:8080";
const SECRET: &str = "a secret of ours: with signs";

/// A provider on this machine.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) key: SigningKey,
    /// What a code buys.
    pub(crate) codes: HashMap<String, Granted>,
    /// What is answered at `/userinfo`.
    pub(crate) userinfo: Value,
    /// What is answered at a path in place of what should be; `None`: nothing, for ever.
    pub(crate) faults: HashMap<&'static str, Option<(u16, String)>>,
    /// Does it say who it is in its answers?
    pub(crate) names_itself: bool,
    /// Codes shown so far.
    pub(crate) shown: usize,
}

pub(crate) struct Granted {
    pub(crate) claims: Value,
    challenge: String,
    redirect_uri: String,
}

// === impl Provider ===

impl Provider {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            key: key(Algorithm::Rs256, "k"),
            codes: HashMap::new(),
            userinfo: Value::Null,
            faults: HashMap::new(),
            names_itself: false,
            shown: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&served);
                thread::spawn(move || drop(serve(stream.unwrap(), address, &state)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn setup(&self) -> Setup {
        self.beside(Setup::default(), "acme", "")
    }

    /// A platform where people can log in here too.
    pub(crate) fn beside(&self, setup: Setup, id: &str, more: &str) -> Setup {
        let label = id.to_uppercase();
        setup.env("ACME_SECRET", SECRET).append(
            "gateway.toml",
            &format!(
                "\n[[login_providers]]\nid = \"{id}\"\nlabel = \"{label}\"\nissuer = \"{}\"\nclient_id = \"door\"\n\
                 client_secret = {{ env = \"ACME_SECRET\" }}\n{more}",
                self.name()
            ),
        )
    }

    pub(crate) fn claims(&self, nonce: &str) -> Value {
        json!({
            "iss": self.name(), "aud": "door", "sub": "ada-there", "nonce": nonce, "iat": now(), "exp": now() + 600, "auth_time": now(),
            "email": "ada@example.com", "email_verified": true, "name": "Ada There",
        })
    }

    /// Somebody agrees to what a browser was sent here with; gives where it is sent back to.
    pub(crate) fn agree(&self, sent: &Answer, change: impl FnOnce(&mut Value)) -> String {
        let asked = query_of(sent);
        let mut claims = self.claims(&asked["nonce"]);
        change(&mut claims);
        let code = format!("code-{}", asked["state"]);
        let granted =
            Granted { claims, challenge: asked["code_challenge"].clone(), redirect_uri: asked["redirect_uri"].clone() };
        let mut state = self.state.lock().unwrap();
        state.codes.insert(code.clone(), granted);
        let iss = if state.names_itself { format!("&iss={}", self.name()) } else { String::new() };
        let path = asked["redirect_uri"].strip_prefix(HERE).unwrap();
        format!("{path}?state={}&code={code}{iss}", asked["state"])
    }
}

/// What a browser was sent somewhere with.
pub(crate) fn query_of(sent: &Answer) -> HashMap<String, String> {
    assert_eq!(sent.status, 303, "{sent:?}");
    let (_, query) = sent.header("location").unwrap().split_once('?').unwrap();
    serde_urlencoded::from_str(query).unwrap()
}

fn serve(stream: TcpStream, address: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        head += &line;
        line.clear();
    }
    let field = |name: &str| head.lines().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned));
    let length = field("content-length: ").map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let fault = state.lock().unwrap().faults.get(&*path).cloned();
    let (status, body) = match fault {
        // The other side goes when it has had enough.
        Some(None) => return reader.read_to_end(&mut Vec::new()).map(drop),
        Some(Some(fault)) => fault,
        None => answer(&path, &head, &body, address, &mut state.lock().unwrap()),
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn answer(path: &str, head: &str, body: &[u8], address: SocketAddr, state: &mut State) -> (u16, String) {
    let here = format!("http://{address}");
    match path {
        "/.well-known/openid-configuration" => {
            let metadata = json!({
                "issuer": here, "jwks_uri": format!("{here}/keys"), "authorization_endpoint": format!("{here}/authorize"),
                "token_endpoint": format!("{here}/token"), "userinfo_endpoint": format!("{here}/userinfo"),
                "authorization_response_iss_parameter_supported": state.names_itself,
            });
            (200, metadata.to_string())
        }
        "/keys" => (200, json!({ "keys": [state.key.verifying_key().jwk().unwrap()] }).to_string()),
        "/token" => {
            state.shown += 1;
            let shown: HashMap<String, String> = serde_urlencoded::from_bytes(body).unwrap();
            // `door` and the secret, each encoded as in a form (RFC 6749 §2.3.1).
            assert!(head.contains("Basic ZG9vcjphK3NlY3JldCtvZitvdXJzJTNBK3dpdGgrc2lnbnM="), "{head}");
            let granted = state.codes.remove(&shown["code"]);
            let is_ours = |granted: &Granted| {
                let verifier = CodeVerifier::kept(shown["code_verifier"].clone().into());
                verifier.challenge() == granted.challenge && shown["redirect_uri"] == granted.redirect_uri
            };
            match granted.filter(is_ours) {
                Some(granted) => {
                    let token = state.key.sign(TokenType::Access, &granted.claims);
                    (
                        200,
                        json!({ "access_token": "opens-userinfo", "token_type": "Bearer", "id_token": token })
                            .to_string(),
                    )
                }
                None => (400, json!({ "error": "invalid_grant" }).to_string()),
            }
        }
        "/userinfo" if head.to_lowercase().contains("bearer opens-userinfo") => (200, state.userinfo.to_string()),
        _ => (404, "{}".to_owned()),
    }
}

/// A browser goes to the provider, agrees there, and comes back.
pub(crate) fn log_in(
    platform: &Platform,
    provider: &Provider,
    visitor: &Visitor,
    change: impl FnOnce(&mut Value),
) -> Answer {
    let sent = visitor.get(platform, "/auth/oauth/acme?return_to=/demo/x%3Fa%3Db");
    let back = provider.agree(&sent, change);
    visitor.get(platform, &back)
}

/// Somebody registers, and shows that the address is theirs.
pub(crate) fn confirmed(platform: &Platform, email: &str) -> Value {
    let made = platform.register(email);
    confirm(platform);
    made
}

fn confirm(platform: &Platform) {
    let token = token_in(&next_mail(platform, "Confirm your address"));
    assert_eq!(platform.post("/auth/verify-email", None, &json!({ "token": token })).status, 200);
}

pub(crate) fn goes_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.header("location").unwrap()
}

/// Who is not is sent to sign in.
fn is_in(platform: &Platform, visitor: &Visitor) -> bool {
    let status = visitor.get(platform, "/auth/me").status;
    assert!(status == 200 || status == 303, "{status}");
    status == 200
}

fn me(platform: &Platform, visitor: &Visitor) -> Value {
    visitor.get(platform, "/auth/me").json()
}

#[test]
fn a_newcomer_gets_an_account_and_comes_back_to_it() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    let visitor = Visitor::default();
    for page in ["/account/sign-in", "/account/sign-up"] {
        let page = visitor.get(&platform, page);
        assert!(
            page.body.contains("href=\"/auth/oauth/acme\" rel=\"nofollow\">Sign in with ACME</a>"),
            "{}",
            page.body
        );
    }
    let page = visitor.get(&platform, "/account/sign-in?return_to=/demo/x%3Fa%3Db");
    assert!(page.body.contains("href=\"/auth/oauth/acme?return_to=/demo/x%3Fa%3Db\""), "{}", page.body);

    let sent = visitor.get(&platform, "/auth/oauth/acme?return_to=/demo/x%3Fa%3Db");
    assert!(goes_to(&sent).starts_with(&format!("{}/authorize?", provider.name())), "{sent:?}");
    assert_eq!((sent.header("cache-control"), sent.header("referrer-policy")), (Some("no-store"), Some("no-referrer")));
    let asked = query_of(&sent);
    let said = |name: &str| asked[name].as_str();
    assert_eq!((said("response_type"), said("client_id"), said("scope")), ("code", "door", "openid email profile"));
    assert_eq!(said("redirect_uri"), format!("{HERE}/auth/oauth/acme/callback"));
    assert_eq!((said("code_challenge_method"), said("code_challenge").len(), said("nonce").len()), ("S256", 43, 43));
    let back = visitor.get(&platform, &provider.agree(&sent, |_| ()));
    assert_eq!(goes_to(&back), "/demo/x?a=b", "{}", platform.log());
    assert_eq!(visitor.get(&platform, "/demo/x?a=b").status, 200);
    let ada = me(&platform, &visitor);
    assert_eq!(
        (&ada["email"], &ada["name"], &ada["is_verified"], &ada["role"]),
        (&json!("ada@example.com"), &json!("Ada There"), &json!(true), &json!("user"))
    );
    assert!(visitor.get(&platform, "/account/sessions").body.contains("another provider"));
    for outcome in ["begun", "ok"] {
        let counted = platform.metric(&format!("portcullis_registrations_total{{outcome=\"{outcome}\"}}"));
        assert_eq!(counted, 1, "{outcome}: what is completed was begun");
    }

    // Whatever address is theirs there later on, they are who they are; and elsewhere.
    let other = Visitor::default();
    let again = log_in(&platform, &provider, &other, |claims| claims["email"] = json!("new@example.com"));
    assert_eq!(goes_to(&again), "/demo/x?a=b");
    assert_eq!(me(&platform, &other)["id"], ada["id"]);
    let root = platform.admin();
    let events = platform.get("/admin/audit?event=oauth_callback", &root).json();
    let events = events["items"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{events:?}");
    for event in events {
        assert_eq!((&event["outcome"], &event["subject"], &event["actor"]), (&json!("ok"), &ada["id"], &ada["id"]));
        assert_eq!(event["details"]["provider"], "acme");
    }
    assert_eq!(events[1]["details"]["account_made"], true);
    let off = json!({ "status": "disabled" });
    let path = format!("/admin/users/{}", ada["id"].as_str().unwrap());
    assert_eq!(platform.json("PATCH", &path, Some(&root), &off).status, 200);
    let refused = log_in(&platform, &provider, &Visitor::default(), |_| ());
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("This account has been disabled"), "{}", refused.body);
}

#[test]
fn a_login_that_begins_at_one_gateway_ends_at_another_and_serves_once_at_either() {
    let (provider, database, redis) = (Provider::start(), Database::new("logins"), Redis::start());
    let node = || {
        let setup = member(&database, &redis).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"local\"");
        provider.beside(setup.edit("gateway.toml", "# nodes = 3", "nodes = 2"), "acme", "").start()
    };
    let nodes = [node(), node()];
    let mut ids = Vec::new();
    // Somebody new, and the same one again, the other way round.
    for [one, other] in [[&nodes[0], &nodes[1]], [&nodes[1], &nodes[0]]] {
        let visitor = Visitor::default();
        let back = provider.agree(&visitor.get(one, "/auth/oauth/acme?return_to=/demo/x%3Fa%3Db"), |_| ());
        assert_eq!(goes_to(&visitor.get(other, &back)), "/demo/x?a=b", "{}", other.log());
        for node in &nodes {
            assert_eq!(visitor.get(node, "/demo/x?a=b").status, 200);
            ids.push(me(node, &visitor)["id"].clone());
            assert_eq!(visitor.get(node, &back).status, 400, "it has served");
        }
    }
    assert!(ids.iter().all(|id| id.is_string() && *id == ids[0]), "{ids:?}");
    assert_eq!(provider.state.lock().unwrap().shown, 2);
}

#[test]
fn an_address_that_has_an_account_leads_to_it_only_when_its_owner_agrees() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    let ada = confirmed(&platform, "ada@example.com")["user"]["id"].clone();
    let visitor = Visitor::default();
    let back = log_in(&platform, &provider, &visitor, |_| ());
    assert_eq!(goes_to(&back), "/account/link");
    assert!(!is_in(&platform, &visitor), "nobody is signed in by it");
    let link = visitor.get(&platform, "/account/link");
    assert_eq!(goes_to(&link), "/account/sign-in?return_to=/account/link");
    let page = visitor.get(&platform, "/account/sign-in?return_to=/account/link");
    assert!(page.body.contains("Sign in to your account here first"), "{}", page.body);
    let body = credentials("ada@example.com") + "&return_to=/account/link";
    assert_eq!(goes_to(&visitor.post(&platform, "/account/sign-in", &body)), "/account/link");
    let page = visitor.get(&platform, "/account/link");
    assert!(page.body.contains("ACME says that you are ada@example.com"), "{}", page.body);
    assert!(!page.body.contains("type=\"password\""), "who was seen just now need not show it again");
    // Nothing has happened yet, whatever pages of others make the browser send.
    let csrf = hidden(&page, "csrf");
    let foreign = [("Sec-Fetch-Site", "cross-site"), ("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(visitor.send(&platform, "POST", "/account/link", &foreign, &format!("csrf={csrf}")).status, 403);
    assert_eq!(visitor.post(&platform, "/account/link", "csrf=x").status, 403);
    assert_eq!(goes_to(&log_in(&platform, &provider, &Visitor::default(), |_| ())), "/account/link");
    // Nor can another browser agree with what this one has brought.
    let thief = Visitor::signed_in(&platform, "ada@example.com");
    let stolen = visitor.0.borrow()["portcullis-link"].clone();
    thief.0.borrow_mut().insert("portcullis-link".to_owned(), stolen);
    let refused = thief.get(&platform, "/account/link");
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("nothing here to agree to"), "{}", refused.body);

    let agreed = visitor.post(&platform, "/account/link", &format!("csrf={csrf}"));
    assert_eq!(goes_to(&agreed), "/account/identities", "{}", platform.log());
    let mail = next_mail(&platform, "Another way into your account");
    assert!(mail.contains("ada@example.com"), "{mail}");
    let page = visitor.get(&platform, "/account/identities");
    assert!(page.body.contains("<h2>ACME</h2>") && page.body.contains("ada@example.com"), "{}", page.body);
    let other = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &provider, &other, |_| ())), "/demo/x?a=b");
    assert_eq!(me(&platform, &other)["id"], ada);
    let root = platform.admin();
    let events = platform.get("/admin/audit?event=link_identity&outcome=ok", &root).json();
    assert_eq!(events["items"][0]["subject"], ada, "{events}");
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_link_by_mail_leads_to_the_agreement_too_and_leaves_nothing_to_whoever_took_the_address() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    // Somebody else registers Ada's address, and links a login of their own to it.
    platform.register("ada@example.com");
    let mallory = Visitor::signed_in(&platform, "ada@example.com");
    let theirs = |claims: &mut Value| {
        claims["sub"] = json!("mallory-there");
        claims["email"] = json!("mallory@example.com");
    };
    let sent = mallory.get(&platform, "/auth/oauth/acme?link=1");
    assert_eq!(goes_to(&mallory.get(&platform, &provider.agree(&sent, theirs))), "/account/link");
    // Whoever has not confirmed the address lets nobody in.
    assert_eq!(mallory.get(&platform, "/account/link").status, 403);
    let csrf = hidden(&mallory.get(&platform, "/account/identities"), "csrf");
    let refused = mallory.post(&platform, "/account/link", &format!("csrf={csrf}"));
    assert!(refused.status == 403 && refused.body.contains("Confirm the address first"), "{refused:?}");
    assert_eq!(mallory.get(&platform, "/auth/identities").json(), json!({ "items": [], "next_cursor": null }));
    // Ada comes by the provider, and has no password: a link by mail shows who she is.
    let ada = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &provider, &ada, |_| ())), "/account/link");
    let email = "email=ada%40example.com";
    assert_eq!(goes_to(&ada.post(&platform, "/account/magic-link", email)), "/account/check-mail");
    let token = token_in(&next_mail(&platform, "magic-link"));
    let in_by_mail = ada.post(&platform, "/account/magic-link/consume", &format!("token={token}"));
    assert_eq!(goes_to(&in_by_mail), "/account/link");
    let csrf = hidden(&ada.get(&platform, "/account/link"), "csrf");
    assert_eq!(goes_to(&ada.post(&platform, "/account/link", &format!("csrf={csrf}"))), "/account/identities");
    let listed = ada.get(&platform, "/auth/identities").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert!(!is_in(&platform, &mallory));
    let other = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &provider, &other, theirs)), "/demo/x?a=b");
    assert_ne!(
        me(&platform, &other)["id"],
        me(&platform, &ada)["id"],
        "whoever took it has an account of their own now"
    );
}

#[test]
fn an_address_that_the_provider_has_not_verified_makes_and_links_nothing() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    platform.register("bob@example.com");
    let owner = Visitor::signed_in(&platform, "bob@example.com");
    let said: [fn(&mut Value); 4] = [
        |claims| claims["email_verified"] = json!(false),
        |claims| drop(claims.as_object_mut().unwrap().remove("email_verified")),
        |claims| {
            claims["email"] = json!("bob@example.com");
            claims["email_verified"] = json!("false");
        },
        |claims| claims["email"] = json!("no address"),
    ];
    for change in said {
        let refused = log_in(&platform, &provider, &Visitor::default(), change);
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.body.contains("does not say that your address is confirmed"), "{}", refused.body);
        let sent = owner.get(&platform, "/auth/oauth/acme?link=1");
        assert_eq!(owner.get(&platform, &provider.agree(&sent, change)).status, 403);
    }
    assert_eq!(owner.get(&platform, "/account/link").status, 400, "there is nothing to agree to");
    // What the ID token does not hold is asked for, and has to be about the same subject.
    let no_email = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("email"));
    provider.state.lock().unwrap().userinfo =
        json!({ "sub": "eve-there", "email": "ada@example.com", "email_verified": true });
    let refused = log_in(&platform, &provider, &Visitor::default(), no_email);
    assert_eq!(refused.status, 502);
    assert!(refused.body.contains("cannot be believed"), "{}", refused.body);
    provider.state.lock().unwrap().userinfo["sub"] = json!("ada-there");
    let visitor = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &provider, &visitor, no_email)), "/demo/x?a=b");
    assert_eq!(me(&platform, &visitor)["email"], "ada@example.com");
}

#[test]
fn whoever_has_an_authenticator_shows_its_code_here_too() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    let (ada, visitor) = (arm(&platform), Visitor::default());
    confirm(&platform);
    assert_eq!(goes_to(&log_in(&platform, &provider, &visitor, |_| ())), "/account/link");
    let asked = visitor.post(&platform, "/account/sign-in", &credentials("ada@example.com"));
    let step = |token: &str, code: &str| {
        visitor.post(&platform, "/account/sign-in/code", &format!("token={token}&return_to=/account/link&code={code}"))
    };
    assert_eq!(goes_to(&step(&hidden(&asked, "token"), &ada.recovery[0])), "/account/link");
    let csrf = hidden(&visitor.get(&platform, "/account/link"), "csrf");
    assert_eq!(goes_to(&visitor.post(&platform, "/account/link", &format!("csrf={csrf}"))), "/account/identities");

    let visitor = Visitor::default();
    let asked = log_in(&platform, &provider, &visitor, |_| ());
    assert_eq!((asked.status, hidden(&asked, "return_to").as_str()), (200, "/demo/x?a=b"), "{asked:?}");
    assert!(!is_in(&platform, &visitor), "what a provider says is one factor");
    let body = format!("token={}&return_to=/demo/x&code={}", hidden(&asked, "token"), ada.next_code());
    assert_eq!(goes_to(&visitor.post(&platform, "/account/sign-in/code", &body)), "/demo/x");
    assert!(is_in(&platform, &visitor));
    // A program learns the same in its own words.
    let program = Visitor::default();
    let sent = program.get(&platform, "/auth/oauth/acme");
    let back = provider.agree(&sent, |_| ());
    let cookie = format!("portcullis-device={}", program.0.borrow()["portcullis-device"]);
    assert_eq!(platform.send("GET", &back, &[("Cookie", &cookie)], "").code(), "mfa_required");
}

#[test]
fn an_account_has_several_and_loses_all_but_the_last_way_in() {
    let (acme, other) = (Provider::start(), Provider::start());
    let platform = other.beside(acme.setup(), "other", "sign_up = false\n").start();
    let closed = other.agree(&Visitor::default().get(&platform, "/auth/oauth/other"), |_| ());
    assert_eq!(platform.send("GET", &closed, &[], "").code(), "invalid_state", "no cookie, no browser");
    let stranger = Visitor::default();
    let closed = other.agree(&stranger.get(&platform, "/auth/oauth/other"), |_| ());
    let closed = stranger.get(&platform, &closed);
    assert_eq!(closed.status, 403);
    assert!(closed.body.contains("not given one"), "{}", closed.body);

    let ada = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &acme, &ada, |_| ())), "/demo/x?a=b");
    let csrf = |visitor: &Visitor| format!("csrf={}", hidden(&visitor.get(&platform, "/account/identities"), "csrf"));
    let listed = |visitor: &Visitor| visitor.get(&platform, "/auth/identities").json()["items"].clone();
    let first = listed(&ada)[0].clone();
    assert_eq!((&first["provider"], &first["email"]), (&json!("acme"), &json!("ada@example.com")), "{first}");
    let unlink = |visitor: &Visitor, identity: &Value| {
        let path = format!("/account/identities/{}/unlink", identity["id"].as_str().unwrap());
        visitor.post(&platform, &path, &csrf(visitor))
    };
    let kept = unlink(&ada, &first);
    assert_eq!(kept.status, 409);
    assert!(kept.body.contains("no way into the account"), "{}", kept.body);
    // With another one it is not the last.
    let page = ada.get(&platform, "/account/identities");
    assert!(page.body.contains("href=\"/auth/oauth/other?link=1\""), "{}", page.body);
    let sent = ada.get(&platform, "/auth/oauth/other?link=1");
    let back = other.agree(&sent, |claims| claims["email"] = json!("ada@elsewhere.example"));
    assert_eq!(goes_to(&ada.get(&platform, &back)), "/account/link");
    let page = ada.get(&platform, "/account/link");
    assert!(page.body.contains("OTHER says that you are ada@elsewhere.example"), "{}", page.body);
    assert_eq!(goes_to(&ada.post(&platform, "/account/link", &csrf(&ada))), "/account/identities");
    assert_eq!(listed(&ada).as_array().unwrap().len(), 2);
    // Somebody else's account cannot have it, nor take it away.
    confirmed(&platform, "bob@example.com");
    let bob = Visitor::signed_in(&platform, "bob@example.com");
    let sent = bob.get(&platform, "/auth/oauth/acme?link=1");
    bob.get(&platform, &acme.agree(&sent, |_| ()));
    let taken = bob.get(&platform, "/account/link");
    assert!(taken.status == 409 && taken.body.contains("has another account here already"), "{taken:?}");
    let taken = bob.post(&platform, "/account/link", &csrf(&bob));
    assert!(taken.status == 409 && taken.body.contains("has another account here already"), "{taken:?}");
    assert_eq!(unlink(&bob, &first).status, 404);

    let elsewhere = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &acme, &elsewhere, |_| ())), "/demo/x?a=b");
    assert_eq!(goes_to(&unlink(&ada, &first)), "/account/identities");
    next_mail(&platform, "One way less into your account");
    assert!(!is_in(&platform, &elsewhere), "whoever came that way is out");
    assert!(is_in(&platform, &ada));
    let again = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &acme, &again, |_| ())), "/account/link", "it is no way in any more");
    assert_eq!(unlink(&ada, &listed(&ada)[0]).status, 409);
    let events = platform.get("/admin/audit?event=unlink_identity", &platform.admin()).json();
    let outcomes: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["outcome"].clone()).collect();
    assert_eq!(outcomes, ["last_way_in", "ok", "not_found", "last_way_in"]);
}

#[test]
fn programs_list_and_unlink_with_what_shows_that_it_is_the_owner() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    confirmed(&platform, "ada@example.com");
    let ada = Visitor::signed_in(&platform, "ada@example.com");
    let sent = ada.get(&platform, "/auth/oauth/acme?link=1");
    ada.get(&platform, &provider.agree(&sent, |_| ()));
    let csrf = hidden(&ada.get(&platform, "/account/link"), "csrf");
    assert_eq!(goes_to(&ada.post(&platform, "/account/link", &format!("csrf={csrf}"))), "/account/identities");
    let token = platform.login("ada@example.com");
    let listed = platform.get("/api/v2/auth/identities", &token).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(platform.get("/auth/me/export", &token).json()["identities"], listed["items"]);
    let path = format!("/auth/identities/{}", listed["items"][0]["id"].as_str().unwrap());
    let key = platform.post("/auth/api-keys", Some(&token), &json!({ "name": "ci" })).json();
    let by_key = platform.json("DELETE", &path, key["key"].as_str(), &json!({}));
    assert_eq!(by_key.code(), "session_required", "{by_key:?}");
    let wrong = platform.json("DELETE", &path, Some(&token), &json!({ "password": "wrong" }));
    assert_eq!(wrong.code(), "wrong_proof", "{wrong:?}");
    let gone = platform.json("DELETE", &path, Some(&token), &json!({ "password": PASSWORD }));
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(platform.json("DELETE", &path, Some(&token), &json!({})).status, 404);
}

#[test]
fn a_login_is_as_old_as_the_provider_says() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    let asked = |path: &str| query_of(&Visitor::default().get(&platform, path));
    let plain = asked("/auth/oauth/acme");
    assert_eq!((plain["max_age"].as_str(), plain.get("prompt")), ("43200", None));
    let fresh = asked("/auth/oauth/acme?fresh=1");
    assert_eq!((fresh["max_age"].as_str(), fresh["prompt"].as_str()), ("0", "login"));
    let old: [fn(&mut Value); 3] = [
        |claims| claims["auth_time"] = json!(now() - 301),
        |claims| drop(claims.as_object_mut().unwrap().remove("auth_time")),
        |claims| claims["auth_time"] = json!("now"),
    ];
    let enrol = |visitor: &Visitor| {
        let csrf = visitor.0.borrow()["portcullis-csrf"].clone();
        let headers =
            [("Content-Type", "application/json"), ("Sec-Fetch-Site", "same-origin"), ("X-CSRF-Token", &*csrf)];
        visitor.send(&platform, "POST", "/auth/mfa/totp", &headers, "{}")
    };
    for change in old {
        let visitor = Visitor::default();
        assert_eq!(goes_to(&log_in(&platform, &provider, &visitor, change)), "/demo/x?a=b");
        assert_eq!(enrol(&visitor).code(), "insufficient_user_authentication");
    }
    // A clock that is ahead makes nobody fresh for longer.
    let visitor = Visitor::default();
    let ahead = |claims: &mut Value| claims["auth_time"] = json!(now() + 4000);
    assert_eq!(goes_to(&log_in(&platform, &provider, &visitor, ahead)), "/demo/x?a=b");
    assert_eq!(enrol(&visitor).status, 201);
}

#[test]
fn who_has_logged_in_at_the_provider_too_long_ago_does_so_anew() {
    let provider = Provider::start();
    let ago = |seconds: i64| move |claims: &mut Value| claims["auth_time"] = json!(now() - seconds);
    let silent = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("auth_time"));
    let platform = provider.setup().start();
    let visitor = Visitor::default();
    // Whatever the provider makes of what it is asked: twelve hours, and thirty seconds for clocks.
    assert_eq!(goes_to(&log_in(&platform, &provider, &Visitor::default(), ago(12 * 3600))), "/demo/x?a=b");
    let refused = log_in(&platform, &provider, &visitor, ago(12 * 3600 + 40));
    assert_eq!(refused.status, 403, "{refused:?}");
    let anew = "href=\"/auth/oauth/acme?return_to=/demo/x%3Fa%3Db&#38;fresh=1\" rel=\"nofollow\">Sign in with ACME</a>";
    assert!(refused.body.contains("too long ago") && refused.body.contains(anew), "{}", refused.body);
    assert!(!is_in(&platform, &visitor));
    assert_eq!(goes_to(&log_in(&platform, &provider, &Visitor::default(), silent)), "/demo/x?a=b");

    // Where the operator says how long, a provider has to say when it was.
    let strict = provider.beside(Setup::default(), "acme", "max_age = \"1h\"\n").start();
    let sent = Visitor::default().get(&strict, "/auth/oauth/acme");
    assert_eq!(query_of(&sent)["max_age"], "3600");
    assert_eq!(goes_to(&log_in(&strict, &provider, &Visitor::default(), ago(3590))), "/demo/x?a=b");
    assert_eq!(log_in(&strict, &provider, &Visitor::default(), ago(3640)).status, 403);
    assert_eq!(log_in(&strict, &provider, &Visitor::default(), silent).status, 502);
}

#[test]
fn what_waits_for_one_owner_is_nothing_to_another() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    confirmed(&platform, "ada@example.com");
    confirmed(&platform, "bob@example.com");
    let enter = |visitor: &Visitor, who: &str| {
        let to = visitor.post(&platform, "/account/sign-in", &(credentials(who) + "&return_to=/account/identities"));
        assert_eq!(goes_to(&to), "/account/identities");
    };
    let leave = |visitor: &Visitor| {
        let csrf = hidden(&visitor.get(&platform, "/account/identities"), "csrf");
        assert_eq!(visitor.post(&platform, "/account/sign-out", &format!("csrf={csrf}")).status, 303);
    };
    let waits = |visitor: &Visitor| visitor.get(&platform, "/account/link").status == 200;
    // What has come with Ada's address is for Ada.
    let visitor = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &provider, &visitor, |_| ())), "/account/link");
    enter(&visitor, "bob@example.com");
    assert_eq!(visitor.get(&platform, "/account/link").status, 400);
    let csrf = hidden(&visitor.get(&platform, "/account/identities"), "csrf");
    assert_eq!(visitor.post(&platform, "/account/link", &format!("csrf={csrf}")).status, 400);
    enter(&visitor, "ada@example.com");
    assert!(waits(&visitor));
    // It goes with who signs out, and with who declines.
    leave(&visitor);
    enter(&visitor, "ada@example.com");
    assert!(!waits(&visitor));
    assert_eq!(goes_to(&log_in(&platform, &provider, &visitor, |_| ())), "/account/link");
    assert!(waits(&visitor));
    assert_eq!(visitor.get(&platform, "/account/identities?declined").status, 200);
    assert!(!waits(&visitor));
    // Nobody links who is not signed in, or comes back as somebody else.
    let sent = visitor.get(&platform, "/auth/oauth/acme?link=1");
    enter(&visitor, "bob@example.com");
    assert_eq!(visitor.get(&platform, &provider.agree(&sent, |_| ())).status, 400);
    let nobody = Visitor::default().get(&platform, "/auth/oauth/acme?link=1");
    assert_eq!(goes_to(&nobody), "/account/sign-in?return_to=/account/identities");
}

#[test]
fn no_page_of_another_site_begins_a_login() {
    let provider = Provider::start();
    let platform = provider.setup().start();
    let path = "/auth/oauth/acme?return_to=/demo/x%3Fa%3Db&fresh=1";
    let begun =
        |site: &str, accept: &str| platform.send("GET", path, &[("Sec-Fetch-Site", site), ("Accept", accept)], "");
    for site in ["none", "same-origin"] {
        assert_eq!(begun(site, "text/html").status, 303, "{site}");
    }
    for site in ["cross-site", "same-site"] {
        assert_eq!((begun(site, "*/*").status, &*begun(site, "*/*").code()), (403, "foreign_start"), "{site}");
        // Whoever means it goes on by a button of ours, to where they wanted to go; nothing has begun before.
        let asked = begun(site, "text/html,*/*;q=0.8");
        assert_eq!(
            (asked.status, asked.header("location"), asked.header("set-cookie")),
            (200, None, None),
            "{asked:?}"
        );
        let button =
            "href=\"/auth/oauth/acme?return_to=/demo/x%3Fa%3Db&#38;fresh=1\" rel=\"nofollow\">Sign in with ACME</a>";
        assert!(asked.body.contains(button), "{}", asked.body);
        let nobody = platform.send("GET", "/auth/oauth/x", &[("Sec-Fetch-Site", site), ("Accept", "text/html")], "");
        assert_eq!(nobody.status, 404, "{nobody:?}");
    }
}

#[test]
fn an_issuer_is_not_linked_to_an_account_that_a_provider_has_let_in() {
    let (provider, issuer, key) = (Provider::start(), Issuer::start(), key(Algorithm::EdDsa, "k"));
    issuer.publish(&[&key]);
    let linking = issuer.setup("").edit("gateway.toml", "link_verified_email = false", "link_verified_email = true");
    let platform = provider.beside(linking, "acme", "").start();
    assert_eq!(goes_to(&log_in(&platform, &provider, &Visitor::default(), |_| ())), "/demo/x?a=b");
    let mut claims = issuer.claims("somebody");
    claims["email"] = json!("ada@example.com");
    claims["email_verified"] = json!(true);
    let answer = platform.get("/demo/private/x", &key.sign(TokenType::Access, &claims));
    assert_eq!((answer.status, &*answer.code()), (403, "unknown_account"), "{answer:?}");
}

#[test]
fn what_an_issuer_has_linked_is_no_way_in_by_a_browser_until_the_owner_agrees() {
    let provider = Provider::start();
    let linking = Setup::default().env("AUTH_OIDC_ISSUER", &provider.name()).env("AUTH_OIDC_AUDIENCE", "door").edit(
        "gateway.toml",
        "link_verified_email = false",
        "link_verified_email = true",
    );
    let platform = provider.beside(linking, "acme", "").start();
    confirmed(&platform, "ada@example.com");
    let mut claims = provider.claims("none");
    claims.as_object_mut().unwrap().remove("nonce");
    let token = provider.state.lock().unwrap().key.sign(TokenType::Access, &claims);
    let answer = platform.get("/demo/private/x", &token);
    assert_eq!(answer.status, 200, "the operator allows it to programs: {answer:?}");
    let visitor = Visitor::default();
    for claims in [json!("ada@example.com"), json!("new@example.com")] {
        let back = log_in(&platform, &provider, &visitor, |said| said["email"] = claims);
        assert_eq!(goes_to(&back), "/account/link");
        assert!(!is_in(&platform, &visitor), "nobody is signed in by it");
    }
    let body = credentials("ada@example.com") + "&return_to=/account/link";
    assert_eq!(goes_to(&visitor.post(&platform, "/account/sign-in", &body)), "/account/link");
    let csrf = hidden(&visitor.get(&platform, "/account/link"), "csrf");
    let agreed = visitor.post(&platform, "/account/link", &format!("csrf={csrf}"));
    assert_eq!(goes_to(&agreed), "/account/identities", "{}", platform.log());
    next_mail(&platform, "Another way into your account");
    let other = Visitor::default();
    assert_eq!(goes_to(&log_in(&platform, &provider, &other, |_| ())), "/demo/x?a=b");
    assert!(is_in(&platform, &other));
}
