//go:build mistakes

package mistakes

import (
	"os"
	"slices"
)

// The same as in off.go, where they are explained.
var (
	WaitSkipped       = made("WaitSkipped")
	PollEarly         = made("PollEarly")
	StartJoins        = made("StartJoins")
	ReaderMissed      = made("ReaderMissed")
	HolderTrusted     = made("HolderTrusted")
	ReportTooFar      = made("ReportTooFar")
	OnlineUnannounced = made("OnlineUnannounced")
	ListEditedInPlace = made("ListEditedInPlace")
	SequenceReadLate  = made("SequenceReadLate")
	ComparedUnsigned  = made("ComparedUnsigned")

	SectionsForgotten  = made("SectionsForgotten")
	FirstDrainSkipped  = made("FirstDrainSkipped")
	FlipForgotten      = made("FlipForgotten")
	SecondDrainSkipped = made("SecondDrainSkipped")
	GoalReadLate       = made("GoalReadLate")
	RowMissed          = made("RowMissed")
	ExitsReadLast      = made("ExitsReadLast")
	FenceDropped       = made("FenceDropped")

	CallbackEarly     = made("CallbackEarly")
	BarrierMissesCPUs = made("BarrierMissesCPUs")
	BarrierSkipsEmpty = made("BarrierSkipsEmpty")

	SheafReadyEarly   = made("SheafReadyEarly")
	SheafUnstamped    = made("SheafUnstamped")
	CPUMissed         = made("CPUMissed")
	ExpiringMissed    = made("ExpiringMissed")
	DestructorSkipped = made("DestructorSkipped")
	FreedAtOnce       = made("FreedAtOnce")
)

var (
	chosen = os.Getenv("SLUBD_MISTAKE")
	known  []string
)

// made reports whether the mistake of that name is the one to make.
func made(name string) bool {
	known = append(known, name)
	return name == chosen
}

func init() {
	if chosen != "" && !slices.Contains(known, chosen) {
		panic("slubd: SLUBD_MISTAKE=" + chosen + " names no mistake")
	}
}
