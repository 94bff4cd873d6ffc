//! `[stage.NAME]`: when each stage starts, how long it waits, and how often it is retried.

use jiff::SignedDuration;
use jiff::civil::Time;
use nightshift_core::night::NightWindow;
use nightshift_core::role::Roles;
use nightshift_core::schedule::{Schedule, ScheduleError};
use nightshift_core::settings::StageSettings;
use nightshift_core::stage::{PerStage, Stage};
use toml::Spanned;

use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::show::{Origin, Shown};
use crate::sources::Span;
use crate::{check, defaults, raw, units};

const MAX_PARALLEL: u32 = 1024;
const MAX_RETRIES: u32 = 100;

/// The night that the stages are part of.
pub(super) struct Night<'a> {
    /// The `[night]` table.
    pub(super) table: Option<Span>,
    /// `None` if it was refused, or if a key of it may have been.
    pub(super) window: Option<&'a NightWindow>,
    /// The roles of this host.
    pub(super) roles: Roles,
}

/// The settings of all stages; `None` if one of them was refused.
pub(super) fn stages(
    raw: &raw::Stages,
    night: &Night<'_>,
    ledger: &mut Ledger<'_>,
) -> Option<PerStage<StageSettings>> {
    let mut outside = Vec::new();
    let read = PerStage::from_fn(|stage| {
        Reader { stage, raw: raw_stage(raw, stage), night, outside: &mut outside, ledger }.settings()
    });
    refuse_outside(&outside, night, ledger);
    let stages = PerStage::try_from_fn(|stage| read.get(stage).clone())?;
    if let Some(window) = night.window {
        warn_of_order(raw, &stages, window, night.roles, ledger);
    }
    Some(stages)
}

fn raw_stage(raw: &raw::Stages, stage: Stage) -> &raw::Stage {
    match stage {
        Stage::SnapshotEtcd => &raw.snapshot_etcd,
        Stage::CollectNode => &raw.collect_node,
        Stage::PullEtcd => &raw.pull_etcd,
        Stage::PullNodes => &raw.pull_nodes,
        Stage::CollectMaster => &raw.collect_master,
        Stage::MirrorMasters => &raw.mirror_masters,
        Stage::PackArchive => &raw.pack_archive,
        Stage::ShipArchive => &raw.ship_archive,
        Stage::Drill => &raw.drill,
        Stage::Prune => &raw.prune,
    }
}

/// A default time outside a night that is shorter than the default one.
struct Outside {
    stage: Stage,
    key: &'static str,
    time: Time,
    /// How long the night must be for it.
    needs: SignedDuration,
}

/// Reads the table of one stage.
struct Reader<'a, 't> {
    stage: Stage,
    raw: &'a raw::Stage,
    night: &'a Night<'a>,
    outside: &'a mut Vec<Outside>,
    ledger: &'a mut Ledger<'t>,
}

impl Reader<'_, '_> {
    fn settings(mut self) -> Option<StageSettings> {
        let default = defaults::stage(self.stage);
        self.ledger.section(format!("[stage.{}]", self.stage));
        let at = self.at(default.at);
        let until = self.until(default.until);
        let Self { stage, raw, night, ledger, .. } = self;
        let settings = StageSettings {
            parallel: ledger.take("parallel", &raw.parallel, default.parallel, check::count(1, MAX_PARALLEL)),
            retries: ledger.take("retries", &raw.retries, default.retries, |retries| {
                check::count(0, MAX_RETRIES)(retries).map(|_| *retries)
            }),
            backoff: ledger.take("backoff", &raw.backoff, default.backoff, |text| units::some_duration(text)),
            jitter: ledger
                .take("jitter", &raw.jitter, default.jitter, |text| units::delay(text, night.window)),
            at: at?,
            until,
        };
        if let (Some(window), Some(until)) = (night.window, until) {
            order_of_own_times(stage, raw, &settings.at, until, window, ledger);
        }
        Some(settings)
    }

    fn at(&mut self, default: SignedDuration) -> Option<Schedule> {
        let (stage, window) = (self.stage, self.night.window);
        if self.raw.at.is_some() {
            return self.ledger.take_optional("at", &self.raw.at, "", |text| {
                let read = Schedule::parse(text).and_then(|schedule| {
                    window.map_or(Ok(()), |window| schedule.check(window)).map(|()| schedule)
                });
                read.map_err(|error: ScheduleError| {
                    Refusal::new(format!("{stage} cannot run: {error}")).help(error.hint())
                })
            });
        }
        let time = self.after_opening(default);
        let text = format!("{} {} * * *", time.minute(), time.hour());
        let schedule = Schedule::parse(&text).ok()?;
        // A stage cannot start when the night closes.
        self.note("at", schedule.shown(), time, default + SignedDuration::from_mins(1));
        Some(schedule)
    }

    fn after_opening(&self, offset: SignedDuration) -> Time {
        self.night.window.map_or(defaults::OPENS, |window| window.opens).wrapping_add(offset)
    }

    /// Notes a default time. A stage that this host does not run has no times to be set here, and none to be shown.
    fn note(&mut self, key: &'static str, shown: String, time: Time, needs: SignedDuration) {
        if self.night.window.is_none_or(|window| needs <= window.length()) {
            self.ledger.note(key, shown, Origin::Default);
        } else if self.stage.runs_on(self.night.roles) {
            self.outside.push(Outside { stage: self.stage, key, time, needs });
        } else {
            self.ledger.note_unset(key, "this host does not run the stage");
        }
    }

    fn until(&mut self, default: Option<SignedDuration>) -> Option<Time> {
        let (raw, window) = (&self.raw.until, self.night.window);
        if let (None, Some(offset)) = (raw, default) {
            let time = self.after_opening(offset);
            self.note("until", time.shown(), time, offset);
            return Some(time);
        }
        let inside = |time: Time| window.is_none_or(|window| minute(window, time) <= length(window));
        self.ledger.take_optional("until", raw, "the stage may wait until the night closes", |text| {
            let time = units::time(text)?;
            if inside(time) {
                return Ok(time);
            }
            let (opens, closes) = window.map_or_else(Default::default, |window| {
                (units::show_time(window.opens), units::show_time(window.closes))
            });
            Err(Refusal::new(format!("{text} is outside the night, which is open from {opens} to {closes}"))
                .help("choose a time within the night, or remove `until` to wait until the night closes"))
        })
    }
}

/// Minutes from the opening of the night to a time of day; a time before the opening is on the next day.
fn minute(window: &NightWindow, time: Time) -> i64 {
    let minutes = window.opens.duration_until(time).as_mins();
    if minutes < 0 { minutes + 24 * 60 } else { minutes }
}

fn length(window: &NightWindow) -> i64 {
    window.length().as_mins()
}

/// One refusal for all default times outside the night.
fn refuse_outside(outside: &[Outside], night: &Night<'_>, ledger: &mut Ledger<'_>) {
    let (Some(window), Some(needs)) = (night.window, outside.iter().map(|it| it.needs).max()) else { return };
    let opens = units::show_time(window.opens);
    let closes = units::show_time(window.closes);
    let earliest = units::show_time(window.opens.wrapping_add(needs));
    let defaults = outside.iter().map(|Outside { stage, key, time, .. }| {
        format!("[stage.{stage}] {key} (default: {})", units::show_time(*time))
    });
    let remedy = format!(
        "set `closes` to \"{earliest}\" or later, or remove it; or set these to times within the night:"
    );
    let refusal = Refusal::new(format!(
        "the night is open from {opens} to {closes}, and default times of stages are outside it"
    ))
    .help([remedy].into_iter().chain(defaults).collect::<Vec<_>>().join("\n"));
    ledger.missing(night.table.as_ref(), refusal);
}

/// A stage whose `until` is not later than its `at` would never wait for any set.
fn order_of_own_times(
    stage: Stage,
    raw: &raw::Stage,
    at: &Schedule,
    until: Time,
    window: &NightWindow,
    ledger: &mut Ledger<'_>,
) {
    let Some(starts) = at.time_of_day() else { return };
    if minute(window, until) > minute(window, starts) {
        return;
    }
    let (span, whose) = match (&raw.until, &raw.at) {
        (Some(until), _) => (until.span(), ""),
        (None, Some(at)) => (at.span(), "default "),
        (None, None) => return,
    };
    let refusal = Refusal::new(format!(
        "{stage} starts at {}, but its {whose}`until` {} is not later",
        units::show_time(starts),
        units::show_time(until)
    ))
    .help("the stage waits for missing sets until `until`; set it later than `at`");
    ledger.refuse(Some(&span), refusal);
}

/// The stages, on this or other hosts, whose results a stage uses.
fn feeds(stage: Stage) -> Vec<Stage> {
    let on_peers = Stage::ALL.into_iter().filter(|origin| origin.makes() == stage.pulls());
    let on_peers = on_peers.filter(|_| stage.pulls().is_some());
    stage.needs().iter().copied().chain(on_peers).collect()
}

/// The stages' needs determine their order at run time. Times in another order are probably a mistake, so it warns.
fn warn_of_order(
    raw: &raw::Stages,
    stages: &PerStage<StageSettings>,
    window: &NightWindow,
    roles: Roles,
    ledger: &mut Ledger<'_>,
) {
    let starts = |stage: Stage| stages.get(stage).at.time_of_day().map(|time| (minute(window, time), time));
    let span = |stage: Stage| -> Option<Span> { raw_stage(raw, stage).at.as_ref().map(Spanned::span) };
    for stage in Stage::ALL {
        let Some((own, at)) = starts(stage) else { continue };
        // Other hosts run the stages whose sets are pulled.
        let counts = |feed: &Stage| feed.runs_on(roles) || stage.pulls().is_some();
        let last =
            feeds(stage).into_iter().filter(counts).filter_map(|feed| Some((starts(feed)?, feed))).max();
        let Some(((_, feed_at), feed)) = last.filter(|((needed, _), _)| *needed > own) else { continue };
        let refusal = Refusal::new(format!(
            "{stage} at {} is before {feed} at {}, which it waits for",
            units::show_time(at),
            units::show_time(feed_at)
        ))
        .help(format!("set {stage} to a later time than {feed}"));
        ledger.warn(span(stage).or_else(|| span(feed)).as_ref(), refusal);
    }
}
