//! Descriptors: each connection takes one, and what a process may have at first is often too few.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Allows this process as many descriptors as the system lets it have. Shells and service managers
/// often give 1,024 at first, for the sake of programs that cannot count further.
pub fn allow_many() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        // What it has at first then has to do.
        tracing::debug!(%error, "no more descriptors than at first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_system_allows() {
        allow_many();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
