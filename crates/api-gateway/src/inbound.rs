//! What comes in: calls of `/api/v2/SERVICE/…`.

pub mod http;
