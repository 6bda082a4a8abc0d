//! What may happen to a file, and that it is told whatever happened.

use std::path::Path;

use proptest::prelude::*;

use super::tests::SHIPPED;
use super::{Fault, parse};

#[derive(Clone, Debug)]
enum Mutation {
    Delete { at: usize, bytes: usize },
    Insert { at: usize, scrap: &'static str },
    Repeat { line: usize },
    Drop { line: usize },
}

const SCRAPS: [&str; 17] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    "=",
    "\n",
    "한",
    "\u{1}",
    "x = 1\n",
    "[[routes]]\n",
    "[x]\n",
    "'''",
    "#",
    "-1",
    "\\",
    ",",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = 0..20_000_usize;
    prop_oneof![
        (place.clone(), 1..30_usize).prop_map(|(at, bytes)| Mutation::Delete { at, bytes }),
        (place.clone(), prop::sample::select(&SCRAPS[..]))
            .prop_map(|(at, scrap)| Mutation::Insert { at, scrap }),
        place.clone().prop_map(|line| Mutation::Repeat { line }),
        place.prop_map(|line| Mutation::Drop { line }),
    ]
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let floor = |at: usize| text.floor_char_boundary(at % (text.len() + 1));
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let count = lines.len().max(1);
    match mutation {
        Mutation::Delete { at, bytes } => {
            let (start, end) = (floor(*at), text.floor_char_boundary(floor(*at) + bytes));
            format!("{}{}", &text[..start], &text[end..])
        }
        Mutation::Insert { at, scrap } => {
            format!("{}{scrap}{}", &text[..floor(*at)], &text[floor(*at)..])
        }
        Mutation::Repeat { line } => {
            lines.extend(lines.get(line % count).copied());
            lines.concat()
        }
        Mutation::Drop { line } => {
            if line % count < lines.len() {
                lines.remove(line % count);
            }
            lines.concat()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_becomes_of_the_file_its_faults_have_places(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(SHIPPED.clone(), |text, mutation| mutate(&text, mutation));
        if let Err(faults) = parse(&text, Path::new("/")) {
            prop_assert!(!faults.is_empty());
            let lines = text.lines().count() + 1;
            for Fault { line, column, message } in faults {
                prop_assert!((1..=lines).contains(&line), "{} of {}: {}", line, lines, message);
                let width = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
                prop_assert!((1..=width + 1).contains(&column), "{}:{}: {}", line, column, message);
            }
        }
    }
}
