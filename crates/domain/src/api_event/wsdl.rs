//! Which methods a WSDL 1.1 document declares; nothing else of it is read, and no entity is expanded.

use std::collections::HashSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::description::{DOCUMENT_BYTES_MAX, OPERATIONS_MAX};
use super::name::segment_of_name;
use super::openapi::DocumentError;

const DEPTH_MAX: usize = 128;

/// The operations of a document: `method.post` for each method of its port types, in its order.
///
/// # Errors
/// Says what is wrong with it.
pub fn operations(document: &str) -> Result<Vec<String>, DocumentError> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLong(document.len()));
    }
    let mut reader = Reader::from_str(document);
    // The local names of the elements that are open.
    let mut open: Vec<String> = Vec::new();
    let mut methods = Methods::default();
    loop {
        let event = reader.read_event().map_err(|error| {
            DocumentError::Syntax(format!("byte {}: {error}", reader.error_position()))
        })?;
        match event {
            Event::Start(element) => {
                methods.enter(&open, &element)?;
                open.push(element.local_name().as_ref().to_owned());
                if open.len() > DEPTH_MAX {
                    return Err(DocumentError::TooDeep);
                }
            }
            Event::Empty(element) => methods.enter(&open, &element)?,
            Event::End(_) => drop(open.pop()),
            Event::DocType(_) => {
                let message = "a document type is not allowed".to_owned();
                return Err(DocumentError::Syntax(message));
            }
            Event::Eof => break,
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
    if !open.is_empty() {
        return Err(DocumentError::Syntax("it ends too early".to_owned()));
    }
    if !methods.is_wsdl {
        let message = "the document does not begin with <definitions>: it is no WSDL 1.1";
        return Err(DocumentError::Kind(message.to_owned()));
    }
    if methods.operations.is_empty() {
        return Err(DocumentError::Nothing);
    }
    Ok(methods.operations)
}

#[derive(Default)]
struct Methods {
    is_wsdl: bool,
    operations: Vec<String>,
    known: HashSet<String>,
}

impl Methods {
    fn enter(&mut self, open: &[String], element: &BytesStart<'_>) -> Result<(), DocumentError> {
        let name = element.local_name();
        match open {
            [] => self.is_wsdl |= name.as_ref() == "definitions",
            [definitions, port_type]
                if definitions == "definitions"
                    && port_type == "portType"
                    && name.as_ref() == "operation" =>
            {
                let method = method(element)?;
                let operation = format!("{}.post", segment_of_name(&method));
                if self.known.insert(operation.clone()) {
                    self.operations.push(operation);
                }
                if self.operations.len() > OPERATIONS_MAX {
                    return Err(DocumentError::TooMany);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn method(element: &BytesStart<'_>) -> Result<String, DocumentError> {
    // Whether an attribute is there twice is not looked at: that takes the square of their number.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| DocumentError::Syntax(error.to_string()))?;
        if attribute.key.as_ref() != "name" {
            continue;
        }
        let name = attribute.value.as_ref();
        let is_name = (1..=256).contains(&name.len())
            && name
                .chars()
                .all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | ':'));
        if is_name {
            return Ok(name.to_owned());
        }
        return Err(DocumentError::Path {
            path: name.chars().take(256).collect(),
            reason: "it is not the name of a method",
        });
    }
    Err(DocumentError::Kind(
        "an operation of a port type has no name".to_owned(),
    ))
}

#[cfg(test)]
mod tests;
