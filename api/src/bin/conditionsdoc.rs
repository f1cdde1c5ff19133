//! Writes docs/conditions.md from the reasons. The only argument is the file.

use capn_api::reason::{Info, Kind, Reason};
use std::{error::Error, fmt::Write};

const KINDS: [Kind; 3] = [Kind::NestedControlPlane, Kind::KubevirtMachine, Kind::KubevirtCluster];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: conditionsdoc FILE")?;
    Ok(std::fs::write(path, page()?)?)
}

fn page() -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "# Conditions and reasons\n\n\
         <!-- Made from api/src/reason.rs by `make generate`. -->\n\n\
         `kubectl get nestedcontrolplane,kubevirtcluster,kubevirtmachine` shows the reason; `kubectl describe` shows the sentence beside it.\n\
         A reason marked with * stays until a user does something; an Event says it, too.\n\n\
         While an API server is ready, `Available` of a NestedControlPlane stays True, unless nobody can use it. `RollingOut` and `ScalingUp`\n\
         say what keeps new pods from starting.\n",
    );
    for kind in KINDS {
        write!(
            text,
            "\n## {kind:?}\n\n| Reason | Condition | Meaning | What to do |\n|---|---|---|---|\n"
        )?;
        for info in Reason::ALL.iter().map(|reason| reason.info()) {
            row(&mut text, kind, &info)?;
        }
    }
    Ok(text)
}

fn row(text: &mut String, kind: Kind, info: &Info) -> std::fmt::Result {
    let places: Vec<_> = info
        .places
        .iter()
        .filter(|(of, _)| *of == kind)
        .map(|(_, condition)| *condition)
        .collect();
    if places.is_empty() {
        return Ok(());
    }
    let mark = if info.needs_user_action { " \\*" } else { "" };
    writeln!(
        text,
        "| {}{mark} | {} | {} | {} |",
        info.name,
        places.join(", "),
        info.meaning,
        info.action
    )
}
