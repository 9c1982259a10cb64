//! What tripline is about: events, triggers, functions, deliveries and attempts, and the rules
//! that decide between them.
//!
//! A trigger says which events interest a function. An event that is accepted is matched against
//! all triggers of its project; every match becomes one delivery; every try to bring it to the
//! function's URL is an attempt, and what follows an attempt is decided by the retry policy.
//!
//! **Invariant:** no async, no I/O; time and randomness are arguments.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod id;
pub mod name;

pub mod event;
pub mod event_type;
pub mod filter;
pub mod matching;
pub mod messages;
pub mod pattern;
pub mod trigger;

pub mod api_event;
pub mod gateway;

pub mod format;
pub mod function;
pub mod invocation;
pub mod session;
pub mod signature;
pub mod template;
pub mod token;

pub mod answer;
pub mod delivery;
pub mod disable;
pub mod lineage;
pub mod pace;
pub mod record;
pub mod reply;
pub mod retry;
pub mod shard;

pub mod dead_letter;
pub mod redrive;

pub mod import;
pub mod package;
pub mod schedule;

pub mod access;
pub mod address;
pub mod json_text;
pub mod registry;
pub mod schema;

pub use jiff::Timestamp;
