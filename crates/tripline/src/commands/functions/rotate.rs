//! `tripline functions rotate-secret`: new secrets, while those from before stay valid for a time.

use protocol::functions::v1 as functions;
use serde::Serialize;

use super::ShownFunction;
use crate::command_line::{Connection, Output, Rotation};
use crate::failure::Failure;
use crate::output;

/// New secrets, which are shown once.
#[derive(Debug, Serialize)]
struct RotatedFunction {
    #[serde(flatten)]
    function: ShownFunction,
    secret: String,
    signing_secret: String,
}

pub(super) async fn run(
    name: String,
    rotation: &Rotation,
    connection: &Connection,
) -> Result<(), Failure> {
    let mut client = connection.functions()?;
    if rotation.promote {
        let request = functions::PromoteSecretRequest { name };
        let function = client.promote_secret(request).await?.into_inner();
        return ShownFunction::from(function).print(connection.output);
    }
    let request = functions::RotateSecretRequest {
        name,
        overlap: Some(protocol::to_duration(rotation.overlap)),
    };
    let answer = client.rotate_secret(request).await?.into_inner();
    let rotated = RotatedFunction {
        function: answer.function.unwrap_or_default().into(),
        secret: answer.secret,
        signing_secret: answer.signing_secret,
    };
    let mut fields = rotated.function.fields();
    fields.push(("secret", rotated.secret.clone()));
    fields.push(("signing_secret", rotated.signing_secret.clone()));
    output::one(connection.output, &rotated, &fields)?;
    if connection.output == Output::Table {
        output::line("Keep both secrets now: they are shown once.")?;
    }
    Ok(())
}
