//! What comes in: deliveries from the shards this worker serves, and calls by gRPC.

pub mod grpc;
pub mod intercept;
pub mod invocation;
pub mod shards;

pub(crate) mod http;
