//! Runs a command of the catalogue: in the running server if there is one, else here where that makes sense.

use crate::control;
use crate::machine;
use crate::place::Place;
use crate::run::organisation::Organisation;
use crate::run::transport as meant;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use tokio::net::UnixStream;
use waypost_admin::failure::Exit;
use waypost_admin::rights::Rights;
use waypost_admin::run::{QueueAt, World};
use waypost_admin::settings::SettingsStore;
use waypost_admin::{
    Catalogue, Category, Context, Event, Failure, Format, Invocation, Needs, Parsed, Renderer, Source,
};
use waypost_admin::{catalogue::Command, wire};
use waypost_transport::send::route::RoutingTable;

/// Parses and runs a command line; the answer is the program's exit code.
pub async fn run(place: &Place, words: &[String]) -> Exit {
    let catalogue = Catalogue::new().with(crate::cli::programs());
    let folder = std::env::current_dir().unwrap_or_default();
    let Parsed { mut invocation, layout } = match catalogue.parse(words, Source { folder: &folder }) {
        Ok(parsed) => parsed,
        Err(failure) => {
            let json = words.iter().any(|w| w == "--json");
            let mut screen = Screen::new(Renderer::new(Default::default(), &[]), json);
            screen.tell(&Event::Error(failure.clone()));
            return failure.exit();
        }
    };
    let command = catalogue.find(&invocation.command);
    let columns = command.map_or(&[] as &[&str], |c| c.columns);
    let json = layout.format == Format::Json;
    let mut screen = Screen::new(Renderer::new(layout, columns), json);
    let prepared = catalogue
        .read_secrets(&mut invocation, read_secret)
        .and_then(|()| confirm(&catalogue, &mut invocation));
    let exit = match (prepared, command) {
        (Ok(()), Some(command)) => perform(place, &catalogue, command, &invocation, &mut screen).await,
        (Err(failure), _) => screen.fail(failure),
        // Parsed a moment ago, so it is there.
        (Ok(()), None) => Exit::USAGE,
    };
    screen.end();
    exit
}

/// Runs a command and keeps its records rather than showing them; warnings and errors are shown.
pub async fn collect(place: &Place, words: &[String]) -> (Exit, Vec<waypost_admin::Record>) {
    let catalogue = Catalogue::new();
    let folder = std::env::current_dir().unwrap_or_default();
    let mut screen = Screen::new(Renderer::new(Default::default(), &[]), false);
    screen.kept = Some(Vec::new());
    let exit = match catalogue.parse(words, Source { folder: &folder }) {
        Ok(Parsed { invocation, .. }) => match catalogue.find(&invocation.command) {
            Some(command) => perform(place, &catalogue, command, &invocation, &mut screen).await,
            // Parsed a moment ago, so it is there.
            None => Exit::USAGE,
        },
        Err(failure) => screen.fail(failure),
    };
    (exit, screen.kept.take().unwrap_or_default())
}

async fn perform(
    place: &Place,
    catalogue: &Catalogue,
    command: &Command,
    invocation: &Invocation,
    screen: &mut Screen,
) -> Exit {
    if crate::why::is_remote(invocation) {
        return match crate::why::ask(invocation).await {
            Ok(event) => {
                screen.tell(&event);
                Exit::OK
            }
            Err(failure) => screen.fail(Failure { command: command.name(), ..failure }),
        };
    }
    if command.needs == Needs::Nothing {
        return catalogue.run_here(&context(place, None), invocation, |event| screen.tell(&event)).await;
    }
    let connected = place.at_control(|path| std::os::unix::net::UnixStream::connect(path));
    let running = connected.and_then(|stream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    });
    match (running, command.needs) {
        (Ok(_), Needs::Stopped) => {
            let text = "The server is running; this command works on a stopped one.";
            screen.fail(Failure::new(Category::ResourceUnavailable, command.name(), text))
        }
        (Ok(stream), _) => match wire::ask(stream, invocation, |event| screen.tell(&event)).await {
            Ok(exit) => exit,
            Err(e) => screen.fail(Failure::new(Category::ResourceUnavailable, "server", e)),
        },
        (Err(e), Needs::Server) => {
            let text = format!("No server answers at {}: {e}.", place.control().display());
            screen.fail(Failure::new(Category::ResourceUnavailable, "server", text))
        }
        (Err(_), Needs::Stopped | Needs::Files) => {
            catalogue.run_here(&context(place, None), invocation, |event| screen.tell(&event)).await
        }
        (Err(_), _) => stopped(place, catalogue, invocation, screen).await,
    }
}

/// Opens the store of a stopped server, runs the command on it, and closes it again.
async fn stopped(place: &Place, catalogue: &Catalogue, invocation: &Invocation, screen: &mut Screen) -> Exit {
    if !place.is_set_up() {
        let text = format!(
            "There is no organisation in {}. Set one up with `waypost init` or `waypost quickstart`, or name another folder with --data.",
            place.root().display()
        );
        return screen.fail(Failure::new(Category::ResourceUnavailable, "data", text));
    }
    let opened = async {
        let settings = Arc::new(SettingsStore::open(place.root()).map_err(|e| e.to_string())?);
        let organisation = Organisation::open(place, &["localhost"], &settings.current())
            .await
            .map_err(|e| e.to_string())?;
        Ok::<_, String>((settings, organisation))
    };
    let needs = catalogue.find(&invocation.command).map(|c| c.needs);
    let (settings, organisation) = match opened.await {
        Ok(opened) => opened,
        Err(e) if needs == Some(Needs::Any) => {
            let text = format!("The store could not be opened ({e}); what follows is from the files alone.");
            screen.tell(&Event::Warning(text));
            let context = context(place, None);
            return catalogue.run_here(&context, invocation, |event| screen.tell(&event)).await;
        }
        Err(e) => return screen.fail(Failure::new(Category::ResourceUnavailable, "store", e)),
    };
    // Its queues are called what the running server calls them.
    let routes = RoutingTable::new(meant::hub(&settings.current(), place.root()).send);
    let mut world = organisation.world(settings);
    world.queue = QueueAt::Rows(Arc::new(routes));
    let context = context(place, Some(world));
    let exit = catalogue.run_here(&context, invocation, |event| screen.tell(&event)).await;
    drop(context);
    organisation.close().await;
    exit
}

fn context(place: &Place, world: Option<World>) -> Context {
    let caller = control::user_name(rustix::process::geteuid().as_raw());
    Context {
        data: place.root().to_owned(),
        clock: machine::clock(),
        caller,
        from: "console".into(),
        rights: Rights::CONSOLE,
        running: false,
        world,
    }
}

fn read_secret(name: &str) -> io::Result<String> {
    if io::stdin().is_terminal() {
        eprint!("{name}: ");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}

/// Asks on a terminal; elsewhere the command's own refusal tells how to confirm.
fn confirm(catalogue: &Catalogue, invocation: &mut Invocation) -> Result<(), Failure> {
    let Some(question) = catalogue.question(invocation) else { return Ok(()) };
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question}\n[Y] Yes  [N] No  (default is \"Y\"): ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|e| Failure::usage("Confirm", e))?;
    match line.trim() {
        "" | "y" | "Y" | "yes" => {
            invocation.confirmed = true;
            Ok(())
        }
        _ => Err(Failure::usage("Confirm", "Not confirmed: nothing was done.")),
    }
}

/// Standard output for records, standard error for everything else.
struct Screen {
    renderer: Renderer,
    json: bool,
    bar: Option<ProgressBar>,
    /// Records are kept here and not shown.
    kept: Option<Vec<waypost_admin::Record>>,
}

impl Screen {
    fn new(renderer: Renderer, json: bool) -> Screen {
        Screen { renderer, json, bar: None, kept: None }
    }

    fn fail(&mut self, failure: Failure) -> Exit {
        let exit = failure.exit();
        self.tell(&Event::Error(failure));
        exit
    }

    fn tell(&mut self, event: &Event) {
        if let (Some(kept), Event::Record(record)) = (&mut self.kept, event) {
            return kept.push(record.clone());
        }
        let text = self.renderer.event(event);
        self.print(&text);
        match event {
            Event::Record(_) => {}
            Event::Progress(progress) => self.progress(progress.done, progress.total, &progress.activity),
            Event::Warning(text) => self.aside(&format!("WARNING: {text}"), "33"),
            Event::WhatIf(text) => self.aside(text, "0"),
            Event::Error(failure) if self.json => {
                eprintln!("{}", serde_json::to_string(failure).unwrap_or_else(|_| failure.to_string()));
            }
            Event::Error(failure) => self.aside(&failure.to_string(), "31"),
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let text = self.renderer.end();
        self.print(&text);
    }

    fn print(&self, text: &str) {
        if !text.is_empty() {
            // A reader that has had enough (`| head`) is no failure of ours.
            let _ = io::stdout().lock().write_all(text.as_bytes());
        }
    }

    fn aside(&self, text: &str, colour: &str) {
        let line = || {
            if io::stderr().is_terminal() {
                eprintln!("\x1b[{colour}m{text}\x1b[0m")
            } else {
                eprintln!("{text}")
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(line),
            None => line(),
        }
    }

    /// Only a terminal gets a bar.
    fn progress(&mut self, done: u64, total: Option<u64>, activity: &str) {
        if !io::stderr().is_terminal() || self.json {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let form = "{msg} {wide_bar} {pos}/{len} {eta}";
            let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total.unwrap_or(0)).with_style(style)
        });
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_message(activity.to_owned());
        bar.set_position(done);
    }
}
