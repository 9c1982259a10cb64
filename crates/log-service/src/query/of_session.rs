//! What a function may ask with its session: of its own delivery, and of nothing else.

use domain::access::Refusal;
use domain::session::Session;
use protocol::access::Caller;
use protocol::fault::Fault;
use storage::log_store::{DeliveryFilter, EventHistory, EventReference};

use super::{Page, Reader, reference};

impl Reader {
    /// As [`list`](Self::list); with a session only its own delivery is listed.
    pub(crate) async fn list_for(
        &self,
        caller: &Caller,
        mut filter: DeliveryFilter,
        page_size: u32,
        page_token: &str,
    ) -> Result<Page, Fault> {
        let session = match caller {
            Caller::Key(project) => {
                return self.list(project, &filter, page_size, page_token).await;
            }
            Caller::Session(session) => session,
        };
        if let Some(asked) = &filter.event {
            self.check_own(session, asked).await?;
        }
        filter.event = Some(EventReference::Delivery(session.delivery));
        let page = self.list(&session.project, &filter, page_size, page_token);
        let mut page = page.await?;
        page.lines.retain(|line| {
            let delivery = line.delivery.as_ref();
            delivery.is_some_and(|delivery| delivery.id == session.delivery)
        });
        Ok(page)
    }

    /// As [`event`](Self::event); with a session only its own event is shown, with its own delivery.
    pub(crate) async fn event_for(&self, caller: &Caller, id: &str) -> Result<EventHistory, Fault> {
        let session = match caller {
            Caller::Key(project) => return self.event(project, id).await,
            Caller::Session(session) => session,
        };
        self.check_own(session, &reference("id", id)?).await?;
        let own = session.event.to_string();
        let mut history = self.event(&session.project, &own).await?;
        history
            .deliveries
            .retain(|(state, _)| state.id == session.delivery);
        Ok(history)
    }

    /// Whether another event is asked for, or whether it exists, is told in one way.
    async fn check_own(&self, session: &Session, asked: &EventReference) -> Result<(), Fault> {
        let is_own = match asked {
            EventReference::Internal(eid) => *eid == session.event,
            EventReference::Delivery(delivery) => *delivery == session.delivery,
            EventReference::Client(id) => {
                let eid = session.event.to_string();
                let own = self.event(&session.project, &eid).await;
                own.is_ok_and(|own| own.event.id == *id)
            }
        };
        if is_own {
            return Ok(());
        }
        Err(Refusal::SessionScope("it reads the log of its own delivery").into())
    }
}
