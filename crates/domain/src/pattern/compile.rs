//! Turns the text of a pattern into its segments, once, when a trigger is made.

use super::{
    Glob, Many, PATTERN_BYTES_MAX, PATTERN_SEGMENTS_MAX, Pattern, PatternError, PatternFault,
    Single, decode,
};

/// A fault and where it is.
type Fault = (usize, PatternFault);

enum Segment {
    Single(Single),
    Many(Many),
}

pub(super) fn pattern(text: &str, separator: char) -> Result<Pattern, PatternError> {
    compile(text, separator).map_err(|(position, fault)| PatternError {
        pattern: text
            .get(..text.floor_char_boundary(PATTERN_BYTES_MAX))
            .unwrap_or(text)
            .to_owned(),
        position,
        fault,
    })
}

fn compile(text: &str, separator: char) -> Result<Pattern, Fault> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err((PATTERN_BYTES_MAX, PatternFault::TooLong));
    }
    if let Some((position, _)) = text.char_indices().find(|(_, char)| char.is_control()) {
        return Err((position, PatternFault::ControlCharacter));
    }
    let inner = text.strip_prefix(separator).unwrap_or(text);
    let mut position = text.len() - inner.len();
    let inner = inner.strip_suffix(separator).unwrap_or(inner);
    if inner.is_empty() {
        return Err((position, PatternFault::Empty));
    }
    let mut pattern = Pattern {
        text: text.to_owned(),
        separator,
        head: Vec::new(),
        many: None,
        tail: Vec::new(),
    };
    for (number, part) in inner.split(separator).enumerate() {
        if number == PATTERN_SEGMENTS_MAX {
            return Err((position, PatternFault::TooManySegments));
        }
        let compiled = segment(part, position)?;
        add(&mut pattern, compiled).map_err(|fault| (position, fault))?;
        position += part.len() + separator.len_utf8();
    }
    Ok(pattern)
}

fn add(pattern: &mut Pattern, segment: Segment) -> Result<(), PatternFault> {
    let name = match &segment {
        Segment::Single(Single { name, .. }) | Segment::Many(Many { name, .. }) => name,
    };
    if let Some(name) = name {
        let singles = pattern
            .head
            .iter()
            .chain(&pattern.tail)
            .map(|single| &single.name);
        let mut names = singles
            .chain(pattern.many.iter().map(|many| &many.name))
            .flatten();
        if names.any(|other| other == name) {
            return Err(PatternFault::DuplicateName { name: name.clone() });
        }
    }
    match segment {
        Segment::Many(_) if pattern.many.is_some() => return Err(PatternFault::SecondMany),
        Segment::Many(many) => pattern.many = Some(many),
        Segment::Single(single) if pattern.many.is_some() => pattern.tail.push(single),
        Segment::Single(single) => pattern.head.push(single),
    }
    Ok(())
}

fn segment(text: &str, position: usize) -> Result<Segment, Fault> {
    if text.is_empty() {
        return Err((position, PatternFault::EmptySegment));
    }
    if text == "**" {
        return Ok(Segment::Many(Many {
            name: None,
            segments_min: 0,
        }));
    }
    let Some(inner) = text.strip_prefix('{') else {
        return Ok(Segment::Single(Single {
            name: None,
            glob: glob(text, position)?,
        }));
    };
    let Some(inner) = inner.strip_suffix('}') else {
        let fault = match inner.contains('}') {
            true => PatternFault::BraceInSegment,
            false => PatternFault::UnterminatedBrace,
        };
        return Err((position, fault));
    };
    capture(inner, position + 1)
}

/// What stands between the braces.
fn capture(text: &str, position: usize) -> Result<Segment, Fault> {
    if let Some(brace) = text.find(['{', '}']) {
        return Err((position + brace, PatternFault::BraceInSegment));
    }
    let (name, form) = text.split_once('=').unwrap_or((text, "*"));
    if !is_name(name) {
        return Err((
            position,
            PatternFault::BadName {
                name: name.to_owned(),
            },
        ));
    }
    let form_position = position + name.len() + 1;
    let name = Some(name.to_owned());
    Ok(match form {
        "" => return Err((form_position, PatternFault::EmptyCapture)),
        "**" => Segment::Many(Many {
            name,
            segments_min: 0,
        }),
        "+" => Segment::Many(Many {
            name,
            segments_min: 1,
        }),
        _ => Segment::Single(Single {
            name,
            glob: glob(form, form_position)?,
        }),
    })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
}

fn glob(text: &str, position: usize) -> Result<Glob, Fault> {
    if let Some(brace) = text.find(['{', '}']) {
        return Err((position + brace, PatternFault::BraceInSegment));
    }
    if let Some(many) = text.find("**") {
        return Err((position + many, PatternFault::ManyInSegment));
    }
    // A literal `*` is written `%2A`, so the text is cut before it is decoded.
    let decoded = |part: &str| decode(part).into_owned();
    let Some((first, rest)) = text.split_once('*') else {
        return Ok(Glob::Literal(decoded(text)));
    };
    if text == "*" {
        return Ok(Glob::Any);
    }
    let (between, last) = rest
        .rsplit_once('*')
        .map_or((None, rest), |(between, last)| (Some(between), last));
    let between = between.map(|parts| parts.split('*').map(decoded).collect());
    Ok(Glob::Parts {
        first: decoded(first),
        between: between.unwrap_or_default(),
        last: decoded(last),
    })
}
