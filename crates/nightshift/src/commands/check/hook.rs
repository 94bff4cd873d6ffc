//! Warnings about hooks: a program that their unit cannot run, or that others than root can change; and a unit that is not there.

use nightshift_core::settings::Settings;
use nightshift_engine::hooks::unit::UNIT;

use super::program::fault;

pub fn warnings(settings: &Settings) -> Vec<String> {
    let here = settings.hooks.iter().filter(|hook| hook.at.runs_on(settings.roles()));
    let mut warnings: Vec<String> =
        here.clone().filter_map(|hook| Some(format!("hook {}: {}", hook.name, fault(&hook.argv)?))).collect();
    let socket = UNIT.socket(settings);
    if here.count() > 0 && !socket.exists() {
        let shown = socket.display();
        warnings.push(format!(
            "hooks cannot run: {shown} does not exist; run `systemctl start {}.socket`",
            UNIT.name
        ));
    }
    warnings
}
