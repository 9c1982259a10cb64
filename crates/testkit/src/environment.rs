//! Where the shared test servers are, as `test-servers` says it to the tests it runs.

pub(crate) const POSTGRES_URL: &str = "TRIPLINE_TEST_POSTGRES_URL";
pub(crate) const AMQP_URL: &str = "TRIPLINE_TEST_AMQP_URL";
pub(crate) const RABBITMQ_API: &str = "TRIPLINE_TEST_RABBITMQ_API";
pub(crate) const REDIS_URL: &str = "TRIPLINE_TEST_REDIS_URL";

/// The value of a variable of the test environment.
///
/// # Panics
///
/// When it is missing: a test that needs a server never passes without one.
#[expect(
    clippy::disallowed_methods,
    reason = "the test servers' places are not settings of the program under test"
)]
pub(crate) fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_missing| {
        panic!(
            "{name} is not set: this test needs the test servers. Run `make test`, or \
             `cargo run --bin test-servers -- run -- cargo test -p CRATE`"
        )
    })
}
