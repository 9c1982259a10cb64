//! Compiles proto/ with protox, so that nobody has to install protoc.

use std::path::PathBuf;

use prost::Message;

/// Messages that hold secrets: what is shown of them is written by hand, in `src/credentials.rs`.
const SECRET: [&str; 10] = [
    ".tripline.functions.v1.Basic",
    ".tripline.functions.v1.Bearer",
    ".tripline.functions.v1.OAuth2",
    ".tripline.functions.v1.ClientCertificate",
    ".tripline.wire.v1.RegistryFunction",
    ".tripline.wire.v1.RotatingSecret",
    ".tripline.wire.v1.TokenKey",
    ".tripline.functions.v1.RotateSecretResponse",
    ".tripline.projects.v1.RotateProjectSecretResponse",
    ".tripline.sessions.v1.IntrospectSessionRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("../../proto");
    let files = [
        "events",
        "functions",
        "projects",
        "registry",
        "waiting",
        "delivery",
        "invocation",
        "logs",
        "redrive",
        "gateway",
        "intercept",
        "sessions",
        "types",
        "wire",
        "schedules",
        "packages",
        "imports",
    ]
    .map(|package| root.join(format!("tripline/{package}/v1/{package}.proto")));
    // Cargo reads its instructions from standard output.
    println!("cargo:rerun-if-changed=../../proto");
    let descriptors = protox::compile(files, [root])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .skip_debug(SECRET)
        .compile_fds(descriptors)?;
    Ok(())
}
