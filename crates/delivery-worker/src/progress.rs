//! How far a message has come, for whoever is given it again after this worker has died.
//!
//! A message is acknowledged when the last of its deliveries is settled. If its worker dies before,
//! the next one is given all of it. So what was settled durably is noted down meanwhile, where other
//! workers find it. Advisory: without the note a delivery is repeated, and a note is only ever about
//! an attempt that was settled, so that nothing is left out because of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What became of one attempt of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The delivery has ended.
    Ended,
    /// It waits elsewhere: for its next attempt, or for its turn.
    Waits,
    /// It is on its way to the waiting room and may be there already: handing it back once more
    /// changes nothing, and delivering it would be once too often.
    Leaves,
}

impl Mark {
    const fn letter(self) -> u8 {
        match self {
            Self::Ended => b'e',
            Self::Waits => b'w',
            Self::Leaves => b'l',
        }
    }

    const fn of_letter(letter: u8) -> Option<Self> {
        match letter {
            b'e' => Some(Self::Ended),
            b'w' => Some(Self::Waits),
            b'l' => Some(Self::Leaves),
            _ => None,
        }
    }
}

/// Of one message with several deliveries.
#[derive(Debug)]
pub struct Progress {
    name: String,
    marks: Mutex<Marks>,
}

#[derive(Debug)]
struct Marks {
    /// A letter for each delivery, in the order of the message; `.` is open.
    letters: Vec<u8>,
    /// Somebody will note it down already.
    is_listed: bool,
    /// Of what is marked and not noted down yet.
    repeatable: Vec<Repeatable>,
}

/// A request that would be made once more if this worker died now. Counts until it is dropped.
#[derive(Debug)]
pub struct Repeatable(Arc<AtomicUsize>);

impl Repeatable {
    pub fn count_in(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Repeatable {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Progress {
    /// Of a message that nothing is known of; `None` where it has one delivery, since that is
    /// settled and acknowledged at once.
    ///
    /// `message` is the id of the message itself: the same attempts may come by another one, from
    /// the waiting room, and are owed then whatever this one had come to.
    pub fn of(message: &str, deliveries: usize) -> Option<Self> {
        if deliveries < 2 || message.is_empty() {
            return None;
        }
        Some(Self {
            name: format!("progress/{message}"),
            marks: Mutex::new(Marks {
                letters: vec![b'.'; deliveries],
                is_listed: false,
                repeatable: Vec::new(),
            }),
        })
    }

    /// Under which it is noted down.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Goes on from what another worker noted down, so that its note is not lost with this one.
    pub fn resume(&self, note: &str) {
        let mut marks = self.marks();
        for (letter, noted) in marks.letters.iter_mut().zip(note.bytes()) {
            if Mark::of_letter(noted).is_some() {
                *letter = noted;
            }
        }
    }

    /// Marks the delivery at this place; whether it has to be listed for noting it down.
    pub fn mark(&self, place: usize, mark: Mark, repeatable: Option<Repeatable>) -> bool {
        let mut marks = self.marks();
        marks.repeatable.extend(repeatable);
        if let Some(letter) = marks.letters.get_mut(place) {
            *letter = mark.letter();
        }
        !std::mem::replace(&mut marks.is_listed, true)
    }

    /// As it is noted down, and what is to be dropped when it is; from now on a further mark lists
    /// it again.
    pub fn take_note(&self) -> ((String, String), Vec<Repeatable>) {
        let mut marks = self.marks();
        marks.is_listed = false;
        let letters = String::from_utf8_lossy(&marks.letters).into_owned();
        let repeatable = std::mem::take(&mut marks.repeatable);
        ((self.name.clone(), letters), repeatable)
    }

    /// What a note says of the delivery at this place.
    pub fn read(note: &str, place: usize) -> Option<Mark> {
        Mark::of_letter(*note.as_bytes().get(place)?)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_settled_is_read_back_and_the_rest_is_open() {
        let progress = Progress::of("019a", 3).unwrap();
        let count = Arc::default();
        let repeatable = Repeatable::count_in(&count);
        assert!(progress.mark(0, Mark::Ended, None));
        assert!(
            !progress.mark(2, Mark::Waits, Some(repeatable)),
            "it is listed already"
        );
        let ((name, note), repeatable) = progress.take_note();
        assert_eq!(count.load(Ordering::Relaxed), 1, "until it is noted down");
        drop(repeatable);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert_eq!(name, "progress/019a");
        let read = [0, 1, 2, 3].map(|place| Progress::read(&note, place));
        assert_eq!(read, [Some(Mark::Ended), None, Some(Mark::Waits), None]);
        assert!(progress.mark(1, Mark::Ended, None), "and is listed again");
    }

    #[test]
    fn the_next_worker_goes_on_from_what_the_first_one_noted() {
        let progress = Progress::of("019a", 4).unwrap();
        progress.resume("e.l");
        progress.mark(1, Mark::Waits, None);
        let ((_, note), _) = progress.take_note();
        assert_eq!(note, "ewl.");
        assert_eq!(Progress::read(&note, 2), Some(Mark::Leaves));
    }

    #[test]
    fn one_delivery_and_a_message_without_a_name_have_no_note() {
        assert!(Progress::of("019a", 1).is_none());
        assert!(Progress::of("", 2).is_none());
    }
}
