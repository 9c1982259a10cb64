//! Since when functions fail, over restarts, moves and successes; time is the calls' own.

use std::sync::atomic::{AtomicBool, Ordering};

use coordination::EmbeddedCoordination;
use domain::format::Format;
use domain::function::{Credentials, FunctionSettings, parse_url};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn function(settings: FunctionSettings) -> Arc<Function> {
    Arc::new(Function {
        project: "acme".parse().unwrap(),
        name: "welcome".parse().unwrap(),
        url: parse_url("https://shop.example/hooks").unwrap(),
        format: Format::default(),
        secret: "s3cret".to_owned(),
        signing_secret: String::new(),
        settings,
        credentials: Credentials::default(),
        created_at: at(-1_000),
        updated_at: at(-1_000),
        revision: 7,
    })
}

/// Switched off after a minute of failures.
fn watched() -> Arc<Function> {
    function(FunctionSettings {
        disable_after: Some(Duration::from_mins(1)),
        ..FunctionSettings::default()
    })
}

async fn call(watch: &Watch, function: &Arc<Function>, sign: Sign, second: i64) -> Option<Disable> {
    let function = Arc::clone(function);
    let at = at(second);
    watch.observe(&Called { function, sign, at }).await
}

/// A memory that can be away.
#[derive(Debug, Default)]
struct Memory {
    inner: EmbeddedCoordination,
    is_away: AtomicBool,
}

impl Memory {
    fn asked(&self) -> Result<&EmbeddedCoordination, Unavailable> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Unavailable(None));
        }
        Ok(&self.inner)
    }
}

#[tonic::async_trait]
impl EndpointMemory for Memory {
    fn is_shared(&self) -> bool {
        true
    }

    async fn keep(&self, learned: &[(String, String)], time: Duration) -> Result<(), Unavailable> {
        self.asked()?.keep(learned, time).await
    }

    async fn recall(&self, names: &[String]) -> Result<Vec<Option<String>>, Unavailable> {
        self.asked()?.recall(names).await
    }
}

#[tokio::test]
async fn failures_for_long_enough_order_the_end_once() {
    let (watch, function) = (Watch::new(Arc::<Memory>::default()), watched());
    for second in [0, 20, 59] {
        assert_eq!(call(&watch, &function, Sign::Fails, second).await, None);
    }
    assert!(watch.holds_nothing() && !watch.is_off(&function));
    let order = call(&watch, &function, Sign::Fails, 60).await.unwrap();
    assert!(order.reason.contains(&at(0).to_string()), "{order:?}");
    assert_eq!((order.at, order.revision), (at(60), 7));
    assert!(watch.is_off(&function));
    let again = call(&watch, &function, Sign::Fails, 61).await;
    assert_eq!(again, None, "it is ordered already");
    let changed = Arc::new(Function {
        revision: 8,
        ..function.as_ref().clone()
    });
    assert!(!watch.is_off(&changed), "a changed function is called");
}

#[tokio::test]
async fn a_success_begins_the_count_anew() {
    let (watch, function) = (Watch::new(Arc::<Memory>::default()), watched());
    call(&watch, &function, Sign::Fails, 0).await;
    call(&watch, &function, Sign::Works, 30).await;
    for second in [31, 60, 90] {
        assert_eq!(call(&watch, &function, Sign::Fails, second).await, None);
    }
    assert!(call(&watch, &function, Sign::Fails, 91).await.is_some());
}

#[tokio::test]
async fn the_next_owner_goes_on_counting() {
    let (memory, function) = (Arc::<Memory>::default(), watched());
    let before = Watch::new(Arc::clone(&memory) as _);
    call(&before, &function, Sign::Fails, 0).await;
    let after = Watch::new(memory);
    assert_eq!(call(&after, &function, Sign::Fails, 59).await, None);
    assert!(call(&after, &function, Sign::Fails, 60).await.is_some());
}

#[tokio::test]
async fn what_another_owner_saw_meanwhile_counts() {
    let (memory, function) = (Arc::<Memory>::default(), watched());
    let watch = Watch::new(Arc::clone(&memory) as _);
    call(&watch, &function, Sign::Fails, 0).await;
    let other = Watch::new(memory);
    call(&other, &function, Sign::Works, 30).await;
    assert_eq!(call(&watch, &function, Sign::Fails, 70).await, None);
    assert_eq!(call(&watch, &function, Sign::Fails, 129).await, None);
    assert!(call(&watch, &function, Sign::Fails, 130).await.is_some());
}

#[tokio::test]
async fn without_a_memory_nothing_is_switched_off_for_its_age() {
    let (memory, function) = (Arc::<Memory>::default(), watched());
    let watch = Watch::new(Arc::clone(&memory) as _);
    call(&watch, &function, Sign::Fails, 0).await;
    memory.is_away.store(true, Ordering::SeqCst);
    assert_eq!(call(&watch, &function, Sign::Fails, 70).await, None);
    memory.is_away.store(false, Ordering::SeqCst);
    assert!(call(&watch, &function, Sign::Fails, 71).await.is_some());
}

#[tokio::test]
async fn gone_orders_the_end_at_once_and_needs_no_memory() {
    let memory = Arc::<Memory>::default();
    memory.is_away.store(true, Ordering::SeqCst);
    let watch = Watch::new(memory);
    let function = function(FunctionSettings {
        disable_on_gone: true,
        ..FunctionSettings::default()
    });
    assert_eq!(call(&watch, &function, Sign::Fails, 0).await, None);
    assert!(call(&watch, &function, Sign::Gone, 0).await.is_some());
    assert_eq!(call(&watch, &function, Sign::Gone, 0).await, None);
    assert!(watch.is_off(&function));
}
