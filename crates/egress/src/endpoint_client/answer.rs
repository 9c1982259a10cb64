//! What is kept of an endpoint's answer, while it comes in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::delivery::Outcome;
use domain::record::HeaderLines;
use http::header::SET_COOKIE;
use http::response::Parts;
use http_body_util::BodyExt;
use hyper::body::Body;

use super::EndpointResponse;
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
    ) -> Result<(), hyper::Error>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        while !body.is_end_stream() {
            let Some(frame) = body.frame().await else {
                break;
            };
            let Ok(mut data) = frame?.into_data() else {
                continue;
            };
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
