//! What a backend says of its answer: `X-Usage-Tokens`, `X-Usage-Cost`, `X-Usage-Model`, `X-Usage-Request-Type`, `X-Usage-Service`.
//!
//! These fields are for the door alone and never reach a client, whoever it is and whatever they say. What is malformed, negative, huge or
//! said twice counts for nothing, and is counted as a fault of the backend.

use http::{HeaderMap, HeaderName};
use policies::Micros;
use smallvec::SmallVec;

/// What the fields' names begin with; whatever else does is kept from clients too.
const PREFIX: &str = "x-usage-";
/// Tokens of one answer at most: a thousand times what the longest takes today.
pub(crate) const MOST_TOKENS: i64 = 1_000_000_000_000;
/// Bytes of a name: of a model, a service, a kind of request.
const LONGEST_NAME: usize = 100;

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metered {
    pub(crate) tokens: Option<i64>,
    /// Millionths.
    pub(crate) cost: Option<i64>,
    pub(crate) model: Option<Box<str>>,
    pub(crate) service: Option<Box<str>>,
    pub(crate) request_type: Option<Box<str>>,
    /// Fields that say nothing that can be counted.
    pub(crate) faults: u32,
}

/// Those of an answer, or of its trailers.
struct Said<'a> {
    headers: &'a HeaderMap,
    names: SmallVec<[HeaderName; 5]>,
    faults: u32,
}

/// Is it a field of this kind, however it is spelt (`X_Usage_Cost`)? Asked for every field of every answer.
pub(crate) fn is_usage(name: &HeaderName) -> bool {
    name.as_str().len() >= PREFIX.len() && begins_with(name.as_str(), PREFIX)
}

fn begins_with(name: &str, ours: &str) -> bool {
    let folded = |(byte, of_ours)| byte == of_ours || (of_ours == b'-' && matches!(byte, b'_' | b'.'));
    name.bytes().zip(ours.bytes()).all(folded)
}

/// The names of those that are there.
pub(crate) fn names(headers: &HeaderMap) -> SmallVec<[HeaderName; 5]> {
    headers.keys().filter(|name| is_usage(name)).cloned().collect()
}

/// Takes them out of an answer's fields. Boxed, so that requests without any carry no room for it.
pub(crate) fn take(headers: &mut HeaderMap) -> Option<Box<Metered>> {
    let metered = read(headers);
    for name in names(headers) {
        headers.remove(name);
    }
    metered
}

/// Reads them.
pub(crate) fn read(headers: &HeaderMap) -> Option<Box<Metered>> {
    let mut said = Said { headers, names: names(headers), faults: 0 };
    if said.names.is_empty() {
        return None;
    }
    // Others are not ours: they are kept from clients, and no fault.
    let metered = Metered {
        tokens: said.once("tokens", tokens),
        cost: said.once("cost", |text| Some(Micros::parse(text).ok()?.get())),
        model: said.once("model", plain),
        service: said.once("service", plain),
        request_type: said.once("request-type", plain),
        faults: said.faults,
    };
    (metered != Metered::default()).then(|| Box::new(metered))
}

/// What an answer's fields say, and what its trailers say after them: of each thing the last word counts.
pub(crate) fn merged(fields: Option<Box<Metered>>, trailers: Option<Box<Metered>>) -> Option<Box<Metered>> {
    match (fields, trailers) {
        (Some(first), Some(last)) => Some(Box::new(Metered {
            tokens: last.tokens.or(first.tokens),
            cost: last.cost.or(first.cost),
            model: last.model.or(first.model),
            service: last.service.or(first.service),
            request_type: last.request_type.or(first.request_type),
            faults: first.faults + last.faults,
        })),
        (fields, trailers) => trailers.or(fields),
    }
}

// === impl Said ===

impl Said<'_> {
    /// What one of them says; `None` if nobody says it, or it cannot be counted. Two spellings of a name are twice the same.
    fn once<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let headers = self.headers;
        let is_spelt = |other: &&HeaderName| {
            let rest = &other.as_str()[PREFIX.len()..];
            rest.len() == name.len() && begins_with(rest, name)
        };
        let mut values = self.names.iter().filter(is_spelt).flat_map(|name| headers.get_all(name));
        let (value, again) = (values.next()?, values.next());
        let text = value.to_str().ok().filter(|_| again.is_none());
        let parsed = text.and_then(|text| parse(text.trim()));
        self.faults += u32::from(parsed.is_none());
        parsed
    }
}

fn tokens(text: &str) -> Option<i64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|tokens| is_digits && *tokens <= MOST_TOKENS)
}

/// It is shown in tables: printable ASCII, not long.
fn plain(text: &str) -> Option<Box<str>> {
    let is_plain = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_plain.then(|| text.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn what_is_said_is_read_and_nothing_of_it_stays() {
        let mut headers = of(&[
            ("x-usage-tokens", "1200"),
            ("x-usage-cost", "0.0125"),
            ("x-usage-model", "claude-3"),
            ("x-usage-service", "claude"),
            ("x-usage-request-type", "chat"),
            ("x-usage-secret", "17"),
            ("content-type", "text/plain"),
        ]);
        let metered = take(&mut headers).unwrap();
        let expected = Metered {
            tokens: Some(1200),
            cost: Some(12_500),
            model: Some("claude-3".into()),
            service: Some("claude".into()),
            request_type: Some("chat".into()),
            faults: 0,
        };
        assert_eq!((*metered, headers.len()), (expected, 1));
        assert_eq!(take(&mut headers), None);
        let mut aliases = of(&[("x_usage_tokens", "1"), ("x-usage.cost", "1"), ("x-usages", "1"), ("x-usage", "1")]);
        let read = take(&mut aliases).unwrap();
        assert_eq!((read.tokens, read.cost, read.faults, aliases.len()), (Some(1), Some(1_000_000), 0, 2));
    }

    #[test]
    fn trailers_have_the_last_word_of_what_they_say_and_none_of_what_they_do_not() {
        let fields = || take(&mut of(&[("x-usage-cost", "0.5"), ("x-usage-tokens", "1"), ("x-usage-model", "")]));
        let trailers = || take(&mut of(&[("x-usage-tokens", "0"), ("x-usage-service", "claude")]));
        let both = merged(fields(), trailers()).unwrap();
        assert_eq!((both.tokens, both.cost, both.faults), (Some(0), Some(500_000), 1));
        assert_eq!(both.service.as_deref(), Some("claude"));
        assert_eq!((merged(fields(), None), merged(None, trailers())), (fields(), trailers()));
    }

    #[test]
    fn what_cannot_be_counted_is_a_fault_and_counts_nothing() {
        for (name, value) in [
            ("x-usage-tokens", "-1"),
            ("x-usage-tokens", "+1"),
            ("x-usage-tokens", "1.5"),
            ("x-usage-tokens", ""),
            ("x-usage-tokens", "1000000000001"),
            ("x-usage-tokens", "99999999999999999999"),
            ("x-usage-cost", "-0.01"),
            ("x-usage-cost", "1e12"),
            ("x-usage-cost", "NaN"),
            ("x-usage-model", ""),
            ("x-usage-model", &"m".repeat(101)),
        ] {
            let metered = take(&mut of(&[(name, value)])).unwrap();
            assert_eq!(*metered, Metered { faults: 1, ..Metered::default() }, "{name}: {value}");
        }
        for (one, other) in [
            ("x-usage-tokens", "x-usage-tokens"),
            ("x-usage-tokens", "x_usage_tokens"),
            ("x.usage_tokens", "x_usage_tokens"),
            ("x-usage-request-type", "x-usage-request_type"),
        ] {
            let twice = take(&mut of(&[(one, "1"), (other, "1")])).unwrap();
            assert_eq!(*twice, Metered { faults: 1, ..Metered::default() }, "{one} {other}");
        }
    }
}
