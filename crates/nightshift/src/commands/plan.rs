//! `nightshift plan`: the plan of a night on this host.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::hook::Hook;
use nightshift_core::next_night::{SkippedNight, nights_from};
use nightshift_core::night::Night;
use nightshift_core::plan::{NightPlan, PlannedStage};
use nightshift_core::secret::masked_command;
use nightshift_core::settings::{FileRule, Settings};
use nightshift_core::stage::Stage;
use nightshift_core::units::local_time;
use nightshift_engine::status;
use nightshift_store::records::Records;
use serde::Serialize;

use super::CommandError;
use crate::exit::Exit;
use crate::{config_file, out, report};

pub fn run(config: &Path, night: Option<Night>, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let now = Timestamp::now();
    let records = Records::new(settings.paths.records());
    let recorded: BTreeSet<Night> = match records.past(now) {
        Ok(past) => past.nights,
        Err(error) => {
            out::print_error(&format!(
                "whether the night is recorded already is unchecked: {}",
                report::in_full(&error)
            ));
            BTreeSet::new()
        }
    };
    let is_recorded = |night| recorded.contains(&night);
    let skipped = status::skipped(&settings, &records, now, is_recorded);
    let plan = match night {
        Some(night) => NightPlan::of(&settings, night.date),
        None => next_plan(&settings, now, skipped, is_recorded),
    };
    if let Some(skipped) = skipped.filter(|it| night.is_none_or(|night| night.date == it.night.date)) {
        out::print_error(&skipped.text(&settings.window.zone));
    }
    if json {
        let hooks = hooks(&settings, &plan).map(PlannedHook::of).collect();
        out::print_json(&WithHooks { plan: &plan, hooks })?;
        return Ok(Exit::Good);
    }
    let show = |at: Timestamp| local_time(at, &settings.window.zone);
    out::print(format!(
        "night {} on {} ({}): opens {}, closes {}",
        plan.night,
        plan.host,
        settings.roles(),
        show(plan.opens),
        show(plan.closes),
    ));
    if plan.stages.is_empty() {
        out::print("no stage runs in this night");
        return Ok(Exit::Good);
    }
    let rows = plan.stages.iter().map(|planned| {
        vec![
            planned.stage.to_string(),
            show(planned.at),
            show(planned.until),
            what(&settings, &plan, planned),
        ]
    });
    out::print_table(&["STAGE", "AT", "UNTIL", "WITH"], rows);
    print_hooks(&settings, &plan);
    files(&settings, &plan);
    Ok(Exit::Good)
}

/// The night that is open or due now, else the next one.
fn next_plan(
    settings: &Settings,
    now: Timestamp,
    skipped: Option<SkippedNight>,
    is_recorded: impl Fn(Night) -> bool,
) -> NightPlan {
    let window = &settings.window;
    let open = window.open_at(now).filter(|date| skipped.is_none_or(|it| it.night.date != *date));
    let next = window.next_after(now);
    let plan = || nights_from(settings, next, is_recorded).next();
    match open {
        Some(date) => NightPlan::of(settings, date),
        None => plan().unwrap_or_else(|| NightPlan::of(settings, next)),
    }
}

/// The hosts or remotes that a stage contacts, or the host whose turn it is.
fn what(settings: &Settings, plan: &NightPlan, planned: &PlannedStage) -> String {
    if planned.stage == Stage::Drill {
        return match settings.drill.prover(plan.night) {
            Some(prover) if settings.has_etcd_set(prover) => format!("runs on {prover}"),
            Some(_) => "runs on the member that takes the snapshot".to_owned(),
            None => String::new(),
        };
    }
    match planned.peers.as_slice() {
        [] => settings
            .remotes
            .iter()
            .filter(|_| planned.stage == Stage::ShipArchive)
            .map(|remote| remote.name.to_string())
            .collect::<Vec<_>>()
            .join(", "),
        peers if peers.len() > 4 => format!("{} hosts", peers.len()),
        peers => peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// The hooks of this night, in the order of the config.
fn hooks<'a>(settings: &'a Settings, plan: &NightPlan) -> impl Iterator<Item = &'a Hook> {
    settings.hooks.iter().filter(|hook| hook.at.stage.is_none_or(|stage| plan.stage(stage).is_some()))
}

#[derive(Serialize)]
struct WithHooks<'a> {
    #[serde(flatten)]
    plan: &'a NightPlan,
    hooks: Vec<PlannedHook<'a>>,
}

#[derive(Serialize)]
struct PlannedHook<'a> {
    name: &'a str,
    at: String,
    command: String,
    required: bool,
}

impl<'a> PlannedHook<'a> {
    fn of(hook: &'a Hook) -> Self {
        let Hook { name, at, argv, required, .. } = hook;
        let (at, command) = (at.to_string(), masked_command(argv));
        Self { name: name.as_str(), at, command, required: *required }
    }
}

fn print_hooks(settings: &Settings, plan: &NightPlan) {
    let mut hooks = hooks(settings, plan).map(PlannedHook::of).peekable();
    if hooks.peek().is_none() {
        return;
    }
    out::print("");
    out::print("hooks:");
    for PlannedHook { name, at, command, required } in hooks {
        let required = if required { " (required)" } else { "" };
        out::print(format!("  {name} {at}: $ {command}{required}"));
    }
}

fn files(settings: &Settings, plan: &NightPlan) {
    let control_plane = nightshift_engine::machine::control_plane();
    for role in plan.stages.iter().filter_map(|planned| planned.stage.makes()) {
        out::print("");
        out::print(format!("files of the {role} set:"));
        for rule in settings.file_rules(role, control_plane) {
            out::print(format!("  {}", describe(rule)));
        }
    }
}

fn describe(rule: &FileRule) -> String {
    let (what, alias, optional) = match rule {
        FileRule::Path { path, alias, optional } => (path.clone(), alias.as_deref(), *optional),
        FileRule::Command { argv, alias, optional } => {
            (format!("$ {}", masked_command(argv)), Some(alias.as_str()), *optional)
        }
    };
    let alias = alias.map(|alias| format!(" as {alias}")).unwrap_or_default();
    format!("{what}{alias}{}", if optional { "" } else { " (required)" })
}
