//! Which topics a caller may publish to.

use webhook_model::{Topic, TopicPattern, topics};

use crate::{auth::Caller, problem::Problem, tokens::Role};

/// What is asked of every topic that is published to.
#[derive(Debug)]
pub(super) struct Permission {
    is_admin: bool,
    bound_to: Option<Vec<TopicPattern>>,
}

impl Permission {
    pub(super) fn of(caller: &Caller) -> Self {
        Self {
            is_admin: caller.role == Role::Admin,
            bound_to: caller.topics.clone(),
        }
    }

    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self {
            is_admin: true,
            bound_to: None,
        }
    }

    pub(super) fn check(&self, topic: &Topic) -> Result<(), Problem> {
        if !self.is_admin && topics::is_order(topic) {
            return Err(Problem::OrderTopic(topic.as_str().to_owned()));
        }
        match &self.bound_to {
            Some(bound) if !bound.iter().any(|pattern| pattern.matches(topic)) => {
                let bound: Vec<&str> = bound.iter().map(TopicPattern::as_str).collect();
                Err(Problem::TopicNotAllowed {
                    topic: topic.as_str().to_owned(),
                    allowed: bound.join(", "),
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(role: Role, bound_to: Option<&str>, topic: &str, expected: bool) {
        let permission = Permission {
            is_admin: role == Role::Admin,
            bound_to: bound_to.map(|text| vec![TopicPattern::parse(text).unwrap()]),
        };
        let may = permission.check(&Topic::parse(topic).unwrap()).is_ok();
        assert_eq!(may, expected, "{role} {bound_to:?} {topic}");
    }

    #[test]
    fn orders_are_for_admins() {
        for topic in [
            "system.mutator.control",
            "system.mutator.health",
            "decky.web-1.mutate_request",
        ] {
            check(Role::Publisher, None, topic, false);
            check(Role::Publisher, Some(">"), topic, false);
            check(Role::Admin, None, topic, true);
        }
        for topic in [
            "system.mutator.started",
            "system.control",
            "decky.web-1.state",
            "decky.mutate_request",
            "attacker.x.control",
        ] {
            check(Role::Publisher, None, topic, true);
        }
    }

    #[test]
    fn a_token_is_bound_to_its_topics() {
        check(Role::Publisher, Some("attacker.>"), "attacker.a.b", true);
        check(Role::Publisher, Some("attacker.>"), "decky.a.state", false);
    }
}
