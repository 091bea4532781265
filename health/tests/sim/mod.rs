mod acting;
mod servers;
mod tests;
mod world;
