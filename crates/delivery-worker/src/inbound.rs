//! What comes in: deliveries from the shards this worker serves, and calls by gRPC.

pub mod grpc;
pub mod shards;
pub mod invocation;

pub(crate) mod http;
