mod servers;
mod tests;
mod world;
