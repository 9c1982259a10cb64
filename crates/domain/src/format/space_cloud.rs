//! Space Cloud's body: a `CloudEvents` document in plain JSON, its data in the shape of the type.

use bytes::Bytes;

use super::about::About;
use super::json::{Data, ObjectWriter, unquote_number};
use super::{JSON, RenderError, RenderInput, Rendered};

pub(super) fn render(input: &RenderInput<'_>) -> Result<Rendered, RenderError> {
    let event = input.event;
    let type_name = event
        .event_type
        .space_cloud_name()
        .unwrap_or_else(|| event.event_type.as_str());
    // There the time is when the event was due, not when it happened.
    let due_at = event.deliver_at.unwrap_or(event.time);
    let mut body = ObjectWriter::with_capacity(event.data.len() + 512);
    body.text("specversion", "1.0")?;
    body.text("type", type_name)?;
    body.text("source", &format!("sc-{}", input.node))?;
    body.text("id", &event.id)?;
    body.text("time", &due_at.to_string())?;
    let data = Data::of(event);
    match event.event_type.number() {
        Some(1000..=1002) => body.object("data", row(input, &About::of(event, &data))?)?,
        Some(1100..=1102) => body.object("data", file(&About::of(event, &data))?)?,
        _ => body.data("data", &data)?,
    }
    Ok(Rendered {
        content_type: Some(JSON.to_owned()),
        headers: Vec::new(),
        body: Bytes::from(body.finish()),
    })
}

/// `db`, `col`, `doc`, `find` and `before`, each always there.
fn row(input: &RenderInput<'_>, about: &About<'_>) -> Result<ObjectWriter, RenderError> {
    let mut row = ObjectWriter::with_capacity(256);
    let db = about
        .text(&["db", "dataset"])
        .or_else(|| about.attribute("db"))
        .or_else(|| about.id_in("databases").map(str::to_owned))
        .or_else(|| about.id_in("datasets").map(str::to_owned))
        .or_else(|| about.id_in("apps").map(str::to_owned));
    row.text(
        "db",
        db.as_deref()
            .unwrap_or_else(|| input.event.project.as_str()),
    )?;
    let col = about
        .text(&["col", "container", "bucket_id", "bucketID"])
        .or_else(|| about.attribute("col"))
        .or_else(|| {
            let collections = ["tables", "containers", "buckets"].into_iter();
            let mut ids = collections.filter_map(|collection| about.id_in(collection));
            ids.next().map(str::to_owned)
        });
    row.text_or_null("col", col.as_deref())?;
    let raw = |names: &[&str]| about.first(names).map_or("null", |value| value.get());
    row.raw("doc", raw(&["doc", "new"]))?;
    match about.first(&["find"]) {
        Some(find) => row.raw("find", find.get())?,
        None => match key(about)? {
            Some(find) => row.object("find", find)?,
            None => row.raw("find", "null")?,
        },
    }
    row.raw("before", raw(&["before", "old"]))?;
    Ok(row)
}

/// The row's key under the name that its source has for it.
fn key(about: &About<'_>) -> Result<Option<ObjectWriter>, RenderError> {
    for name in ["row_id", "id", "object_id", "objectID"] {
        if let Some(id) = about.first(&[name]) {
            let mut find = ObjectWriter::with_capacity(32);
            find.raw(name, unquote_number(id.get()))?;
            return Ok(Some(find));
        }
    }
    let rows = match about.id_in("databases") {
        Some(_) => ("rows", "id"),
        None => ("rows", "row_id"),
    };
    for (collection, name) in [rows, ("objects", "object_id")] {
        if let Some(id) = about.id_in(collection) {
            let mut find = ObjectWriter::with_capacity(32);
            find.raw(name, unquote_number(&serde_json::to_string(id)?))?;
            return Ok(Some(find));
        }
    }
    Ok(None)
}

/// `path`, `meta` and whether it is a file or a folder.
fn file(about: &About<'_>) -> Result<ObjectWriter, RenderError> {
    let path = about
        .text(&["path"])
        .or_else(|| match about.root() {
            "files" | "object-storage" => about.rest(1).map(|path| format!("/{path}")),
            _ => None,
        })
        .or_else(|| {
            let (bucket, object) = (about.text(&["bucket_id"])?, about.text(&["object_id"])?);
            Some(format!("/{bucket}/{object}"))
        });
    let is_folder = path.as_deref().is_some_and(|path| path.ends_with('/'));
    let mut file = ObjectWriter::with_capacity(128);
    file.text_or_null("path", path.as_deref())?;
    file.raw(
        "meta",
        about.first(&["meta"]).map_or("null", |meta| meta.get()),
    )?;
    match about.text(&["type"]) {
        Some(kind) => file.text("type", &kind)?,
        None => file.text("type", if is_folder { "dir" } else { "file" })?,
    }
    Ok(file)
}
