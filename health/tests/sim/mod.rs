mod tests;
mod world;
