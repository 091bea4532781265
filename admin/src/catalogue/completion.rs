//! Completions for shells. They hold everything themselves and ask no server.

use super::{Catalogue, Command, Kind, OUTPUT, Param};
use std::fmt::Write;

impl Catalogue {
    /// For bash: `source <(waypost completion bash)`.
    pub fn bash(&self) -> String {
        let mut out = String::from(
            "# bash completion for waypost\n_waypost() {\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n    local words=\n",
        );
        let mut names: Vec<String> = self.commands().iter().flat_map(|c| [c.name(), c.gnu()]).collect();
        names.extend(self.own_words().map(|(name, _)| name));
        let _ = writeln!(
            out,
            "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))\n        return\n    fi",
            names.join(" ")
        );
        out.push_str("    case ${COMP_WORDS[1],,} in\n");
        for command in self.commands() {
            let options: Vec<String> =
                options(command).map(|p| format!("-{} --{}", p.name, p.gnu())).collect();
            let _ = writeln!(
                out,
                "    {}|{}) words=\"{}\" ;;",
                command.name().to_lowercase(),
                command.gnu(),
                options.join(" ")
            );
        }
        self.programs().iter().for_each(|program| out.push_str(&program.bash()));
        out.push_str("    esac\n    case $prev in\n");
        for (names, words) in self.choices() {
            let _ =
                writeln!(out, "    {names}) COMPREPLY=($(compgen -W \"{words}\" -- \"$cur\")); return ;;");
        }
        out.push_str(
            "    esac\n    case $cur in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n    esac\n}\ncomplete -o filenames -F _waypost waypost\n",
        );
        out
    }

    /// The values of choices, for all parameters of the same name and words together.
    fn choices(&self) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> = Vec::new();
        for param in self.commands().iter().flat_map(|c| c.params) {
            let words = match param.kind {
                Kind::Choice(words) => words.join(" "),
                Kind::Bool => "true false".into(),
                _ => continue,
            };
            let names = format!("-{}|--{}", param.name, param.gnu());
            if !out.iter().any(|(n, _)| *n == names) {
                out.push((names, words));
            }
        }
        for option in self.programs().iter().flat_map(|p| &p.options).filter(|o| !o.choices.is_empty()) {
            let name = format!("--{}", option.long);
            if !out.iter().any(|(n, _)| n.split('|').any(|n| n == name)) {
                out.push((name, option.choices.join(" ")));
            }
        }
        out
    }

    /// Words that are no command of the catalogue by themselves, each with what it does.
    fn own_words(&self) -> impl Iterator<Item = (String, String)> {
        let why = self.find("why").filter(|_| !self.programs().is_empty());
        let why = why.map(|c| ("why".to_owned(), c.about.to_owned()));
        self.programs().iter().map(|p| (p.name.clone(), p.about.clone())).chain(why)
    }

    /// For zsh: a file `_waypost` in `$fpath`.
    pub fn zsh(&self) -> String {
        let mut out = String::from(
            "#compdef waypost\n_waypost() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n",
        );
        for command in self.commands() {
            let about = command.about.replace('\'', "'\\''");
            let _ = writeln!(out, "      '{}:{}'", command.name(), about.replace(':', "\\:"));
            let _ = writeln!(out, "      '{}:{}'", command.gnu(), about.replace(':', "\\:"));
        }
        for (name, about) in self.own_words() {
            let about = about.replace('\'', "'\\''");
            let _ = writeln!(out, "      '{name}:{}'", about.replace(':', "\\:"));
        }
        out.push_str("    )\n    _describe command commands\n    return\n  fi\n  case ${(L)words[2]} in\n");
        for command in self.commands() {
            let _ =
                writeln!(out, "    {}|{}) _arguments -s \\", command.name().to_lowercase(), command.gnu());
            for param in options(command) {
                for form in [format!("-{}", param.name), format!("--{}", param.gnu())] {
                    let _ = writeln!(out, "      '{form}[{}]{}' \\", zsh_text(param.about), zsh_value(param));
                }
            }
            out.push_str("      '*:value:_files' ;;\n");
        }
        self.programs().iter().for_each(|program| out.push_str(&program.zsh()));
        out.push_str("  esac\n}\n_waypost \"$@\"\n");
        out
    }

    /// For fish: a file `waypost.fish`.
    pub fn fish(&self) -> String {
        let mut out = String::from("# fish completion for waypost\n");
        for command in self.commands() {
            let about = command.about.replace('\'', "\\'");
            for name in [command.name(), command.gnu()] {
                let _ = writeln!(out, "complete -c waypost -n __fish_use_subcommand -a {name} -d '{about}'");
            }
            for param in options(command) {
                let about = param.about.replace('\'', "\\'");
                let value = match param.kind {
                    Kind::Choice(words) => format!(" -x -a '{}'", words.join(" ")),
                    Kind::Bool => " -x -a 'true false'".into(),
                    Kind::Switch => String::new(),
                    Kind::Path => " -r -F".into(),
                    _ => " -r".into(),
                };
                let seen = format!("'__fish_seen_subcommand_from {} {}'", command.name(), command.gnu());
                let _ = writeln!(
                    out,
                    "complete -c waypost -n {seen} -l {} -o {}{value} -d '{about}'",
                    param.gnu(),
                    param.name
                );
            }
        }
        for (name, about) in self.own_words() {
            let about = about.replace('\'', "\\'");
            let _ = writeln!(out, "complete -c waypost -n __fish_use_subcommand -a {name} -d '{about}'");
        }
        self.programs().iter().for_each(|program| out.push_str(&program.fish()));
        out
    }
}

fn options(command: &Command) -> impl Iterator<Item = &Param> {
    command.all_params().chain(OUTPUT)
}

pub(super) fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "(").replace(']', ")").replace(':', "\\:")
}

fn zsh_value(param: &Param) -> String {
    match param.kind {
        Kind::Switch => String::new(),
        Kind::Choice(words) => format!(":value:({})", words.join(" ")),
        Kind::Bool => ":value:(true false)".into(),
        Kind::Path => ":path:_files".into(),
        _ => ":value: ".into(),
    }
}
