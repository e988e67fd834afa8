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
