//! What is in force, as the file would say it.

use serde::Serialize;

/// The settings as TOML; secrets mask themselves.
pub fn print<T: Serialize>(settings: &T) -> String {
    match toml::to_string(settings) {
        Ok(text) => text,
        Err(error) => format!("# these settings cannot be written as TOML: {error}\n"),
    }
}
