//! `ScheduleService`: clocks that call functions.

use domain::access::Scope;
use domain::name::{Name, ProjectName};
use domain::schedule::{Schedule, ScheduleName};
use domain::trigger::Trigger;
use protocol::fault::{Fault, FaultKind};
use protocol::schedule::shown_schedule;
use protocol::schedules::v1 as wire;
use protocol::schedules::v1::schedule_service_server::ScheduleService;
use storage::waiting_room::Owner;
use tonic::{Request, Response, Status};
use tracing::info;

use super::gate::Gate;
use super::{Desk, now, paging};
use crate::define::schedules as define;
use crate::error::{of_name, of_storage};
use crate::outbound::own_events::OwnEvents;

/// Serves schedules.
#[derive(Debug, Clone)]
pub struct Schedules {
    pub(crate) desk: Desk,
    pub(crate) events: OwnEvents,
}

#[tonic::async_trait]
impl ScheduleService for Schedules {
    async fn create_schedule(
        &self,
        request: Request<wire::CreateScheduleRequest>,
    ) -> Result<Response<wire::Schedule>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let wanted = request.into_inner().schedule;
        let wanted = wanted.ok_or_else(|| Fault::missing("schedule", "a schedule"))?;
        let (schedule, trigger) = define::schedule(&project, None, &wanted, now())
            .map_err(|fault| fault.within("schedule"))?;
        if schedule.next_at.is_none() {
            let message = "never comes any more";
            let fault = Fault::invalid("schedule.cron", &wanted.cron, message, "times to come");
            return Err(fault.into());
        }
        let store = self.desk.index.store();
        let revision = store
            .create_schedule(&schedule, &trigger)
            .await
            .map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        info!(%project, schedule = %schedule.name, revision, "schedule created");
        Ok(Response::new(shown_schedule(&schedule, Some(&trigger))))
    }

    async fn get_schedule(
        &self,
        request: Request<wire::GetScheduleRequest>,
    ) -> Result<Response<wire::Schedule>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let name = schedule_name(&request.get_ref().name)?;
        let (schedule, trigger) = self.existing(&project, &name).await?;
        Ok(Response::new(shown_schedule(&schedule, Some(&trigger))))
    }

    async fn list_schedules(
        &self,
        request: Request<wire::ListSchedulesRequest>,
    ) -> Result<Response<wire::ListSchedulesResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Read)?;
        let request = request.into_inner();
        let size = paging::size(request.page_size)?;
        let after: Option<ScheduleName> = paging::start(&request.page_token)?;
        let package: Option<Name> = match request.package.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|error| of_name("package", error))?),
        };
        let store = self.desk.index.store();
        let page = store
            .schedules(&project, package.as_ref(), after.as_ref(), size)
            .await
            .map_err(of_storage)?;
        let last = page.items.last().map(|schedule| &schedule.name);
        let next_page_token = paging::next(last, page.has_more);
        let registry = self.desk.index.view().read();
        let shown = page.items.iter().map(|schedule| {
            let trigger = registry.trigger(&project, &schedule.name);
            shown_schedule(schedule, trigger.map(AsRef::as_ref))
        });
        Ok(Response::new(wire::ListSchedulesResponse {
            schedules: shown.collect(),
            next_page_token,
        }))
    }

    async fn update_schedule(
        &self,
        request: Request<wire::UpdateScheduleRequest>,
    ) -> Result<Response<wire::Schedule>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let request = request.into_inner();
        let allowed = "a schedule with its name and what is to change";
        let wanted = request
            .schedule
            .ok_or_else(|| Fault::missing("schedule", allowed))?;
        let name = schedule_name(&wanted.name).map_err(|fault| fault.within("schedule"))?;
        let (mut schedule, mut trigger) = self.existing(&project, &name).await?;
        let mask = request.update_mask.as_ref();
        define::change_schedule(&mut schedule, &mut trigger, &wanted, mask, now()).map_err(
            |fault| match fault.field.as_deref() {
                Some("update_mask") => fault,
                _ => fault.within("schedule"),
            },
        )?;
        let store = self.desk.index.store();
        let revision = store
            .update_schedule(&schedule, &trigger)
            .await
            .map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        info!(%project, schedule = %name, revision, "schedule changed");
        let (schedule, trigger) = self.existing(&project, &name).await?;
        Ok(Response::new(shown_schedule(&schedule, Some(&trigger))))
    }

    async fn delete_schedule(
        &self,
        request: Request<wire::DeleteScheduleRequest>,
    ) -> Result<Response<wire::DeleteScheduleResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let name = schedule_name(&request.get_ref().name)?;
        let store = self.desk.index.store();
        let revision = store
            .delete_schedule(&project, &name)
            .await
            .map_err(of_storage)?;
        self.desk.catch_up(revision).await;
        let owner = Owner::Trigger(name.clone());
        self.desk.call_off.waiting_for(&project, owner);
        info!(%project, schedule = %name, revision, "schedule deleted");
        Ok(Response::new(wire::DeleteScheduleResponse {}))
    }

    async fn run_schedule(
        &self,
        request: Request<wire::RunScheduleRequest>,
    ) -> Result<Response<wire::RunScheduleResponse>, Status> {
        let project = self.gate().project(request.metadata(), Scope::Manage)?;
        let name = schedule_name(&request.get_ref().name)?;
        let (schedule, _) = self.existing(&project, &name).await?;
        let event = schedule.event(now());
        if !self.events.emit(&event).await {
            let message = "there is no room for the event; try again";
            return Err(Fault::new(FaultKind::Exhausted, message).into());
        }
        info!(%project, schedule = %name, eid = %event.eid, "schedule run by hand");
        let eid = event.eid.to_string();
        Ok(Response::new(wire::RunScheduleResponse { eid }))
    }
}

impl Schedules {
    fn gate(&self) -> &Gate {
        &self.desk.gate
    }

    async fn existing(
        &self,
        project: &ProjectName,
        name: &ScheduleName,
    ) -> Result<(Schedule, Trigger), Fault> {
        let store = self.desk.index.store();
        let schedule = store.schedule(project, name).await.map_err(of_storage)?;
        let trigger = store.trigger(project, name).await.map_err(of_storage)?;
        // One does not go without the other.
        schedule
            .zip(trigger)
            .ok_or_else(|| Fault::not_found("schedule", name))
    }
}

fn schedule_name(text: &str) -> Result<ScheduleName, Fault> {
    if text.is_empty() {
        return Err(Fault::missing("name", "a schedule's name"));
    }
    text.parse().map_err(|error| of_name("name", error))
}
