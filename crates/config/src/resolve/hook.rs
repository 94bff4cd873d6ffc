//! `[[hook]]`: commands before and after stages and the night. All hosts can share one config, so a hook of a stage that this host
//! does not run is valid, as the table of that stage is, and never runs here.

use std::time::Duration;

use nightshift_core::hook::{Hook, Moment, NIGHT, Occasion};
use nightshift_core::name::HookName;
use nightshift_core::stage::Stage;
use toml::Spanned;

use super::argv::argv;
use super::names::Names;
use crate::ledger::Ledger;
use crate::nearest::nearest;
use crate::raw::{self, Table};
use crate::refusal::Refusal;
use crate::show::Shown;
use crate::sources::Span;
use crate::{check, defaults, units};

const MAX_HOOKS: usize = 16;
/// RuntimeMaxSec= of the unit is a little more.
const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);

pub(crate) fn hooks(raw: &raw::Config, ledger: &mut Ledger<'_>) -> Vec<Hook> {
    let mut names = Names::new("hook", "the record and `nightshift hook`");
    let mut hooks = Vec::new();
    for table in names.at_most(MAX_HOOKS, &raw.hook, "let one program run several commands", ledger) {
        let Some(hook) = hook(table, ledger) else { continue };
        names.add(hook.name.as_str(), table, &table.get_ref().name, ledger);
        hooks.push(hook);
    }
    hooks
}

fn hook(table: &Spanned<Table<raw::Hook>>, ledger: &mut Ledger<'_>) -> Option<Hook> {
    let raw: &raw::Hook = table.get_ref();
    for (key, absent) in [("name", raw.name.is_none()), ("argv", raw.argv.is_none())] {
        if absent {
            let refusal = Refusal::new(format!("this hook has no `{key}`"))
                .help("a hook needs `name`, `argv`, and one of `before` and `after`");
            ledger.missing(Some(&table.span()), refusal);
        }
    }
    let shown = raw.name.as_ref().map_or("", |name| name.get_ref());
    ledger.section(format!("[[hook]]  # {}", shown.escape_default()));
    let name = ledger.take_optional("name", &raw.name, "", |text| Ok(text.parse::<HookName>()?));
    let at = occasion(raw, &table.span(), ledger);
    let argv = argv("argv", &raw.argv, r#"["/usr/local/bin/freeze", "--all"]"#, ledger);
    let timeout = ledger.take("timeout", &raw.timeout, defaults::HOOK_TIMEOUT, |text| timeout(text));
    let required = required(raw, ledger);
    Some(Hook { name: name?, at: at?, argv: Some(argv).filter(|argv| !argv.is_empty())?, timeout, required })
}

fn occasion(raw: &raw::Hook, table: &Span, ledger: &mut Ledger<'_>) -> Option<Occasion> {
    let (moment, key, leaf) = match (&raw.before, &raw.after) {
        (Some(_), None) => (Moment::Before, "before", &raw.before),
        (None, Some(_)) => (Moment::After, "after", &raw.after),
        (Some(_), Some(after)) => {
            let refusal = Refusal::new("this hook has `before` and `after`")
                .help("remove one of the two, and repeat the hook under another name");
            ledger.refuse(Some(&after.span()), refusal);
            return None;
        }
        (None, None) => {
            let refusal = Refusal::new("this hook has neither `before` nor `after`")
                .help("set one of them to a stage, such as \"snapshot-etcd\", or to \"night\"");
            ledger.missing(Some(table), refusal);
            return None;
        }
    };
    let subject = ledger.take_optional(key, leaf, "", subject)?;
    Some(Occasion { moment, stage: subject.0 })
}

/// A stage, or the night.
struct Subject(Option<Stage>);

impl Shown for Subject {
    fn shown(&self) -> String {
        self.0.map_or(NIGHT, Stage::as_str).to_owned().shown()
    }
}

fn subject(text: &String) -> Result<Subject, Refusal> {
    let known = || std::iter::once(NIGHT).chain(Stage::ALL.into_iter().map(Stage::as_str));
    if text == NIGHT {
        return Ok(Subject(None));
    }
    text.parse().map(|stage| Subject(Some(stage))).map_err(|_| {
        Refusal::new(format!("`{text}` is neither a stage nor the night"))
            .meant(nearest(text, known()))
            .help(format!("write one of: {}", known().collect::<Vec<_>>().join(", ")))
    })
}

fn timeout(text: &str) -> Result<Duration, Refusal> {
    let timeout = units::some_duration(text)?;
    if timeout <= MAX_TIMEOUT {
        return Ok(timeout);
    }
    Err(Refusal::new(format!("{text} is more than an hour"))
        .help("what takes longer belongs into a service that the hook starts"))
}

fn required(raw: &raw::Hook, ledger: &mut Ledger<'_>) -> bool {
    if let (Some(required), Some(_)) = (&raw.required, &raw.after) {
        let refusal = Refusal::new("`required` has no effect on a hook with `after`")
            .help("remove it: what the hook follows has ended already");
        ledger.refuse(Some(&required.span()), refusal);
    }
    match &raw.after {
        Some(_) => false,
        None => ledger.take("required", &raw.required, defaults::HOOK_REQUIRED, check::any),
    }
}
