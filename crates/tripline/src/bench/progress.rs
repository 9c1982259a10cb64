//! How far a run is, on standard error: a bar for people, now and then a line for files.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ledger::Ledger;

/// A log should not be filled with progress.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

const BAR: &str = "{prefix} {wide_bar} {pos}/{len} delivered {per_sec} {eta}";

#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    deliveries: usize,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    pub(crate) fn new(what: String, deliveries: usize) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let length = u64::try_from(deliveries).unwrap_or(u64::MAX);
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.set_prefix(what.clone());
            Shown::Bar(bar)
        } else {
            Shown::Lines {
                last: Instant::now(),
            }
        };
        Self {
            what,
            deliveries,
            shown,
        }
    }

    pub(crate) fn show(&mut self, ledger: &Ledger) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(u64::try_from(ledger.delivered()).unwrap_or(u64::MAX));
            }
            Shown::Lines { last } if last.elapsed() >= LINE_INTERVAL => {
                let (accepted, delivered) = (ledger.accepted(), ledger.delivered());
                let (what, deliveries) = (&self.what, self.deliveries);
                eprintln!("{what}: {accepted} accepted, {delivered} of {deliveries} delivered");
                *last = Instant::now();
            }
            Shown::Lines { .. } => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
