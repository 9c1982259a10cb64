//! A delivery arrives: the endpoint is called and the outcome reported.
//!
//! Each delivery shard is served by one worker at a time ([`inbound::shards`]). A message carries
//! many deliveries; each is put in the line of its endpoint ([`lanes`]) and becomes one request when
//! it is its turn ([`engine`], [`deliver`]), whose outcome decides what follows ([`settle`]): every
//! attempt is recorded, and what must be tried again goes to the waiting room. So does at once what
//! its endpoint cannot take soon, and what is unanswered after two seconds. A message is acknowledged
//! when all of its deliveries are settled, or wait there, and that is durable.
//!
//! A call that somebody waits for takes none of these ways ([`call_now`]).
//!
//! One that has failed for good is told as an event ([`dead_letter`]).
//!
//! **Invariant:** a delivery leaves the queue only after its attempt and, where there is one, its
//! next try are confirmed by the broker.

pub mod config;
pub mod service;

pub mod inbound;

pub mod engine;
pub mod lanes;

pub mod call_now;
pub mod compose;
pub mod deliver;
pub mod intercept;
pub mod invoke;
pub mod settle;

pub mod dead_letter;

pub mod progress;
pub mod recent;

pub mod outbound;

mod metrics;

pub use config::Config;
pub use outbound::door::Door;
pub use service::{Parts, SERVED, Service, Settings, build, start};
