//! The explanation of one request: steps for a person to read, or JSON.

use std::fmt;

use serde::Serialize;

use super::Question;
use crate::problem::Problem;

/// What a step decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The request goes on.
    Pass,
    /// The step has nothing to say to it.
    Skip,
    /// The step answers it.
    Refuse,
    /// It can't be said without asking somebody.
    Undecided,
}

/// One step on the way.
#[derive(Debug, Serialize)]
pub struct Noted {
    /// host, client, path, route, or a guard.
    pub name: &'static str,
    /// What it decides.
    pub decision: Decision,
    /// Why.
    pub why: String,
}

/// What becomes of a request.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The request, in one line.
    pub request: String,
    /// The steps, in order.
    pub steps: Vec<Noted>,
    /// The status of the first refusal; absent when none refuses.
    pub status: Option<u16>,
    /// Its problem's name.
    pub problem: Option<&'static str>,
    /// Where the request goes if nothing refuses it.
    pub target: Option<String>,
}

impl Report {
    pub(super) fn new(question: &Question, authority: &str, target: &str) -> Self {
        let Question { method, from, .. } = question;
        let request = format!("{method} https://{authority}{target} from {from}");
        Self { request, steps: Vec::new(), status: None, problem: None, target: None }
    }

    pub(super) fn passed(&mut self, name: &'static str, why: &str) {
        self.step(name, Decision::Pass, why);
    }

    pub(super) fn skipped(&mut self, name: &'static str, why: &str) {
        self.step(name, Decision::Skip, why);
    }

    pub(super) fn undecided(&mut self, name: &'static str, why: &str) {
        self.step(name, Decision::Undecided, why);
    }

    pub(super) fn refuse(&mut self, name: &'static str, why: &str, problem: &Problem) {
        self.step(name, Decision::Refuse, why);
        // The first refusal is the answer; later guards are never asked.
        if self.status.is_none() {
            self.status = Some(problem.status.as_u16());
            self.problem = Some(problem.name);
        }
    }

    pub(super) fn refused(mut self, name: &'static str, why: &str, problem: &Problem) -> Self {
        self.refuse(name, why, problem);
        self
    }

    pub(super) fn goes_to(&mut self, target: &str) {
        if self.status.is_none() {
            self.target = Some(target.to_owned());
        }
    }

    fn is_undecided(&self) -> bool {
        self.steps.iter().any(|step| step.decision == Decision::Undecided)
    }

    fn step(&mut self, name: &'static str, decision: Decision, why: &str) {
        self.steps.push(Noted { name, decision, why: why.to_owned() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.request)?;
        for Noted { name, decision, why } in &self.steps {
            let word = match decision {
                Decision::Pass => "pass",
                Decision::Skip => "-",
                Decision::Refuse => "REFUSE",
                Decision::Undecided => "?",
            };
            writeln!(f, "  {name:<10} {word:<7} {why}")?;
        }
        match (self.status, self.problem, &self.target) {
            (Some(status), Some(problem), _) => write!(f, "\n→ {status} {problem}"),
            (_, _, Some(target)) if self.is_undecided() => {
                write!(f, "\n→ {target}, if what is undecided passes")
            }
            (_, _, Some(target)) => write!(f, "\n→ {target}"),
            _ => Ok(()),
        }
    }
}
