//! Several deliveries in one request: each has its own attempt, record and fate.

use std::sync::Arc;

use bytes::Bytes;
use domain::Timestamp;
use domain::answer::{BatchAnswer, Body};
use domain::delivery::Target;
use domain::event::Event;
use domain::format::BatchFormat;
use domain::function::Function;
use domain::pace::Exchange;
use domain::record::{HeaderLines, RESPONSE_BODY_BYTES_MAX};
use telemetry::trace;
use tracing::{Instrument as _, info_span};

use super::{
    Deliverer, Made, Settlement, called, cancelled, ended_at, exchange, failure, mask_echoes,
    observe, strictly,
};
use crate::compose::{Call, batch_format, compose_batch, part, shown_headers, unsent};
use crate::metrics;
use crate::outbound::endpoint_client::EndpointResponse;

/// A record of a batch keeps at least so much of the answer, which is shared out among all.
const RESPONSE_SHARE_BYTES_MIN: usize = 1024;

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Batched {
    /// Of each delivery, in the order in which they were given.
    pub settlements: Vec<Settlement>,
    /// What the endpoint did; `None` when it was not asked.
    pub exchange: Option<Exchange>,
}

/// The answer to the one request of several deliveries.
struct Answered {
    response: EndpointResponse,
    headers: HeaderLines,
    request_bytes: u64,
    answer: BatchAnswer,
    /// About ids that the answer names and nobody sent.
    remark: Option<String>,
    deliveries: usize,
}

/// What becomes of one delivery of a batch.
enum Fate<'a> {
    /// It has ended without a request.
    Settled(Box<Settlement>),
    /// It is not part of the batch any more.
    Alone(&'a Event, &'a Target),
    Sent(Call<'a>, Bytes),
}

impl Deliverer {
    /// Brings several events to one function, once, in one request.
    pub async fn deliver_batch(
        &self,
        format: BatchFormat,
        deliveries: &[(&Event, &Target)],
    ) -> Batched {
        let Some((first, target)) = deliveries.first() else {
            return Batched::default();
        };
        let (function, rules) = {
            let registry = self.registry.read();
            let rule =
                |(event, target): &(&Event, &Target)| registry.rule_of(&event.project, target);
            let rules: Vec<_> = deliveries.iter().map(rule).collect();
            let function = registry.function(&first.project, &target.function).cloned();
            (function, rules)
        };
        let Some(function) = function else {
            let gone = deliveries
                .iter()
                .map(|(event, target)| *cancelled(event, target, "function_deleted"));
            return Batched {
                settlements: gone.collect(),
                exchange: None,
            };
        };
        let token_keys = self.token_keys_for(&function);
        let traceparent = trace::outgoing(first.traceparent.as_deref());
        let now = Timestamp::now();
        let fates: Vec<Fate<'_>> = deliveries
            .iter()
            .zip(&rules)
            .map(|((event, target), rule)| {
                let Some(trigger) = rule else {
                    return Fate::Settled(cancelled(event, target, "trigger_deleted"));
                };
                let call = Call {
                    event,
                    target,
                    function: &function,
                    trigger,
                    traceparent: Some(&traceparent),
                    now,
                    // Each event has an actor of its own, and the request is one.
                    session: None,
                    token_keys: token_keys.as_deref(),
                    worker: &self.worker,
                };
                self.fate(call, format)
            })
            .collect();
        let sent = fates.iter().filter_map(|fate| match fate {
            Fate::Sent(call, part) => Some((*call, part.clone())),
            Fate::Settled(_) | Fate::Alone(..) => None,
        });
        let (calls, parts): (Vec<_>, Vec<_>) = sent.unzip();
        let span = info_span!(
            "deliver batch",
            otel.kind = "client",
            deliveries = calls.len()
        );
        let sending = self.send_batch(&calls, format, &parts).instrument(span);
        let answered = sending.await;
        self.settle_batch(fates, &answered, &function).await
    }

    /// What follows for each, in their order.
    async fn settle_batch(
        &self,
        fates: Vec<Fate<'_>>,
        answered: &Answered,
        function: &Arc<Function>,
    ) -> Batched {
        let mut batched = Batched {
            settlements: Vec::with_capacity(fates.len()),
            exchange: None,
        };
        for fate in fates {
            let settlement = match fate {
                Fate::Settled(settlement) => settlement,
                Fate::Alone(event, target) => Box::pin(self.deliver(event, target)).await,
                Fate::Sent(call, _) => {
                    let mut made = made(&call, answered);
                    if batched.exchange.is_none() {
                        // One request says one thing of endpoint and function.
                        let ended_at = ended_at(&call, &answered.response);
                        let rest_max = call.trigger.retry.retry_after_max;
                        let of_batch = exchange(&answered.response, ended_at, rest_max);
                        batched.exchange = Some(of_batch);
                        made.called = called(function, &answered.response.outcome, ended_at);
                    }
                    self.settlement(&call, made)
                }
            };
            batched.settlements.push(*settlement);
        }
        batched
    }

    /// What becomes of a delivery before anything is sent.
    fn fate<'a>(&self, call: Call<'a>, format: BatchFormat) -> Fate<'a> {
        if batch_format(call.function, call.trigger) != Some(format) {
            // It was changed while this waited.
            return Fate::Alone(call.event, call.target);
        }
        match part(&call, format) {
            Ok(part) => Fate::Sent(call, part),
            Err(outcome) => {
                let made = Made {
                    response: unsent(outcome.clone()),
                    outcome,
                    remark: None,
                    headers: HeaderLines::default(),
                    request_bytes: 0,
                    called: None,
                };
                Fate::Settled(self.settlement(&call, made))
            }
        }
    }

    async fn send_batch(
        &self,
        calls: &[Call<'_>],
        format: BatchFormat,
        parts: &[Bytes],
    ) -> Answered {
        let _under_way = metrics::UnderWay::begin();
        let (response, headers, request_bytes) = match compose_batch(calls, format, parts) {
            Ok(request) => {
                let headers = shown_headers(&request);
                let bytes = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
                let mut response = self.client.send(request).await;
                let secret = calls.first().map(|call| call.function.secret_at(call.now));
                mask_echoes(&mut response, [secret, None]);
                (response, headers, bytes)
            }
            Err(outcome) => (unsent(outcome), HeaderLines::default(), 0),
        };
        if !calls.is_empty() {
            observe(&response, failure(&response.outcome).0);
        }
        let answer = BatchAnswer::read(Body {
            bytes: &response.body,
            is_truncated: response.truncated,
        });
        Answered {
            remark: answer.unknown(calls.iter().map(|call| call.event.id.as_str())),
            answer,
            response,
            headers,
            request_bytes,
            deliveries: calls.len(),
        }
    }
}

/// What the answer to all of them comes to for one.
fn made(call: &Call<'_>, answered: &Answered) -> Made {
    let whole = &answered.response;
    let body = Body {
        bytes: &whole.body,
        is_truncated: whole.truncated,
    };
    let outcome = strictly(call, &whole.outcome, body);
    let share = RESPONSE_BODY_BYTES_MAX / answered.deliveries.max(1);
    let kept = whole.body.len().min(share.max(RESPONSE_SHARE_BYTES_MIN));
    Made {
        outcome: answered.answer.outcome(&call.event.id, &outcome),
        remark: answered.remark.clone(),
        response: EndpointResponse {
            body: whole.body.slice(..kept),
            truncated: whole.truncated || kept < whole.body.len(),
            ..whole.clone()
        },
        headers: answered.headers.clone(),
        request_bytes: answered.request_bytes,
        called: None,
    }
}
