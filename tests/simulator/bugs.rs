//! Bugs that a gate could have, planted at the seams of the simulator: a simulator that finds nothing
//! proves nothing. None of them needs a switch in the product.

/// A defect of the program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// 200 as soon as a request is in the queue.
    AckOnArrival,
    /// A commit returns before it is durable: it becomes so with the next.
    AckBeforeSync,
    /// A full queue drops the request and says 200.
    FullQueueAcks,
    /// A delivery counts as accepted when it starts. If it fails, it is not tried again.
    AcceptedWhenSent,
    /// The next notification of an incident may leave while the one before is still being retried.
    ResolveOvertakes,
    /// A refusal confirms the page: it is not sent anew.
    RefusalConfirms,
    /// A notification that is sent again after a crash does not say so.
    RepeatUnmarked,
    /// Ends of deliveries are not stored: a crash forgets them.
    EndsLost,
    /// A restart begins the generations of each group at 0 again.
    GenerationsForgotten,
    /// An alert that is missing in a group's payload counts as resolved.
    AbsenceResolves,
    /// An answer cache remembers a body before it is durable.
    CacheTooEarly,
    /// A notification is given up after three attempts.
    GivesUp,
    /// A start forgets the outbox.
    OutboxForgotten,
    /// Events and the outbox are two transactions.
    TwoTransactions,
    /// Engine time is the wall clock.
    WallClock,
    /// A snapshot of before the last events is stored as one of after them.
    StaleSnapshot,
    /// `limits.alerts` is not in force.
    LimitForgotten,
    /// The queue has no bound.
    QueueWithoutBound,
    /// The body of every answer is waited for: a status whose body does not come counts as no answer.
    BodyDecides,
    /// A 2xx whose body is not known is tried again without end.
    PuzzledWithoutEnd,
    /// Lines that the log does not take wait without a bound.
    LogWithoutBound,
    /// Each attempt reads a secret file on a thread of its own.
    ReaderForEach,
    /// A repeat is answered 200, and gets lost.
    RepeatsUnheard,
    /// A resolve counts only once its `endsAt` has passed by Squelch's clock.
    SendersClockRules,
    /// A silence has no end.
    SilenceWithoutEnd,
    /// An inhibition lasts whether its source fires or not.
    InhibitionWithoutSource,
    /// The webhook by which PagerDuty says that it opened an incident counts as an acknowledgement.
    TriggerAcknowledges,
}

impl Bug {
    pub const ALL: [Bug; 27] = [
        Bug::AckOnArrival,
        Bug::AckBeforeSync,
        Bug::FullQueueAcks,
        Bug::AcceptedWhenSent,
        Bug::ResolveOvertakes,
        Bug::RefusalConfirms,
        Bug::RepeatUnmarked,
        Bug::EndsLost,
        Bug::GenerationsForgotten,
        Bug::AbsenceResolves,
        Bug::CacheTooEarly,
        Bug::GivesUp,
        Bug::OutboxForgotten,
        Bug::TwoTransactions,
        Bug::WallClock,
        Bug::StaleSnapshot,
        Bug::LimitForgotten,
        Bug::QueueWithoutBound,
        Bug::BodyDecides,
        Bug::PuzzledWithoutEnd,
        Bug::LogWithoutBound,
        Bug::ReaderForEach,
        Bug::RepeatsUnheard,
        Bug::SendersClockRules,
        Bug::SilenceWithoutEnd,
        Bug::InhibitionWithoutSource,
        Bug::TriggerAcknowledges,
    ];
}
