use clap::CommandFactory as _;

use super::*;

/// The help of a verb as a terminal of a hundred columns shows it.
fn help(path: &[&str]) -> String {
    let mut command = Tidemill::command().term_width(100);
    command.build();
    let verb = path
        .iter()
        .try_fold(&mut command, |command, verb| {
            command.find_subcommand_mut(verb)
        })
        .expect("a verb");
    verb.render_long_help().to_string()
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Tidemill::command().debug_assert();
}

#[test]
fn every_verb_has_a_help_that_stays() {
    insta::assert_snapshot!("help", help(&[]));
    let mut command = Tidemill::command();
    command.build();
    let verbs: Vec<_> = command
        .get_subcommands()
        .map(|v| v.get_name().to_owned())
        .collect();
    assert!(verbs.len() >= 16, "{verbs:?}");
    for verb in verbs {
        insta::assert_snapshot!(format!("help_{verb}"), help(&[&verb]));
    }
    for verb in [
        "new", "build", "test", "inspect", "compile", "key", "sign", "push", "export", "import",
        "list", "shadow", "promote", "rollback",
    ] {
        insta::assert_snapshot!(format!("help_module_{verb}"), help(&["module", verb]));
    }
    insta::assert_snapshot!("help_demo_generate", help(&["demo", "generate"]));
    insta::assert_snapshot!("help_demo_advance", help(&["demo", "advance"]));
}

#[test]
fn every_verb_shows_an_example() {
    let mut command = Tidemill::command();
    command.build();
    let verbs: Vec<_> = command
        .get_subcommands()
        .map(|v| v.get_name().to_owned())
        .collect();
    for verb in verbs.iter().filter(|verb| *verb != "module") {
        assert!(help(&[verb]).contains("Example: tidemill "), "{verb}");
    }
}

#[test]
fn each_end_has_its_own_code() {
    let ends = [
        (Exit::Done, 0),
        (Exit::Failed, 1),
        (Exit::Usage, 2),
        (Exit::Flawed, 3),
        (Exit::Changes, 4),
        (Exit::Interrupted, 130),
    ];
    for (exit, code) in ends {
        assert_eq!(exit.code(), code);
    }
}
