//! The yardstick. How much CPU does a request cost at the door, beside a proxy that decides nothing?
//!
//! Small programs, and a script that runs them beside `portcullis` (`bench/run`, by `make bench`):
//! - [`upstream`] answers every request with the same few bytes;
//! - [`bare`] is Pingora as the gateway runs it (same runtime, allocator and profile), forwarding and nothing else;
//! - [`load`] keeps a number of connections busy, each request with the next line of a file of credentials.
//!
//! And [`streams`], both ends of thousands of event streams, for `bench/streams`. What all have in common is [`process`]'s.
//!
//! What is measured, how often, and what the numbers mean is the script's business.

pub mod bare;
pub mod load;
pub mod process;
pub mod streams;
pub mod upstream;
