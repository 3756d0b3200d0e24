//! A neighbour, seen from outside: what it says when, what it believes, and what the rest of the world makes of it.
#![cfg(test)]

mod asked;
mod counted;
mod hostile;
mod kernel;
mod learned;
mod seen_by_tshark;
mod settings;
mod shared;
mod states;
mod too_long;
mod wire;
mod world;
