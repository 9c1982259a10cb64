//! What a failed call comes to, in words that give nothing of the inside away.

use std::error::Error as StdError;
use std::io;

use domain::address::EgressRefusal;
use domain::delivery::{ErrorClass, Outcome};
use rustls::CertificateError;

use super::answer::BodyError;
use super::connector::{AnswerTooLong, AnswerTooSlow, ConnectTimeout, NoTunnel};
use super::pool::SendError;
use crate::resolver::ResolveError;

/// The outcome of a request that no answer came back for.
pub(super) fn outcome_of_send(error: &hyper_util::client::legacy::Error) -> Outcome {
    outcome_of(error, error.is_connect())
}

/// The same of one that was sent on a connection of the pool.
pub(super) fn outcome_of_pooled(error: &SendError) -> Outcome {
    match error {
        SendError::Connect(error) => outcome_of(error.as_ref(), true),
        SendError::Exchange(error) => outcome_of(error, false),
        SendError::Http2 | SendError::Closed => unreachable(
            ErrorClass::Protocol,
            "the connection was closed before the request was sent".to_owned(),
        ),
    }
}

fn outcome_of(error: &(dyn StdError + 'static), is_connect: bool) -> Outcome {
    tracing::debug!(error, "call failed");
    if let Some(resolving) = find::<ResolveError>(error) {
        return match resolving {
            ResolveError::Refused(refusal) => refused(*refusal),
            ResolveError::NoAddress | ResolveError::LookupFailed => {
                unreachable(ErrorClass::Dns, resolving.to_string())
            }
        };
    }
    if let Some(timeout) = find::<ConnectTimeout>(error) {
        return unreachable(ErrorClass::Timeout, timeout.to_string());
    }
    if let Some(no_tunnel) = find::<NoTunnel>(error) {
        return unreachable(ErrorClass::Connect, no_tunnel.to_string());
    }
    if let Some(too_long) = find::<AnswerTooLong>(error) {
        return unreachable(ErrorClass::Protocol, too_long.to_string());
    }
    if let Some(too_slow) = find::<AnswerTooSlow>(error) {
        return unreachable(ErrorClass::Timeout, too_slow.to_string());
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return unreachable(ErrorClass::Tls, tls_message(tls));
    }
    if let Some(hyper) = find::<hyper::Error>(error) {
        return outcome_of_exchange(hyper);
    }
    match find_io_kind(error) {
        Some(kind) if is_connect => unreachable(ErrorClass::Connect, io_message(kind)),
        _ => unreachable(
            ErrorClass::Protocol,
            "the request could not be sent".to_owned(),
        ),
    }
}

/// The outcome of a request whose answer broke off after its head.
pub(super) fn outcome_of_body(error: &BodyError) -> Outcome {
    let error = match error {
        BodyError::TooSlow(too_slow) => {
            return unreachable(ErrorClass::Timeout, too_slow.to_string());
        }
        BodyError::BrokeOff(error) => error as &dyn StdError,
    };
    tracing::debug!(error, "answer broke off");
    if let Some(too_slow) = find::<AnswerTooSlow>(error) {
        return unreachable(ErrorClass::Timeout, too_slow.to_string());
    }
    if let Some(too_long) = find::<AnswerTooLong>(error) {
        return unreachable(ErrorClass::Protocol, too_long.to_string());
    }
    unreachable(ErrorClass::Protocol, "the answer broke off".to_owned())
}

fn outcome_of_exchange(error: &hyper::Error) -> Outcome {
    if error.is_parse_too_large() {
        return unreachable(
            ErrorClass::Protocol,
            "the answer's head is too large".to_owned(),
        );
    }
    if error.is_parse() {
        return unreachable(ErrorClass::Protocol, "the answer is not HTTP".to_owned());
    }
    match find_io_kind(error) {
        Some(kind) => unreachable(ErrorClass::Connect, io_message(kind)),
        None if error.is_incomplete_message() => unreachable(
            ErrorClass::Protocol,
            "the connection was closed before the answer was complete".to_owned(),
        ),
        None => unreachable(ErrorClass::Protocol, "the exchange broke off".to_owned()),
    }
}

/// Whether the connection went away, rather than that something was said on it.
pub(super) fn is_connection_lost(error: &(dyn StdError + 'static)) -> bool {
    find_io_kind(error).is_some()
        || find::<hyper::Error>(error).is_some_and(|error| {
            error.is_incomplete_message() || error.is_closed() || error.is_canceled()
        })
}

fn refused(refusal: EgressRefusal) -> Outcome {
    Outcome::Impossible {
        class: ErrorClass::Egress,
        message: refusal.to_string(),
    }
}

pub(super) fn unreachable(class: ErrorClass, message: String) -> Outcome {
    Outcome::Unreachable { class, message }
}

/// Only the kind: the system's own text may carry the address that was dialled.
fn io_message(kind: io::ErrorKind) -> String {
    format!("the connection failed: {kind}")
}

/// rustls lists the names a certificate was made for; the owner of the URL knows them, and nobody
/// else has to.
fn tls_message(error: &rustls::Error) -> String {
    let problem = match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet"
            }
            CertificateError::UnknownIssuer => "the certificate's issuer is not trusted",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another host name"
            }
            _ => "the certificate is not accepted",
        },
        rustls::Error::InvalidMessage(_) => "the endpoint does not speak TLS",
        rustls::Error::PeerIncompatible(_) => "the endpoint does not speak TLS 1.2 or later",
        rustls::Error::AlertReceived(_) => "the endpoint broke off the TLS handshake",
        _ => "the TLS handshake failed",
    };
    problem.to_owned()
}

fn find_io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    find::<io::Error>(error).map(io::Error::kind)
}

/// Looks for an error of one kind among the causes, also within I/O errors, which hide theirs.
fn find<'a, Wanted: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a Wanted> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(wanted) = error.downcast_ref::<Wanted>() {
            return Some(wanted);
        }
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
