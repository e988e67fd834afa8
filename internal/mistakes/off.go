//go:build !mistakes

package mistakes

// Grace periods and registered readers (rcu).
const (
	WaitSkipped       = false // a waiter doesn't wait
	PollEarly         = false // a token is over when the one before it is
	StartJoins        = false // Start joins the grace period that is running already
	ReaderMissed      = false // a scan leaves out the reader that registered last
	HolderTrusted     = false // the reader that was last seen behind answers for all
	ReportTooFar      = false // Quiescent reports for the next grace period as well
	OnlineUnannounced = false // Online doesn't tell that it is
	ListEditedInPlace = false // Close changes the list of readers under a scan
	SequenceReadLate  = false // a scan loads the sequence after the readers' words
	ComparedUnsigned  = false // sequence numbers are compared as if they didn't wrap
)

// Sections of unregistered readers (rcu, internal/percpu).
const (
	SectionsForgotten  = false // grace periods wait for registered readers only
	FirstDrainSkipped  = false // stragglers under the idle index aren't waited for
	FlipForgotten      = false // new sections go on under the same index
	SecondDrainSkipped = false // sections under the index that was current aren't waited for
	GoalReadLate       = false // what is started while sections are waited for is over with them
	RowMissed          = false // a CPU's row is left out of the sums
	ExitsReadLast      = false // exits are summed up after enters
	FenceDropped       = false // no membarrier orders a section's first load behind its counting
)

// Callbacks (rcu).
const (
	CallbackEarly     = false // callbacks run before their token is over
	BarrierMissesCPUs = false // Barrier leaves out the queues of all CPUs but the first
	BarrierSkipsEmpty = false // Barrier leaves out queues that look empty
)

// FreeRCU (sheaves, slub).
const (
	SheafReadyEarly   = false // a sheaf's objects are freed before its grace period is over
	SheafUnstamped    = false // a sheaf keeps the token of the last time that it waited
	CPUMissed         = false // Barrier leaves out a CPU's rcu_free
	ExpiringMissed    = false // Barrier doesn't wait for those who are expiring a sheaf
	DestructorSkipped = false // an allocation takes a sheaf without having its objects destroyed
	FreedAtOnce       = false // what no sheaf takes is freed without a grace period
)
