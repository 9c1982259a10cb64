//! What comes in: records from the queue, and questions by gRPC and HTTP.

pub mod grpc;
pub mod http;
pub mod records;
pub mod redrives;
