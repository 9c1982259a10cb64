//! The names of fields in logs and spans: dotted by entity, one spelling everywhere.

pub const PROJECT_ID: &str = "project.id";
pub const EVENT_ID: &str = "event.id";
pub const EVENT_TYPE: &str = "event.type";
pub const TRIGGER_ID: &str = "trigger.id";
pub const FUNCTION_ID: &str = "function.id";
pub const FUNCTION_NAME: &str = "function.name";
pub const DELIVERY_ID: &str = "delivery.id";
pub const ATTEMPT_NUMBER: &str = "attempt.number";
pub const ATTEMPT_DURATION_MS: &str = "attempt.duration_ms";
pub const ENDPOINT_HOST: &str = "endpoint.host";
pub const RESPONSE_STATUS: &str = "http.response.status_code";
pub const SHARD: &str = "shard";

/// The names that OpenTelemetry gives to what concerns a broker.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
pub const MESSAGING_OPERATION: &str = "messaging.operation.name";
pub const MESSAGING_BATCH_COUNT: &str = "messaging.batch.message_count";
