//go:build !mistakes

package mistakes

// Grace periods of registered readers (rcu).
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

// Callbacks (rcu).
const (
	CallbackEarly     = false // a callback runs before its token is over
	BarrierDuringLast = false // Barrier doesn't wait for the callback that is running
)

// FreeRCU (sheaves, slub).
const (
	SheafReadyEarly   = false // a sheaf's objects are freed before its grace period is over
	SheafUnstamped    = false // a sheaf keeps the token of the last time that it waited
	ParkedUnlocked    = false // FreeRCU lets go of the CPU's lock before the full sheaf is in the barn
	CPUMissed         = false // Barrier leaves out one CPU's rcu_free
	ExpiringMissed    = false // Barrier doesn't wait for those who are expiring a sheaf
	DestructorSkipped = false // an allocation takes a sheaf without running destructors
	FreedAtOnce       = false // what no sheaf takes is freed without a grace period
)
