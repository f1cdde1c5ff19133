//! KubeVirt's recorded answers against this stand-in's.
//!
//! `tests/data/kubevirt-1.9-behaviour.json` holds `VirtualMachine`s and what virt-api and virt-controller 1.9 answered, in a
//! cluster without nodes. Each is replayed on the webhooks' and controllers' pure functions. What still differs is listed, with
//! the reason, in `tests/data/differences.json`: neither an unlisted difference nor a listed one that is gone passes.

mod api_server;
mod compare;
mod replay;

use serde::Deserialize;
use serde_json::Value;

const RECORDED: &str = include_str!("../../tests/data/kubevirt-1.9-behaviour.json");
const DIFFERENCES: &str = include_str!("../../tests/data/differences.json");

/// One recorded machine, its answer among its fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Case {
    name: String,
    object: Value,
    options: Options,
    #[serde(flatten)]
    answer: Answer,
}

/// How the request was made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    strict: bool,
}

/// What came of a machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    code: u16,
    message: String,
    warnings: Vec<String>,
    virtual_machine: Value,
    instance: Value,
    launcher_pods: usize,
}

/// One line of the list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Difference {
    case: String,
    difference: String,
    #[serde(default)]
    reason: String,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(RECORDED).unwrap()
}

fn listed() -> Vec<Difference> {
    serde_json::from_str(DIFFERENCES).unwrap()
}

fn found() -> Vec<Difference> {
    let differences = |case: &Case| {
        let replayed = replay::replay(case);
        let differences = replayed.map(|replayed| compare::differences(&case.answer, &replayed));
        differences.unwrap_or_default()
    };
    let line = |case: &Case, difference| Difference {
        case: case.name.clone(),
        difference,
        reason: String::new(),
    };
    let all = cases();
    all.iter()
        .flat_map(|case| differences(case).into_iter().map(|difference| line(case, difference)))
        .collect()
}

fn lacks<'a>(all: &[Difference], wanted: &'a [Difference]) -> Vec<&'a Difference> {
    let same = |a: &Difference, b: &Difference| a.case == b.case && a.difference == b.difference;
    wanted
        .iter()
        .filter(|one| !all.iter().any(|other| same(one, other)))
        .collect()
}

#[test]
fn each_difference_from_kubevirt_is_listed_with_its_reason() {
    let (listed, found) = (listed(), found());
    let new = lacks(&listed, &found);
    assert!(
        new.is_empty(),
        "{} not in tests/data/differences.json: {new:#?}",
        new.len()
    );
    assert!(
        listed.iter().all(|line| !line.reason.is_empty()),
        "each line has a reason"
    );
}

#[test]
fn each_listed_difference_is_still_there() {
    let (listed, found) = (listed(), found());
    let gone = lacks(&found, &listed);
    assert!(gone.is_empty(), "remove from tests/data/differences.json: {gone:#?}");
}

#[test]
fn all_recorded_cases_are_replayed() {
    let cases = cases();
    assert_eq!(cases.len(), 177);
    let left_out: Vec<&str> = cases
        .iter()
        .filter(|case| replay::replay(case).is_none())
        .map(|case| case.name.as_str())
        .collect();
    // Refused by the API server for their name or labels: no webhook was asked.
    assert_eq!(left_out, ["p-name-64", "name-upper", "name-254", "ioThreads-bad"]);
}
