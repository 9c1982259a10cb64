//! The loop guard: how an event knows which calls led to it, and when that are too many.
//!
//! A function is told with each request how deep its event is and which functions were called on
//! the way. If it emits events itself it passes both headers on, unchanged, and the door counts
//! one further. So a function that sets itself off, by whatever detours, ends by itself.

use crate::event::Event;
use crate::name::FunctionName;
use crate::trigger::Trigger;

/// How many events led to the one delivered; sent with each request, taken with each emit call.
pub const DEPTH_HEADER: &str = "x-tripline-depth";

/// Functions called on the way, the one that is called last: `[PACKAGE/]NAME`, with commas.
pub const ANCESTRY_HEADER: &str = "x-tripline-ancestry";

/// Of the functions on the way the latest are kept; the depth counts on.
pub const ANCESTRY_MAX: usize = 32;

/// Depths are 32-bit integers in `CloudEvents`, and one is added at the door.
pub const DEPTH_VALUE_MAX: u32 = 2_147_483_646;

/// The remark of a delivery that was taken for part of a loop.
pub const LOOP_REMARK: &str = "loop";

/// What a request tells its function of where its event comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    pub depth: u32,
    pub ancestry: Vec<String>,
}

/// A header that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{header}: {message}")]
pub struct LineageError {
    pub header: &'static str,
    pub value: String,
    pub message: String,
    pub allowed: &'static str,
}

const DEPTH_ALLOWED: &str = "0 to 2147483646, as the function was told it";
const ANCESTRY_ALLOWED: &str =
    "1 to 32 names of functions, [PACKAGE/]NAME with commas, as the function was told them";

impl Lineage {
    /// What the call of `function` for this event tells it.
    pub fn of_call(event: &Event, function: &FunctionName) -> Self {
        let mut ancestry = event.ancestry.clone();
        ancestry.push(function.to_string());
        let surplus = ancestry.len().saturating_sub(ANCESTRY_MAX);
        ancestry.drain(..surplus);
        Self {
            depth: event.depth.min(DEPTH_VALUE_MAX),
            ancestry,
        }
    }

    /// Reads what a function passed on; `None` when it passed on nothing.
    ///
    /// # Errors
    /// Names the header that is not as it was sent.
    pub fn read(depth: Option<&str>, ancestry: Option<&str>) -> Result<Option<Self>, LineageError> {
        if depth.is_none() && ancestry.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            depth: depth.map(read_depth).transpose()?.unwrap_or(0),
            ancestry: ancestry.map(read_ancestry).transpose()?.unwrap_or_default(),
        }))
    }

    /// The value of [`ANCESTRY_HEADER`].
    pub fn ancestry_text(&self) -> String {
        self.ancestry.join(",")
    }

    /// Makes the event one that was emitted by the call this tells of.
    pub fn give_to(self, event: &mut Event) {
        let behind = u32::try_from(self.ancestry.len()).unwrap_or(u32::MAX);
        event.depth = event.depth.max(self.depth.saturating_add(1)).max(behind);
        event.ancestry = self.ancestry;
    }
}

impl Trigger {
    /// Whether there are too many events behind this one for it to be anything but a loop.
    pub const fn takes_for_loop(&self, event: &Event) -> bool {
        event.depth > self.depth_max
    }
}

fn read_depth(text: &str) -> Result<u32, LineageError> {
    let depth = text.trim().parse().ok();
    depth
        .filter(|depth| *depth <= DEPTH_VALUE_MAX)
        .ok_or_else(|| LineageError {
            header: DEPTH_HEADER,
            value: text.to_owned(),
            message: "is no depth".to_owned(),
            allowed: DEPTH_ALLOWED,
        })
}

fn read_ancestry(text: &str) -> Result<Vec<String>, LineageError> {
    let fault = |message: String| LineageError {
        header: ANCESTRY_HEADER,
        value: text.to_owned(),
        message,
        allowed: ANCESTRY_ALLOWED,
    };
    let names: Vec<&str> = text.split(',').take(ANCESTRY_MAX + 1).collect();
    if names.len() > ANCESTRY_MAX {
        return Err(fault(format!("names more than {ANCESTRY_MAX} functions")));
    }
    let read = names.into_iter().map(|name| {
        let name = name.trim().parse::<FunctionName>();
        name.map(|name| name.to_string())
            .map_err(|error| fault(error.to_string()))
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    fn function(name: &str) -> FunctionName {
        name.parse().unwrap()
    }

    #[test]
    fn what_a_function_passes_on_counts_one_further() {
        let mut event = sample::event(1);
        for call in 1..=3 {
            let told = Lineage::of_call(&event, &function("shop/echo"));
            let passed_on =
                Lineage::read(Some(&told.depth.to_string()), Some(&told.ancestry_text()));
            let mut next = sample::event(1);
            passed_on.unwrap().unwrap().give_to(&mut next);
            assert_eq!(next.depth, call);
            event = next;
        }
        assert_eq!(event.ancestry, ["shop/echo"; 3]);
    }

    #[test]
    fn the_latest_functions_are_kept_and_the_depth_counts_on() {
        let mut event = sample::event(1);
        for number in 0..50 {
            let name = function(&format!("step-{number}"));
            Lineage::of_call(&event, &name).give_to(&mut event);
        }
        assert_eq!(event.depth, 50);
        assert_eq!(event.ancestry.len(), ANCESTRY_MAX);
        assert_eq!(event.ancestry.last().unwrap(), "step-49");
    }

    #[test]
    fn each_header_alone_counts_too() {
        assert_eq!(Lineage::read(None, None), Ok(None));
        let mut event = sample::event(1);
        let only_depth = Lineage::read(Some("4"), None).unwrap().unwrap();
        only_depth.give_to(&mut event);
        assert_eq!((event.depth, event.ancestry.len()), (5, 0));
        let mut event = sample::event(1);
        let only_ancestry = Lineage::read(None, Some("one-one, two-two")).unwrap();
        only_ancestry.unwrap().give_to(&mut event);
        assert_eq!((event.depth, event.ancestry.len()), (2, 2));
    }

    #[test]
    fn a_header_that_was_tampered_with_is_named() {
        for bad in ["", "-1", "1.5", "2147483647", "many"] {
            let error = Lineage::read(Some(bad), None).unwrap_err();
            assert_eq!((error.header, error.value.as_str()), (DEPTH_HEADER, bad));
        }
        let too_many = ["abc"; ANCESTRY_MAX + 1].join(",");
        for bad in ["", "No", "abc,,def", "a/b/c", &too_many] {
            let error = Lineage::read(None, Some(bad)).unwrap_err();
            assert_eq!((error.header, error.value.as_str()), (ANCESTRY_HEADER, bad));
        }
        assert!(Lineage::read(None, Some(&["abc"; ANCESTRY_MAX].join(","))).is_ok());
    }

    #[test]
    fn as_many_events_as_allowed_may_lie_behind_one() {
        let trigger = Trigger {
            depth_max: 2,
            ..sample::trigger("welcome")
        };
        for (depth, is_loop) in [(0, false), (2, false), (3, true)] {
            let event = Event {
                depth,
                ..sample::event(1)
            };
            assert_eq!(trigger.takes_for_loop(&event), is_loop, "{depth}");
        }
    }
}
