//! Bodies that scripts are to see: read whole, within bounds.

use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    TooLarge,
    TooSlow,
    BrokeOff,
}

/// All of a body, if it has no more than `bytes_max` and is here within `time_max`.
///
/// # Errors
/// It is longer, slower, or broke off.
pub async fn whole<B>(body: B, bytes_max: usize, time_max: Duration) -> Result<Bytes, Unread>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        // It says so itself: nothing of it has to be read.
        return Err(Unread::TooLarge);
    }
    let reading = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(time_max, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_gone)) => Err(Unread::BrokeOff),
        Err(_elapsed) => Err(Unread::TooSlow),
    }
}
