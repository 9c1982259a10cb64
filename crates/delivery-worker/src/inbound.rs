//! What comes in: deliveries from the shards this worker serves, and calls by gRPC.

pub mod grpc;
pub mod intercept;
pub mod shards;
