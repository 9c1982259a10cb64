//! Calls of an API as events: their names, which scripts they run, and what a script may change.
//!
//! A call of `GET db/_table/contact` is the event `db._table.contact.get`. Scripts are bound to such
//! names, or to patterns of them, in one of three phases: before the call is served, after it, or when
//! it has been answered. Names are for people; calls are matched by service, path and verb, since the
//! names of tables and files have dots of their own.

pub mod catalogue;
pub mod description;
pub mod name;

pub mod chain;
pub mod change;
pub mod message;
pub mod script;

pub mod openapi;
pub mod wsdl;

pub use self::description::{Description, DescriptionKind};
pub use self::message::{ApiRequest, ApiResponse, Body};
pub use self::name::{Call, EventName, EventNameError, Phase, Verb};
pub use self::script::{OnError, Script};
