//! What is kept of an endpoint's answer, while it comes in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::delivery::Outcome;
use domain::record::HeaderLines;
use futures::FutureExt as _;
use http::header::SET_COOKIE;
use http::response::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, timeout_at};

use super::EndpointResponse;
use super::connector::{AnswerTooSlow, SlowestAnswer};
use crate::MASKED;

/// As much of the headers is kept for the log.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Grows as the answer arrives, so that a timeout still leaves what was there.
#[derive(Debug, Default)]
pub(super) struct Answer {
    status: Option<u16>,
    headers: HeaderLines,
    body: KeptBody,
    truncated: bool,
}

impl Answer {
    pub(super) fn take_head(&mut self, head: &Parts) {
        self.status = Some(head.status.as_u16());
        let mut bytes = 0;
        for (name, value) in &head.headers {
            bytes += name.as_str().len() + value.len();
            if bytes > HEADERS_BYTES_MAX {
                break;
            }
            // What the endpoint would recognise us by is nobody else's business.
            let text = match *name {
                SET_COOKIE => MASKED.into(),
                _ => String::from_utf8_lossy(value.as_bytes()),
            };
            self.headers.push(name.as_str(), &text);
        }
    }

    /// Reads up to `bytes_max`; of what is more only the fact is kept, and the connection closed.
    pub(super) async fn read_body<B>(
        &mut self,
        body: &mut B,
        bytes_max: usize,
        slowest: SlowestAnswer,
    ) -> Result<(), BodyError>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        let mut pace = Pace::new(slowest);
        while !body.is_end_stream() {
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                // Seldom; every request would be larger for it.
                None => Box::pin(pace.wait(body)).await?,
            };
            let Some(frame) = frame else {
                break;
            };
            let frame = frame.map_err(BodyError::BrokeOff)?;
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            pace.bytes += data.len();
            let room = bytes_max.saturating_sub(self.body.len());
            if data.len() > room {
                data.truncate(room);
                self.truncated = true;
            }
            self.body.push(data);
            if self.truncated {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn body(&self) -> &[u8] {
        match &self.body {
            KeptBody::Whole(bytes) => bytes,
            KeptBody::Joined(bytes) => bytes,
        }
    }

    pub(super) fn into_response(self, outcome: Outcome, duration: Duration) -> EndpointResponse {
        EndpointResponse {
            outcome,
            status: self.status,
            headers: self.headers,
            body: self.body.into_bytes(),
            truncated: self.truncated,
            duration,
        }
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(super) enum BodyError {
    BrokeOff(hyper::Error),
    TooSlow(AnswerTooSlow),
}

/// How fast a body comes.
#[derive(Debug)]
struct Pace {
    slowest: SlowestAnswer,
    since: Instant,
    bytes: usize,
}

impl Pace {
    fn new(slowest: SlowestAnswer) -> Self {
        Self {
            slowest,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// The next frame, if it comes while the body is fast enough.
    async fn wait<B>(
        &mut self,
        body: &mut B,
    ) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, BodyError>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        loop {
            let until = self.since + self.slowest.within;
            if let Ok(frame) = timeout_at(until, body.frame()).await {
                return Ok(frame);
            }
            if self.bytes < self.slowest.bytes {
                return Err(BodyError::TooSlow(AnswerTooSlow(self.slowest)));
            }
            (self.since, self.bytes) = (Instant::now(), 0);
        }
    }
}

/// Most answers come in one piece, which is kept without copying it.
#[derive(Debug)]
enum KeptBody {
    Whole(Bytes),
    Joined(BytesMut),
}

impl Default for KeptBody {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl KeptBody {
    fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: Bytes) {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => *bytes = data,
            Self::Whole(bytes) => {
                let mut joined = BytesMut::with_capacity(bytes.len() + data.len());
                joined.extend_from_slice(bytes);
                joined.extend_from_slice(&data);
                *self = Self::Joined(joined);
            }
            Self::Joined(bytes) => bytes.extend_from_slice(&data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes.freeze(),
        }
    }
}
