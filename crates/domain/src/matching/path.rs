//! The paths of steps by which triggers are laid down and events find them.

use std::hash::BuildHasher;

use crate::event::Event;
use crate::pattern::{self, Shape};
use crate::trigger::Trigger;

/// So many bytes of a prefix or suffix are steps; the rest is left to the rule.
const AFFIX_STEPS_MAX: usize = 16;

/// A keyed hash of all steps from the project to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// One step. A phase's name keeps equal segments of different phases apart.
#[derive(Debug, Clone, Copy, Hash)]
enum Step<'a> {
    Project(&'a str),
    /// The trigger names no type.
    AnyType,
    /// The trigger names this type.
    Type(&'a str),
    /// The trigger's type pattern follows.
    TypePattern,
    /// The subject pattern follows.
    Subject,
    /// One segment, of which only this hash is needed.
    Segment(u64),
    /// One segment, whichever.
    AnySegment,
    /// Any number of segments; then, from the last backwards, those after them.
    Many,
    /// The segments end.
    End,
    Prefix,
    Suffix,
    Byte(u8),
}

/// Makes keys; the hasher's own secret keeps clients from choosing what collides.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys<S>(S);

/// Notes what lies at a node, and answers whether there is one with this key.
type Visitor<'a> = dyn FnMut(Key) -> bool + 'a;

/// What follows after the last segment: the next phase of the walk.
type Next<'a> = dyn FnMut(Key, &mut Visitor<'_>) + 'a;

impl<S: BuildHasher> Keys<S> {
    /// The keys along every path that leads to the trigger.
    pub(super) fn paths(&self, trigger: &Trigger) -> Vec<Vec<Key>> {
        let start = self.start(trigger.project.as_str());
        if trigger.on.is_empty() {
            let path = vec![start, self.key(start, Step::AnyType)];
            return vec![self.path_of_subject(path, trigger)];
        }
        let types = trigger.on.iter().filter_map(|selector| {
            let mut path = vec![start];
            if let Some(event_type) = selector.exact() {
                self.push(&mut path, Step::Type(event_type.as_str()));
            } else {
                self.push(&mut path, Step::TypePattern);
                self.push_shape(&mut path, &selector.pattern()?.shape());
            }
            Some(self.path_of_subject(path, trigger))
        });
        types.collect()
    }

    fn path_of_subject(&self, mut path: Vec<Key>, trigger: &Trigger) -> Vec<Key> {
        self.push(&mut path, Step::Subject);
        match &trigger.subject {
            Some(pattern) => self.push_shape(&mut path, &pattern.shape()),
            None => {
                self.push(&mut path, Step::Many);
                self.push(&mut path, Step::End);
            }
        }
        if let Some(prefix) = &trigger.prefix {
            self.push(&mut path, Step::Prefix);
            for byte in prefix.bytes().take(AFFIX_STEPS_MAX) {
                self.push(&mut path, Step::Byte(byte));
            }
        }
        if let Some(suffix) = &trigger.suffix {
            self.push(&mut path, Step::Suffix);
            for byte in suffix.bytes().rev().take(AFFIX_STEPS_MAX) {
                self.push(&mut path, Step::Byte(byte));
            }
        }
        path
    }

    fn push_shape(&self, path: &mut Vec<Key>, shape: &Shape<'_>) {
        for literal in &shape.head {
            self.push(path, self.segment(*literal));
        }
        if let Some(tail) = &shape.tail {
            self.push(path, Step::Many);
            for literal in tail.iter().rev() {
                self.push(path, self.segment(*literal));
            }
        }
        self.push(path, Step::End);
    }

    fn push(&self, path: &mut Vec<Key>, step: Step<'_>) {
        if let Some(last) = path.last() {
            path.push(self.key(*last, step));
        }
    }

    fn segment(&self, literal: Option<&str>) -> Step<'static> {
        literal.map_or(Step::AnySegment, |literal| {
            Step::Segment(self.0.hash_one(literal))
        })
    }

    fn start(&self, project: &str) -> Key {
        Key(self.0.hash_one(Step::Project(project)))
    }

    fn key(&self, Key(before): Key, step: Step<'_>) -> Key {
        Key(self.0.hash_one((before, step)))
    }

    /// Visits every node that the event can reach, and some that do not exist.
    pub(super) fn visit(&self, event: &Event, visitor: &mut Visitor<'_>) {
        let start = self.start(event.project.as_str());
        if !visitor(start) {
            return;
        }
        let subject = event.subject.as_deref().unwrap_or_default();
        let last = pattern::decoded_last_segment(subject);
        let subject = self.hashes(subject, '/');
        let mut visit_subject = |key: Key, visitor: &mut Visitor<'_>| {
            let key = self.key(key, Step::Subject);
            let mut visit_affixes =
                |key: Key, visitor: &mut Visitor<'_>| self.visit_affixes(key, &last, visitor);
            self.visit_head(key, &subject, visitor, &mut visit_affixes);
        };
        let type_name = event.event_type.as_str();
        for step in [Step::AnyType, Step::Type(type_name)] {
            let key = self.key(start, step);
            if visitor(key) {
                visit_subject(key, visitor);
            }
        }
        let segments = self.hashes(type_name, '.');
        self.visit_head(
            self.key(start, Step::TypePattern),
            &segments,
            visitor,
            &mut visit_subject,
        );
    }

    fn hashes(&self, text: &str, separator: char) -> Vec<u64> {
        let segments = pattern::segments(text, separator);
        segments
            .map(|segment| self.0.hash_one(&*pattern::decode(segment)))
            .collect()
    }

    /// Walks on from the front.
    fn visit_head(
        &self,
        key: Key,
        segments: &[u64],
        visitor: &mut Visitor<'_>,
        next: &mut Next<'_>,
    ) {
        if !visitor(key) {
            return;
        }
        self.visit_tail(self.key(key, Step::Many), segments, visitor, next);
        match segments {
            [] => self.visit_end(key, visitor, next),
            [first, rest @ ..] => {
                for step in [Step::Segment(*first), Step::AnySegment] {
                    self.visit_head(self.key(key, step), rest, visitor, next);
                }
            }
        }
    }

    /// Walks on from the back; what lies between is many segments.
    fn visit_tail(
        &self,
        key: Key,
        segments: &[u64],
        visitor: &mut Visitor<'_>,
        next: &mut Next<'_>,
    ) {
        if !visitor(key) {
            return;
        }
        self.visit_end(key, visitor, next);
        if let [rest @ .., last] = segments {
            for step in [Step::Segment(*last), Step::AnySegment] {
                self.visit_tail(self.key(key, step), rest, visitor, next);
            }
        }
    }

    fn visit_end(&self, key: Key, visitor: &mut Visitor<'_>, next: &mut Next<'_>) {
        let end = self.key(key, Step::End);
        if visitor(end) {
            next(end, visitor);
        }
    }

    /// Walks along the beginning of the last segment, and from each place along its end.
    fn visit_affixes(&self, key: Key, last: &str, visitor: &mut Visitor<'_>) {
        self.visit_suffix(key, last, visitor);
        let mut key = self.key(key, Step::Prefix);
        let mut bytes = last.bytes();
        while visitor(key) {
            self.visit_suffix(key, last, visitor);
            let Some(byte) = bytes.next() else { return };
            key = self.key(key, Step::Byte(byte));
        }
    }

    fn visit_suffix(&self, key: Key, last: &str, visitor: &mut Visitor<'_>) {
        let mut key = self.key(key, Step::Suffix);
        let mut bytes = last.bytes().rev();
        while visitor(key) {
            let Some(byte) = bytes.next() else { return };
            key = self.key(key, Step::Byte(byte));
        }
    }
}
