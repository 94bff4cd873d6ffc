//! `[stage.NAME]`: when each stage starts, how long it waits, and how often it is retried.

use jiff::civil::Time;
use nightshift_core::night::NightWindow;
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

/// The settings of all stages; `None` if one of them was refused.
pub(super) fn stages(
    raw: &raw::Stages,
    night: Option<&Span>,
    window: Option<&NightWindow>,
    ledger: &mut Ledger<'_>,
) -> Option<PerStage<StageSettings>> {
    let mut outside = Vec::new();
    let read = PerStage::from_fn(|stage| {
        Reader { stage, raw: raw_stage(raw, stage), window, outside: &mut outside, ledger }.settings()
    });
    refuse_outside(&outside, night, window, ledger);
    let stages = PerStage::try_from_fn(|stage| read.get(stage).clone())?;
    if let Some(window) = window {
        warn_of_order(raw, &stages, window, ledger);
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

/// A default time outside the night, after `[night]` was changed.
struct Outside {
    stage: Stage,
    key: &'static str,
    time: String,
}

/// Reads the table of one stage.
struct Reader<'a, 't> {
    stage: Stage,
    raw: &'a raw::Stage,
    window: Option<&'a NightWindow>,
    outside: &'a mut Vec<Outside>,
    ledger: &'a mut Ledger<'t>,
}

impl Reader<'_, '_> {
    fn settings(mut self) -> Option<StageSettings> {
        let default = defaults::stage(self.stage);
        self.ledger.section(format!("[stage.{}]", self.stage));
        let at = self.at(default.at);
        let until = self.until(default.until);
        let Self { stage, raw, window, ledger, .. } = self;
        let settings = StageSettings {
            parallel: ledger.take("parallel", &raw.parallel, default.parallel, check::count(1, MAX_PARALLEL)),
            retries: ledger.take("retries", &raw.retries, default.retries, |retries| {
                check::count(0, MAX_RETRIES)(retries).map(|_| *retries)
            }),
            backoff: ledger.take("backoff", &raw.backoff, default.backoff, |text| units::some_duration(text)),
            jitter: ledger.take("jitter", &raw.jitter, default.jitter, |text| units::duration(text)),
            at: at?,
            until,
        };
        if let (Some(window), Some(until)) = (window, until) {
            order_of_own_times(stage, raw, &settings.at, until, window, ledger);
        }
        Some(settings)
    }

    fn at(&mut self, default: &str) -> Option<Schedule> {
        let (stage, window) = (self.stage, self.window);
        let read = |text: &str| {
            let schedule = Schedule::parse(text)?;
            window.map_or(Ok(()), |window| schedule.check(window))?;
            Ok(schedule)
        };
        if self.raw.at.is_some() {
            return self.ledger.take_optional("at", &self.raw.at, "", |text| {
                read(text).map_err(|error: ScheduleError| {
                    Refusal::new(format!("{stage} cannot run: {error}")).help(error.hint())
                })
            });
        }
        match read(default) {
            Ok(schedule) => {
                self.ledger.note("at", schedule.shown(), Origin::Default);
                Some(schedule)
            }
            Err(_) => {
                self.outside.push(Outside { stage, key: "at", time: default.to_owned() });
                None
            }
        }
    }

    fn until(&mut self, default: Option<Time>) -> Option<Time> {
        let (raw, window) = (&self.raw.until, self.window);
        // `until` may be the closing itself, unlike `at`.
        let inside = |time: Time| window.is_none_or(|window| minute(window, time) <= length(window));
        if let (None, Some(time)) = (raw, default) {
            if !inside(time) {
                let time = units::show_time(time);
                self.outside.push(Outside { stage: self.stage, key: "until", time });
            }
            self.ledger.note("until", time.shown(), Origin::Default);
            return Some(time);
        }
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
fn refuse_outside(
    outside: &[Outside],
    night: Option<&Span>,
    window: Option<&NightWindow>,
    ledger: &mut Ledger<'_>,
) {
    let (Some(window), false) = (window, outside.is_empty()) else { return };
    let opens = units::show_time(window.opens);
    let closes = units::show_time(window.closes);
    let defaults: Vec<String> = outside
        .iter()
        .map(|outside| format!("[stage.{}] {} = \"{}\"", outside.stage, outside.key, outside.time))
        .collect();
    let refusal = Refusal::new(format!(
        "default times are outside the night, which is open from {opens} to {closes}; set them too"
    ))
    .help(defaults.join("\n"));
    ledger.missing(night, refusal);
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
    ledger: &mut Ledger<'_>,
) {
    let starts = |stage: Stage| stages.get(stage).at.time_of_day().map(|time| (minute(window, time), time));
    let span = |stage: Stage| -> Option<Span> { raw_stage(raw, stage).at.as_ref().map(Spanned::span) };
    for stage in Stage::ALL {
        let Some((own, at)) = starts(stage) else { continue };
        let last = feeds(stage).into_iter().filter_map(|feed| Some((starts(feed)?, feed))).max();
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
