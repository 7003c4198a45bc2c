//! One file per endpoint: what it takes, what it answers, what it does, and its words in the API's document.

pub(crate) mod change_password;
pub(crate) mod change_user;
pub(crate) mod create_key;
pub(crate) mod delete_key;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod jwks;
pub(crate) mod list_keys;
pub(crate) mod list_users;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod me;
pub(crate) mod refresh;
pub(crate) mod register;
pub(crate) mod reload_config;
pub(crate) mod rotate_key;
pub(crate) mod update_me;
pub(crate) mod validate;
