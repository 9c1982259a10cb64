//! The event types that projects have registered, and what follows from them for who emits.

use std::collections::HashMap;
use std::sync::Arc;

use super::Registry;
use crate::event_type::{CustomType, DEFAULT_TYPE, EmitRefusal, Emitter, EventType};
use crate::name::ProjectName;

/// Of all projects.
pub(super) type Types = HashMap<ProjectName, TypesOfProject>;

/// By name.
#[derive(Debug, Clone, Default)]
pub(super) struct TypesOfProject(HashMap<String, Arc<CustomType>>);

impl TypesOfProject {
    pub(super) fn insert(&mut self, custom: CustomType) {
        self.0
            .insert(custom.name.as_str().to_owned(), Arc::new(custom));
    }

    pub(super) fn remove(&mut self, name: &EventType) {
        self.0.remove(name.as_str());
    }
}

impl Registry {
    /// A registered type of a project.
    pub fn custom_type(&self, project: &ProjectName, name: &str) -> Option<&Arc<CustomType>> {
        self.types.get(project)?.0.get(name)
    }

    /// A registered type of a project, by its number.
    pub fn custom_type_by_number(
        &self,
        project: &ProjectName,
        number: u32,
    ) -> Option<&Arc<CustomType>> {
        let mut types = self.types.get(project)?.0.values();
        types.find(|custom| custom.number == number)
    }

    /// Those of a project, in no order.
    pub fn custom_types_of(&self, project: &ProjectName) -> impl Iterator<Item = &Arc<CustomType>> {
        let types = self.types.get(project);
        types.into_iter().flat_map(|types| types.0.values())
    }

    pub fn custom_types(&self) -> impl Iterator<Item = &Arc<CustomType>> {
        self.types.values().flat_map(|types| types.0.values())
    }

    /// The type with the number that the project has given it, where it has one that it does not carry.
    pub fn numbered(&self, project: &ProjectName, event_type: &EventType) -> Option<EventType> {
        if event_type.number().is_some() {
            return None;
        }
        let custom = self.custom_type(project, event_type.as_str())?;
        Some(custom.event_type())
    }

    /// Whether somebody may emit events of a type, and what the project has registered of it, by which
    /// the data is to be checked.
    ///
    /// Built-in types have no rules. For others the rule of exactly this type counts, else that of the
    /// type `default`. In a project that has set any rule, a type for which neither is set is refused.
    ///
    /// # Errors
    /// Says whose rule refuses it.
    pub fn may_emit(
        &self,
        project: &ProjectName,
        event_type: &EventType,
        emitter: Emitter,
    ) -> Result<Option<Arc<CustomType>>, EmitRefusal> {
        let Some(types) = self.types.get(project) else {
            return Ok(None);
        };
        if event_type.is_built_in() {
            return Ok(None);
        }
        let exact = types.0.get(event_type.as_str());
        let has_rule = |custom: &&Arc<CustomType>| custom.emitters.is_some();
        let ruling = exact
            .filter(has_rule)
            .or_else(|| types.0.get(DEFAULT_TYPE).filter(has_rule));
        match ruling.and_then(|custom| Some((custom, custom.emitters?))) {
            Some((_, emitters)) if emitters.allows(emitter) => Ok(exact.cloned()),
            Some((custom, _)) => Err(EmitRefusal::NotAllowed {
                rule: custom.name.to_string(),
                emitter: emitter.word(),
            }),
            None if types.0.values().any(|custom| custom.emitters.is_some()) => {
                Err(EmitRefusal::NoRule)
            }
            None => Ok(exact.cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event_type::Emitters;
    use crate::registry::{Change, Update};
    use crate::schema::Schema;

    fn custom(name: &str, number: u32, emitters: &[&str]) -> CustomType {
        let words: Vec<String> = emitters.iter().map(ToString::to_string).collect();
        CustomType {
            project: "acme".parse().unwrap(),
            name: name.parse().unwrap(),
            number,
            schema: None,
            emitters: Emitters::parse(&words).unwrap(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            revision: 1,
        }
    }

    fn registry(types: &[CustomType]) -> Registry {
        let mut registry = Registry::default();
        registry.apply(Update {
            revision: 1,
            is_snapshot: true,
            changes: types.iter().cloned().map(Change::EventType).collect(),
        });
        registry
    }

    fn may(registry: &Registry, event_type: &str, emitter: Emitter) -> Result<(), EmitRefusal> {
        let project = "acme".parse().unwrap();
        let event_type = event_type.parse().unwrap();
        registry.may_emit(&project, &event_type, emitter).map(drop)
    }

    #[test]
    fn s2_36_the_rule_of_the_type_counts_then_that_of_default_and_else_it_is_refused() {
        let open = registry(&[custom("shop.order", 100_000, &[])]);
        for event_type in ["shop.order", "any.thing", "AUTH_LOGIN"] {
            assert_eq!(may(&open, event_type, Emitter::Key), Ok(()), "no rules");
        }
        let refused = |rule: &str, emitter: Emitter| {
            Err(EmitRefusal::NotAllowed {
                rule: rule.to_owned(),
                emitter: emitter.word(),
            })
        };
        let strict = registry(&[
            custom("of.keys", 100_000, &["keys"]),
            custom("of.functions", 100_001, &["sessions"]),
            custom("of.nobody", 100_002, &["nobody"]),
            custom("ruleless", 100_003, &[]),
        ]);
        let (key, session) = (Emitter::Key, Emitter::Session);
        assert_eq!(may(&strict, "of.keys", key), Ok(()));
        assert_eq!(
            may(&strict, "of.keys", session),
            refused("of.keys", session)
        );
        assert_eq!(may(&strict, "of.functions", session), Ok(()));
        assert_eq!(
            may(&strict, "of.functions", key),
            refused("of.functions", key)
        );
        assert_eq!(may(&strict, "of.nobody", key), refused("of.nobody", key));
        for without in ["ruleless", "any.thing", "default"] {
            assert_eq!(may(&strict, without, key), Err(EmitRefusal::NoRule));
        }
        assert_eq!(may(&strict, "AUTH_LOGIN", key), Ok(()), "built in");

        let with_default = registry(&[
            custom("default", 100_000, &["keys"]),
            custom("of.functions", 100_001, &["sessions"]),
            custom("ruleless", 100_002, &[]),
        ]);
        for covered in ["ruleless", "any.thing", "default"] {
            assert_eq!(may(&with_default, covered, key), Ok(()));
            assert_eq!(
                may(&with_default, covered, session),
                refused("default", session)
            );
        }
        assert_eq!(
            may(&with_default, "of.functions", key),
            refused("of.functions", key)
        );
    }

    #[test]
    fn a_registered_type_carries_its_number_until_it_is_deleted() {
        let mut registry = registry(&[custom("shop.order", 100_007, &[])]);
        let project = "acme".parse().unwrap();
        let plain: EventType = "shop.order".parse().unwrap();
        assert_eq!(plain.number(), None);
        let numbered = registry.numbered(&project, &plain).unwrap();
        assert_eq!(numbered.number(), Some(100_007));
        assert_eq!(numbered, plain, "it is the same type");
        assert_eq!(registry.numbered(&project, &numbered), None);
        let of_other = "other".parse().unwrap();
        assert_eq!(registry.numbered(&of_other, &plain), None);
        let found = registry.custom_type_by_number(&project, 100_007);
        assert_eq!(found.unwrap().name, plain);
        registry.apply(Update {
            revision: 2,
            is_snapshot: false,
            changes: vec![Change::EventTypeDeleted {
                project: project.clone(),
                name: plain.clone(),
            }],
        });
        assert_eq!(registry.numbered(&project, &plain), None);
    }

    #[test]
    fn words_of_emitters_read_back() {
        for words in [
            vec!["keys"],
            vec!["sessions"],
            vec!["keys", "sessions"],
            vec!["nobody"],
        ] {
            let owned: Vec<String> = words.iter().map(ToString::to_string).collect();
            let read = Emitters::parse(&owned).unwrap().unwrap();
            assert_eq!(read.words(), words);
        }
        assert_eq!(Emitters::parse(&[]), Ok(None));
        for wrong in [vec!["all"], vec!["keys", "nobody"]] {
            let owned: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            assert_eq!(Emitters::parse(&owned), Err(*wrong.last().unwrap()));
        }
    }

    #[test]
    fn data_is_checked_by_the_schema_of_its_type() {
        use crate::event::{Event, sample};

        let with_schema = CustomType {
            schema: Some(Schema::parse(r#"{"required": ["n"]}"#).unwrap()),
            ..custom("shop.order", 100_000, &[])
        };
        let check = |content_type: &str, data: &'static str| {
            with_schema.check(&Event {
                data_content_type: Some(content_type.to_owned()),
                data: data.into(),
                ..sample::event(1)
            })
        };
        assert_eq!(check("application/json", r#"{"n":1}"#), Ok(()));
        let broken = check("application/json", r#"{"m":1}"#);
        assert!(matches!(broken, Err(EmitRefusal::Schema(_))), "{broken:?}");
        assert_eq!(check("text/plain", "n"), Err(EmitRefusal::NotJson));
        assert_eq!(check("application/json", ""), Ok(()), "null is no object");
    }
}
