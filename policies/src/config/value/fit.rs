//! What stands in a variable or a file becomes a number, a switch or a length of time, or it is said why not.

use std::any::Any;
use std::fmt::Display;
use std::num::{IntErrorKind, ParseIntError};
use std::str::{FromStr, ParseBoolError};

use super::{DurationError, NO_LENGTH, ValueError};

/// `shown`: how the text is spoken of. A file may be another one than was meant, and hold a secret.
pub(super) fn fit<T>(text: &str, shown: &str, place: String) -> Result<T, ValueError>
where
    T: FromStr,
    T::Err: Display + 'static,
{
    text.parse().map_err(|error: T::Err| {
        let reason = unfit(&error).map_or_else(|| error.to_string(), |unfit| format!("{shown} {unfit}"));
        ValueError::Unfit { reason, place }
    })
}

/// What is wrong with a number, a switch or a length of time, without the text: `std` says it in words for programmers. Numbers here are not
/// negative.
fn unfit(error: &dyn Any) -> Option<&'static str> {
    match error.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow) => Some("is too large a number"),
        Some(_) => Some("is not a whole number from 0 up"),
        None if error.is::<ParseBoolError>() => Some("is neither true nor false"),
        None => error.is::<DurationError>().then_some(NO_LENGTH),
    }
}
