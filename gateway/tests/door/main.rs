//! The door, tested through the door: the real binary, a real upstream, real sockets.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod attack;
mod audit;
mod backends;
mod browser;
mod changes;
mod chromium;
mod clients;
mod clocks;
mod cluster;
mod connection;
mod cookies;
mod database;
mod differential;
mod findings;
mod found;
mod grpc;
mod guards;
mod http2_backends;
mod issuers;
mod lifecycle;
mod mail;
mod main_path;
mod mfa;
mod nodes;
mod old_systems;
mod pages;
mod passing;
mod passkeys;
mod patience;
mod platform;
mod postgres_outages;
mod readme;
mod redis_shapes;
mod redis_unfit;
mod restart;
mod secure_backends;
mod servers;
mod shared_limits;
mod shared_slots;
mod streams;
mod tls;
mod websockets;
mod wire;
