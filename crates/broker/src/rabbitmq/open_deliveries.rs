//! Which messages are in hand, and which acknowledgements say most in few frames.

use std::collections::VecDeque;

use bytes::Bytes;
use lapin::BasicProperties;

/// Done out of turn: how many rounds an acknowledgement waits for those before it, so that one
/// frame can say it for all.
const PATIENCE_ROUNDS: u8 = 10;

/// The messages given and not settled, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct OpenDeliveries {
    open: VecDeque<Open>,
    done: usize,
}

#[derive(Debug)]
struct Open {
    number: u64,
    state: State,
    kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    InHand,
    /// Done, and for how many rounds it waits to be said.
    Done(u8),
}

/// What is needed to set the message aside.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) body: Bytes,
    pub(super) properties: BasicProperties,
}

/// An acknowledgement to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AckFrame {
    pub(super) number: u64,
    /// This one and all before it.
    pub(super) multiple: bool,
}

impl OpenDeliveries {
    pub(super) fn add(&mut self, number: u64, kept: Kept) {
        self.open.push_back(Open {
            number,
            state: State::InHand,
            kept,
        });
    }

    pub(super) fn done(&mut self, number: u64) {
        if let Some(open) = self.find(number).and_then(|index| self.open.get_mut(index))
            && open.state == State::InHand
        {
            open.state = State::Done(0);
            self.done += 1;
        }
    }

    /// The broker is told of this one by itself.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let removed = self.find(number).and_then(|index| self.open.remove(index));
        if matches!(
            removed,
            Some(Open {
                state: State::Done(_),
                ..
            })
        ) {
            self.done -= 1;
        }
        removed.is_some()
    }

    pub(super) fn kept(&self, number: u64) -> Option<Kept> {
        self.find(number)
            .and_then(|index| self.open.get(index))
            .map(|open| open.kept.clone())
    }

    /// The acknowledgements to send now: everything up to the first that is not done in one, and
    /// those singly that have waited long enough.
    pub(super) fn flush(&mut self) -> Vec<AckFrame> {
        let mut frames = Vec::new();
        let mut watermark = None;
        while let Some(open) = self.open.pop_front_if(|open| open.state != State::InHand) {
            watermark = Some(open.number);
            self.done -= 1;
        }
        frames.extend(watermark.map(|number| AckFrame {
            number,
            multiple: true,
        }));
        if self.done > 0 {
            self.flush_impatient(&mut frames);
        }
        frames
    }

    fn flush_impatient(&mut self, frames: &mut Vec<AckFrame>) {
        let before = self.open.len();
        self.open.retain_mut(|open| match &mut open.state {
            State::InHand => true,
            State::Done(rounds) if *rounds < PATIENCE_ROUNDS => {
                *rounds += 1;
                true
            }
            State::Done(_) => {
                frames.push(AckFrame {
                    number: open.number,
                    multiple: false,
                });
                false
            }
        });
        self.done -= before - self.open.len();
    }

    /// Everything that is done, said at once.
    pub(super) fn flush_all(&mut self) -> Vec<AckFrame> {
        let mut frames = self.flush();
        self.open.retain(|open| {
            if open.state != State::InHand {
                frames.push(AckFrame {
                    number: open.number,
                    multiple: false,
                });
            }
            open.state == State::InHand
        });
        self.done = 0;
        frames
    }

    pub(super) const fn has_done(&self) -> bool {
        self.done > 0
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// How many are not done.
    pub(super) fn in_hand(&self) -> usize {
        self.open.len() - self.done
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.open
            .binary_search_by_key(&number, |open| open.number)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(numbers: std::ops::RangeInclusive<u64>) -> OpenDeliveries {
        let mut open = OpenDeliveries::default();
        for number in numbers {
            open.add(number, Kept::default());
        }
        open
    }

    fn up_to(number: u64) -> AckFrame {
        AckFrame {
            number,
            multiple: true,
        }
    }

    fn only(number: u64) -> AckFrame {
        AckFrame {
            number,
            multiple: false,
        }
    }

    #[test]
    fn what_is_done_in_order_is_one_frame() {
        let mut open = open(1..=5);
        for number in [3, 1, 2] {
            open.done(number);
        }
        assert_eq!(open.flush(), [up_to(3)]);
        assert_eq!(open.len(), 2);
        assert_eq!(open.flush(), []);
    }

    #[test]
    fn what_is_done_out_of_order_waits_a_while_for_the_others() {
        let mut open = open(1..=4);
        open.done(3);
        for _ in 0..PATIENCE_ROUNDS {
            assert_eq!(open.flush(), []);
        }
        assert_eq!(open.flush(), [only(3)]);
        assert!(!open.has_done());
        open.done(1);
        open.done(2);
        assert_eq!(open.flush(), [up_to(2)]);
        open.done(4);
        assert_eq!(open.flush(), [up_to(4)]);
        assert!(open.is_empty());
    }

    #[test]
    fn a_frame_for_many_never_covers_one_in_hand() {
        let mut open = open(1..=6);
        open.done(1);
        open.done(2);
        assert!(open.remove(3));
        open.done(4);
        open.done(6);
        assert_eq!(open.flush(), [up_to(4)]);
        assert_eq!(open.flush_all(), [only(6)]);
        assert_eq!(open.len(), 1);
        assert!(!open.remove(3));
    }

    #[test]
    fn a_second_answer_changes_nothing() {
        let mut open = open(1..=2);
        open.done(1);
        open.done(1);
        open.done(7);
        assert_eq!(open.flush(), [up_to(1)]);
        assert!(!open.has_done());
        assert!(open.kept(1).is_none());
    }
}
