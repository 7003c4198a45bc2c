//! Secrets have no way out: none of the types that hold one can be printed or serialised.

use std::{
    fmt::{Debug, Display},
    marker::PhantomData,
};

use identity::{
    ApiKey, Credential, KeySet, MasterKey, Password, PasswordHash, ProviderKey, RefreshToken, SealKeys, SecretDigest,
    SecretText, SigningKey, VerifyingKey,
};
use serde::Serialize;

/// What a type does not implement; where it does, the inherent constant hides this one.
trait Otherwise {
    const YES: bool = false;
}

macro_rules! probes {
    ($($name:ident: $trait:path;)*) => {$(
        struct $name<T>(PhantomData<T>);

        impl<T> Otherwise for $name<T> {}

        impl<T: $trait> $name<T> {
            const YES: bool = true;
        }
    )*};
}

probes! {
    IsDebug: Debug;
    IsDisplay: Display;
    IsSerialize: Serialize;
}

macro_rules! shown {
    ($($type:ty)*) => {
        [$((stringify!($type), [IsDebug::<$type>::YES, IsDisplay::<$type>::YES, IsSerialize::<$type>::YES])),*]
    };
}

#[test]
fn no_type_that_holds_a_secret_can_be_printed_or_serialised() {
    for (name, shown) in shown!(ApiKey Credential<'static> KeySet MasterKey Password ProviderKey RefreshToken SealKeys SigningKey VerifyingKey)
    {
        assert_eq!(shown, [false; 3], "{name}");
    }
    for (name, shown) in shown!(PasswordHash SecretDigest SecretText) {
        assert_eq!(shown, [true, false, false], "{name}: its Debug is its name");
    }
    assert_eq!(shown!(String)[0].1, [true; 3], "the probe sees what is there");
}

#[test]
fn a_debug_that_exists_for_the_sake_of_errors_shows_nothing() {
    let secret = "correct horse battery staple".to_owned();
    for shown in [
        format!("{:?}", SecretText::from(secret.clone())),
        format!("{:?}", PasswordHash::from(secret.clone())),
        format!("{:?}", SecretDigest::of(secret.as_bytes())),
    ] {
        assert!(["SecretText", "PasswordHash", "SecretDigest"].contains(&shown.as_str()), "{shown}");
    }
}

#[test]
fn a_secret_text_is_read_from_configuration_and_compared_by_content() {
    let read: Result<SecretText, _> = serde_json::from_str(r#""hush""#);
    assert!(read.is_ok_and(|read| read.expose() == "hush"
        && read == SecretText::from("hush".to_owned())
        && read != SecretText::from("other".to_owned())));
}
