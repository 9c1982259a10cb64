//! Kii's body: the runtime parameters of a server hook, by the kind of thing, and the context.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::about::About;
use super::json::{Data, ObjectWriter};
use super::{JSON, RenderError, RenderInput, Rendered};

/// Kii's own limit of the parameters.
pub const PARAMS_BYTES_MAX: usize = 100 * 1024;

/// What may stand in a URI's segment as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where a bucket can be, beside the app itself, and what its owner's id is called.
const OWNERS: [(&str, &str); 3] = [
    ("users", "userID"),
    ("groups", "groupID"),
    ("things", "thingID"),
];

pub(super) fn render(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    let event = input.event;
    let data = Data::of(event);
    let about = About::of(event, &data);
    let params = match event.event_type.number() {
        Some(1000..=1002) => object(input, &about)?.finish(),
        Some(2000..=2106) => entity(&about, &[USER], event.actor.as_ref().map(|it| &*it.id))?,
        Some(2200..=2202) => entity(&about, &[GROUP], None)?,
        Some(2203..=2204) => entity(&about, &[GROUP, USER], None)?,
        Some(3005..=3006) => entity(&about, &[THING, USER], None)?,
        Some(3007..=3008) => entity(&about, &[THING, GROUP], None)?,
        Some(3000..=3010) => entity(&about, &[THING], None)?,
        Some(3100..=3102) => entity(&about, &[INSTALLATION], None)?,
        Some(5000) => {
            let parameters = about.first(&["parameters"]);
            parameters.map_or("{}", |it| it.get()).as_bytes().to_vec()
        }
        _ => other(&data)?,
    };
    if params.len() > PARAMS_BYTES_MAX {
        return Err(RenderError::TooLarge {
            what: "params",
            bytes: params.len(),
            bytes_max: PARAMS_BYTES_MAX,
        });
    }
    let mut context = ObjectWriter::with_capacity(256);
    context.text("appID", &app_of(input, &about))?;
    let endpoint = input.endpoint;
    context.text(
        "endpoint",
        endpoint.unwrap_or_else(|| input.function.name.as_str()),
    )?;
    let trigger = event.event_type.kii_name();
    context.text(
        "trigger",
        trigger.unwrap_or_else(|| event.event_type.as_str()),
    )?;
    context.text("deliveryID", &input.delivery.to_string())?;

    let mut body = ObjectWriter::with_capacity(params.len() + 512);
    body.raw("params", std::str::from_utf8(&params).unwrap_or("{}"))?;
    body.object("context", context)?;
    Ok(Rendered {
        content_type: Some(JSON.to_owned()),
        headers: Vec::new(),
        body: Bytes::from(body.finish()),
    })
}

fn app_of(input: &RenderInput<'_>, about: &About<'_>) -> String {
    let app = about.text(&["appID"]);
    app.or_else(|| about.id_in("apps").map(str::to_owned))
        .unwrap_or_else(|| input.event.project.to_string())
}

/// `objectScope`, `bucketID`, `objectID` and `uri`; never the object itself.
fn object(input: &RenderInput<'_>, about: &About<'_>) -> Result<ObjectWriter, RenderError> {
    let owner = OWNERS
        .into_iter()
        .find_map(|(collection, name)| Some((collection, name, about.id_in(collection)?)));
    let mut params = ObjectWriter::with_capacity(512);
    match about.first(&["objectScope"]) {
        Some(scope) => params.raw("objectScope", scope.get())?,
        None => {
            let mut scope = ObjectWriter::with_capacity(128);
            scope.text("appID", &app_of(input, about))?;
            if let Some((_, name, id)) = owner {
                scope.text(name, id)?;
            }
            params.object("objectScope", scope)?;
        }
    }
    // What others call a table or container is a bucket here.
    let in_subject = |collections: [&str; 3]| {
        let mut ids = collections.into_iter().filter_map(|it| about.id_in(it));
        ids.next().map(str::to_owned)
    };
    let bucket = about
        .text(&["bucketID", "bucket_id", "container", "col"])
        .or_else(|| in_subject(["tables", "containers", "buckets"]));
    let object = about
        .text(&["objectID", "object_id", "row_id"])
        .or_else(|| in_subject(["objects", "rows", "keys"]));
    params.text_or_null("bucketID", bucket.as_deref())?;
    params.text_or_null("objectID", object.as_deref())?;
    let uri = about.text(&["uri"]).or_else(|| {
        let encode = |id: &str| utf8_percent_encode(id, ENCODED).to_string();
        let scope = owner
            .map(|(collection, _, id)| format!("{collection}/{}/", encode(id)))
            .unwrap_or_default();
        let (bucket, object) = (encode(bucket.as_deref()?), encode(object.as_deref()?));
        Some(format!(
            "kiicloud://{scope}buckets/{bucket}/objects/{object}"
        ))
    });
    params.text_or_null("uri", uri.as_deref())?;
    Ok(params)
}

/// A kind of thing: what its id is called here and in data of other systems, and its collection.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    other_name: &'static str,
    collection: &'static str,
}

const USER: Kind = kind("userID", "user_id", "users");
const GROUP: Kind = kind("groupID", "group_id", "groups");
const THING: Kind = kind("thingID", "thing_id", "things");
const INSTALLATION: Kind = kind("installationID", "installation_id", "installations");

const fn kind(name: &'static str, other_name: &'static str, collection: &'static str) -> Kind {
    Kind {
        name,
        other_name,
        collection,
    }
}

/// The id of what the event is about, and of whoever else takes part where that is known.
fn entity(
    about: &About<'_>,
    kinds: &[Kind],
    otherwise: Option<&str>,
) -> Result<Vec<u8>, RenderError> {
    let mut params = ObjectWriter::with_capacity(128);
    for (place, kind) in kinds.iter().enumerate() {
        let id = about
            .text(&[kind.name, kind.other_name])
            .or_else(|| about.id_in(kind.collection).map(str::to_owned));
        match id.as_deref().or(otherwise) {
            Some(id) => params.text(kind.name, id)?,
            None if place == 0 => params.raw(kind.name, "null")?,
            None => {}
        }
    }
    Ok(params.finish())
}

/// Events that Kii has no trigger for carry their data as it is.
fn other(data: &Data<'_>) -> Result<Vec<u8>, RenderError> {
    match data {
        Data::Json(json) if json.get().starts_with('{') => Ok(json.get().as_bytes().to_vec()),
        Data::Absent => Ok(b"{}".to_vec()),
        Data::Json(_) | Data::Text(_) | Data::Binary(_) => {
            let mut params = ObjectWriter::with_capacity(128);
            params.data("data", data)?;
            Ok(params.finish())
        }
    }
}
