//! How far an order has come: a bar for people, a JSON object a line for programs.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::redrive::v1 as wire;

use super::ShownRedrive;
use crate::command_line::Output;
use crate::failure::Failure;
use crate::output;

const BAR: &str = "{prefix} {wide_bar} {pos}/{len} sent {per_sec} {eta}";

/// Shows an order each time it has come further.
#[derive(Debug)]
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines,
    /// Nobody looks on: the end will do.
    Silent,
}

impl Progress {
    pub(super) fn new(output: Output) -> Self {
        match output {
            Output::Json => Self::Lines,
            Output::Table if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template(BAR) {
                    bar.set_style(style);
                }
                Self::Bar(bar)
            }
            Output::Table => Self::Silent,
        }
    }

    pub(super) fn show(&self, redrive: &wire::Redrive) -> Result<(), Failure> {
        match self {
            Self::Bar(bar) => {
                bar.set_prefix(redrive.id.clone());
                bar.set_length(redrive.total);
                bar.set_position(redrive.sent + redrive.skipped);
                Ok(())
            }
            Self::Lines => output::object(&ShownRedrive::from(redrive.clone())),
            Self::Silent => Ok(()),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
