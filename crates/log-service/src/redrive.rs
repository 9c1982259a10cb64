//! Orders to deliver again: what may be ordered, what is planned of it, and the work itself.
//!
//! An order is a row. A replica that holds its lease reads what the order is about page by page,
//! writes down what it plans, and only then publishes that to the waiting room, whose scheduler
//! releases it fairly. Whoever takes the order over publishes the last batch once more, as it was
//! planned: the same deliveries in the same generation.

pub(crate) mod order;
pub(crate) mod plan;
pub(crate) mod work;

/// Orders of one project that may run at a time.
pub(crate) const RUNNING_MAX: u32 = 4;

/// One order is about so many deliveries at most; more are ordered window by window.
pub(crate) const DELIVERIES_MAX: u64 = 1_000_000;

/// So many of what an order is about are shown before it begins.
pub(crate) const SAMPLE_MAX: u32 = 10;
