//! Measuring a deployment: events go in at its door, and receivers of our own count what comes out.
//!
//! A run makes functions of its own that call this process, sends events of a type of its own, and
//! keeps a ledger of ids by which nothing can be lost or repeated unseen. Generator and receivers
//! live in this process; what is measured lives in others, named by `--pid` or started by `--spawn`.

mod deployment;
mod door;
mod functions;
mod gateway;
mod interrupt;
mod ledger;
mod measure;
mod neighbours;
pub(crate) mod options;
mod pace;
mod processes;
mod progress;
mod receivers;
mod report;
mod sample;
mod scenario;
mod told;
mod waiting;

pub(crate) use deployment::{Backing, Deployment};
pub(crate) use gateway::run as run_gateway;
pub(crate) use interrupt::Interrupt;
pub(crate) use measure::{Target, measure};
pub(crate) use neighbours::{Neighbours, run as run_neighbours};
pub(crate) use report::{Report, print_comparison};
pub(crate) use scenario::Scenario;
pub(crate) use waiting::{Waiting, run as run_waiting};
