//! How lines, events and attempts are shown: the same words by gRPC and as JSON.

pub(crate) mod as_grpc;
pub(crate) mod as_json;
