//! What those who hold a token have in work: one look at its row at a time, and only so many answers.
//!
//! An answer counts from before it is made until its client has read it. So a client that asks for
//! much and reads nothing holds a few answers in memory and no connection of the database.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{auth::Caller, problem::Problem, together::Together, tokens::Claims};

/// Answers of one token that are being made or read: a dashboard asks for a handful at once. The
/// largest have a MiB or so.
const TOKEN_ANSWERS: usize = 6;
/// Requests of one token that wait for one of these; the next is refused at once, and holds no
/// connection.
const TOKEN_WAITING: usize = 16;
/// Answers of all tokens.
const ANSWERS: usize = 24;
/// Answers that are being made at once: fewer than the database has connections and, so that
/// others are served meanwhile, than a small machine has cores to spare.
const MAKERS: usize = 2;
/// Longest wait for the place of an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for those before it to be made, each of which takes some milliseconds.
const MAKING_PATIENCE: Duration = Duration::from_secs(10);
/// Tokens that are remembered; each has some hundred bytes.
const MAX_TOKENS: usize = 10_000;
/// Who has not asked for this long need not be remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// Those that ask.
#[derive(Debug)]
pub(crate) struct Callers {
    known: Mutex<HashMap<String, Known>>,
    answers: Arc<Semaphore>,
    makers: Semaphore,
}

#[derive(Debug)]
struct Known {
    holder: Arc<Holder>,
    seen: Instant,
}

/// Whoever holds a token.
#[derive(Debug)]
pub(crate) struct Holder {
    /// Valid tokens with the same id may say different things.
    claims: Claims,
    identity: Together<Result<Caller, Problem>>,
    answers: Arc<Semaphore>,
    waiting: Semaphore,
}

/// The place of an answer, until it is read.
#[derive(Debug)]
pub(crate) struct Place {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Callers {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            answers: Arc::new(Semaphore::new(ANSWERS)),
            makers: Semaphore::new(MAKERS),
        }
    }
}

impl Callers {
    /// Who holds the token with these claims.
    pub(crate) fn holder(&self, claims: &Claims, now: Instant) -> Result<Arc<Holder>, Problem> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&claims.jti) && known.len() >= MAX_TOKENS {
            known.retain(|_, it| now < it.seen + FORGOTTEN_AFTER);
            if known.len() >= MAX_TOKENS {
                return Err(Problem::Busy);
            }
        }
        let it = (known.entry(claims.jti.clone())).or_insert_with(|| Known {
            holder: Arc::new(Holder::new(claims.clone())),
            seen: now,
        });
        it.seen = now;
        if it.holder.claims != *claims {
            it.holder = Arc::new(Holder::new(claims.clone()));
        }
        Ok(Arc::clone(&it.holder))
    }

    /// A place for another answer of this holder's.
    pub(crate) async fn place(&self, holder: &Holder) -> Result<Place, Problem> {
        let own = Arc::clone(&holder.answers);
        let own = match Arc::clone(&own).try_acquire_owned() {
            Ok(own) => own,
            Err(_) => {
                let too_many = || Problem::TooManyAnswers(PATIENCE);
                let _waiting = holder.waiting.try_acquire().map_err(|_| too_many())?;
                let own = timeout(PATIENCE, own.acquire_owned()).await;
                own.map_err(|_| too_many())?
                    .expect("the semaphore is never closed")
            }
        };
        let of_all = timeout(PATIENCE, Arc::clone(&self.answers).acquire_owned()).await;
        let of_all = of_all.map_err(|_| Problem::Busy)?;
        Ok(Place {
            _own: own,
            _of_all: of_all.expect("the semaphore is never closed"),
        })
    }

    /// Leave to make an answer.
    pub(crate) async fn make(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let make = timeout(MAKING_PATIENCE, self.makers.acquire()).await;
        let make = make.map_err(|_| Problem::Busy)?;
        Ok(make.expect("the semaphore is never closed"))
    }
}

impl Holder {
    fn new(claims: Claims) -> Self {
        Self {
            claims,
            identity: Together::default(),
            answers: Arc::new(Semaphore::new(TOKEN_ANSWERS)),
            waiting: Semaphore::new(TOKEN_WAITING),
        }
    }

    /// Who it is, as the database says from now on.
    pub(crate) async fn identity<F>(&self, look: impl FnOnce() -> F) -> Result<Caller, Problem>
    where
        F: Future<Output = Result<Caller, Problem>>,
    {
        self.identity.look(look).await
    }
}

impl Place {
    /// Keeps the place until the answer is read, or its client gone.
    pub(crate) fn until_read(self, answer: HttpResponse) -> HttpResponse {
        answer.map_body(|_, body| BoxBody::new(Placed { body, _place: self }))
    }
}

struct Placed {
    body: BoxBody,
    _place: Place,
}

impl MessageBody for Placed {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use serde_json::json;

    use super::*;

    fn holder(callers: &Callers, jti: &str) -> Arc<Holder> {
        let claims = json!({
            "uuid": "u", "jti": jti, "exp": 2e9, "iat": 1e9, "iss": "decnet", "typ": "access",
        });
        let claims = serde_json::from_value(claims).unwrap();
        callers.holder(&claims, Instant::now()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_has_few_answers_and_keeps_nobody_from_theirs() {
        let callers = Callers::default();
        let (deaf, other) = (holder(&callers, "deaf"), holder(&callers, "other"));
        let asked = tokio::time::Instant::now();
        let asking = (0..100).map(|_| callers.place(&deaf));
        let mut places: Vec<_> = join_all(asking).await.into_iter().flatten().collect();
        assert_eq!(places.len(), TOKEN_ANSWERS);
        assert_eq!(asked.elapsed(), PATIENCE);
        drop(callers.place(&other).await.unwrap());
        assert_eq!(asked.elapsed(), PATIENCE, "at once");

        places.pop();
        places.push(callers.place(&deaf).await.unwrap());
        let refused = callers.place(&deaf).await.unwrap_err();
        assert!(matches!(refused, Problem::TooManyAnswers(_)), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_answers_together_are_bounded() {
        let callers = Callers::default();
        let mut places = Vec::new();
        for n in 0..ANSWERS {
            let holder = holder(&callers, &n.to_string());
            places.push(callers.place(&holder).await.unwrap());
        }
        let late = callers.place(&holder(&callers, "late")).await;
        assert!(matches!(late, Err(Problem::Busy)));
    }
}
