//! Compiles proto/ with protox, so that nobody has to install protoc.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("../../proto");
    let files = [
        "events",
        "functions",
        "projects",
        "registry",
        "delivery",
        "logs",
        "redrive",
        "wire",
    ]
    .map(|package| root.join(format!("tripline/{package}/v1/{package}.proto")));
    // Cargo reads its instructions from standard output.
    println!("cargo:rerun-if-changed=../../proto");
    let descriptors = protox::compile(files, [root])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
