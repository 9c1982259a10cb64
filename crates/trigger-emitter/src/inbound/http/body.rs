//! A request's body: read to its limit, and after a refusal read away, so that the answer arrives.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// What is read of a refused request only to be thrown away. A connection that is closed while its
/// client still writes is reset, and with it goes the answer that says why.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
const DISCARDED_WITHIN: Duration = Duration::from_secs(5);

/// A body, and how much of it is still to come.
#[derive(Debug)]
pub(super) struct Incoming {
    body: Body,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Untouched,
    Begun,
    /// It has ended, or has been given up.
    Over,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    BrokeOff,
}

impl Incoming {
    pub(super) const fn new(body: Body) -> Self {
        Self {
            body,
            progress: Progress::Untouched,
        }
    }

    /// All of the body, if it has no more than `bytes_max` and is here within `time_max`.
    pub(super) async fn read(
        &mut self,
        bytes_max: usize,
        time_max: Duration,
    ) -> Result<Bytes, Unread> {
        self.progress = Progress::Over;
        let reading = Limited::new(&mut self.body, bytes_max).collect();
        match tokio::time::timeout(time_max, reading).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.progress = Progress::Begun;
                Err(Unread::TooLarge)
            }
            Ok(Err(_gone)) => Err(Unread::BrokeOff),
            Err(_elapsed) => Err(Unread::TooSlow),
        }
    }

    /// Reads away what a refused client goes on to send, unless that would take too long.
    pub(super) async fn discard(self, headers: &HeaderMap) {
        self.discard_within(headers, DISCARDED_WITHIN).await;
    }

    async fn discard_within(mut self, headers: &HeaderMap, time_max: Duration) {
        let is_expected = match self.progress {
            // Whoever asks before sending is spared it: reading would tell it to go on.
            Progress::Untouched => !headers.contains_key(header::EXPECT),
            Progress::Begun => true,
            Progress::Over => false,
        };
        let announced = announced_bytes(headers).unwrap_or(0);
        if is_expected && announced <= DISCARDED_BYTES_MAX {
            let discarding = discard(&mut self.body);
            let _in_time = tokio::time::timeout(time_max, discarding).await;
        }
    }
}

async fn discard(body: &mut Body) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// What `Content-Length` says, if it is there.
pub(super) fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    // What does not fit is more than anything that is allowed.
    Some(length.to_str().ok()?.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{FutureExt as _, StreamExt as _, stream};

    use super::*;

    type Piece = std::io::Result<Bytes>;

    const MIB: usize = 1024 * 1024;
    const SHORT: Duration = Duration::from_millis(10);

    /// A body without an end, and how many MiB of it were read.
    fn endless() -> (Body, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let piece = Bytes::from(vec![b' '; MIB]);
        let pieces = stream::repeat(piece).map(move |piece| {
            count.fetch_add(1, Ordering::Relaxed);
            Piece::Ok(piece)
        });
        (Body::from_stream(pieces), read)
    }

    #[tokio::test]
    async fn no_more_than_64_mib_are_discarded() {
        let (body, read) = endless();
        Incoming::new(body).discard(&HeaderMap::new()).await;
        assert_eq!(read.load(Ordering::Relaxed), 65);
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_is_not_waited_for() {
        let mut silent = Incoming::new(Body::from_stream(stream::pending::<Piece>()));
        silent.discard_within(&HeaderMap::new(), SHORT).await;

        silent = Incoming::new(Body::from_stream(stream::pending::<Piece>()));
        let refused = silent.read(4 * MIB, SHORT).await;
        assert_eq!(refused, Err(Unread::TooSlow));
        let headers = HeaderMap::new();
        let discarding = silent.discard_within(&headers, Duration::MAX);
        // It was given its time already.
        assert_eq!(discarding.now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn what_is_too_large_is_read_away_although_the_client_had_asked_to_send_it() {
        let (body, read) = endless();
        let mut incoming = Incoming::new(body);
        let refused = incoming.read(4 * MIB, Duration::MAX).await;
        assert_eq!(refused, Err(Unread::TooLarge));
        assert_eq!(read.load(Ordering::Relaxed), 5);
        let headers = HeaderMap::from_iter([(header::EXPECT, "100-continue".parse().unwrap())]);
        incoming.discard(&headers).await;
        assert_eq!(read.load(Ordering::Relaxed), 5 + 65);
    }

    #[tokio::test]
    async fn what_is_announced_as_too_much_or_only_asked_for_is_not_read() {
        for (name, value) in [
            (header::CONTENT_LENGTH, "67108865"),
            (header::CONTENT_LENGTH, "99999999999999999999999"),
            (header::EXPECT, "100-continue"),
        ] {
            let (body, read) = endless();
            let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            Incoming::new(body).discard(&headers).await;
            assert_eq!(read.load(Ordering::Relaxed), 0, "{value}");
        }
    }
}
