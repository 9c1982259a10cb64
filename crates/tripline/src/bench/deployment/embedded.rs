//! `tripline up` on a free port, with data that is thrown away.

use super::child::Child;
use super::{Deployment, connection_to, folder, free_address, url};
use crate::command_line::Output;
use crate::failure::Failure;

pub(super) async fn start(output: Output) -> Result<Deployment, Failure> {
    let folder = folder()?;
    let address = free_address()?;
    let (data, listen) = (folder.path().join("data"), address.to_string());
    let data = data.display().to_string();
    let arguments = [
        "up",
        "--data-dir",
        &data,
        "--listen",
        &listen,
        "--log",
        "warn",
    ];
    let mut child = Child::start("tripline", &arguments, &[], folder.path())?;
    child.ready(address).await?;
    Ok(Deployment {
        children: vec![child],
        connection: connection_to(url(address)?, output),
        servers: Vec::new(),
        _folder: folder,
    })
}
