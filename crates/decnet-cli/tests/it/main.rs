//! The real binary, as people and scripts run it.

mod backup;
mod clocks;
mod daemon;
mod dead_letters;
mod demo;
mod disk;
mod feed;
mod fixture;
mod follow;
mod gate;
mod init;
mod listen;
mod metrics;
mod nats;
mod newer;
mod publish;
mod real_day;
mod serve;
mod servers;
mod settings;
mod subscription_settings;
mod subscriptions;
mod support;
mod token;
mod upgrade;
