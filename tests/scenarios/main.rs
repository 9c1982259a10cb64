//! What the whole system promises, one file a promise, shown on real processes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken set-up should stop the test"
)]

mod api_gateway;
mod api_keys;
mod at_least_once;
mod bad_input;
mod dead_letters;
mod delivered_again;
mod direct_calls;
mod five_systems;
mod foreign_clients;
mod formats;
mod four_services;
mod function_sessions;
mod imports;
mod live_changes;
mod loops;
mod order;
mod outages;
mod outages_under_load;
mod profiles;
mod quick_start;
mod receivers;
mod retries;
mod secrets_and_egress;
mod shaping;
mod signatures;
mod switched_off;
mod synchronous;
mod traces;
mod waiting;
mod worker_killed;
