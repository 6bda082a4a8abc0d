//! The explanation of one request: steps for a person to read, or JSON.

use std::fmt;

use http::StatusCode;
use serde::Serialize;

use super::{Question, Settings};
use crate::problem::Problem;

/// What a step decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The request goes on.
    Pass,
    /// The step has nothing to say to it.
    Skip,
    /// The step refuses it.
    Refuse,
    /// The step answers it, and nothing is wrong with it.
    Answer,
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
    /// The path's canonical form, once a route was found for it.
    pub canonical: Option<String>,
    /// The steps, in order.
    pub steps: Vec<Noted>,
    /// What holds for it beside the steps.
    pub settings: Option<Settings>,
    /// The status of the first refusal, or of a preflight's answer; absent when the request goes on.
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
        Self {
            request,
            canonical: None,
            steps: Vec::new(),
            settings: None,
            status: None,
            problem: None,
            target: None,
        }
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

    /// A guard has answered it, and nothing is wrong with it.
    pub(super) fn answered(&mut self, name: &'static str, why: &str, status: StatusCode) {
        self.step(name, Decision::Answer, why);
        if self.status.is_none() {
            self.status = Some(status.as_u16());
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
                Decision::Answer => "ANSWER",
                Decision::Undecided => "?",
            };
            writeln!(f, "  {name:<11} {word:<7} {why}")?;
        }
        if let Some(settings) = &self.settings {
            write!(f, "\n{settings}")?;
        }
        match (self.status, self.problem, &self.target) {
            (Some(status), Some(problem), _) => write!(f, "\n→ {status} {problem}"),
            (Some(status), None, _) => write!(f, "\n→ {status}, by the edge itself"),
            (_, _, Some(target)) if self.is_undecided() => {
                write!(f, "\n→ {target}, if what is undecided passes")
            }
            (_, _, Some(target)) => write!(f, "\n→ {target}"),
            _ => Ok(()),
        }
    }
}
